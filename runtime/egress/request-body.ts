import { BodyStream } from '../body-stream.ts';
import type { BodySource } from '../exchange.ts';
import { EgressFailure } from './failure.ts';
import { REQUEST_BODY_BUFFER_BYTES } from './limits.ts';

/** The body of an outbound request. */
export class RequestBody extends BodyStream {
  readonly #onBytes: (bytes: number) => void;

  /** `onBytes` is told of each piece before it is sent; what it throws ends the body with that. */
  constructor(source: BodySource, onBytes: (bytes: number) => void) {
    super(source, REQUEST_BODY_BUFFER_BYTES);
    this.#onBytes = onBytes;
  }

  protected override passing(bytes: number): void {
    this.#onBytes(bytes);
  }

  protected override brokenOff(reason: Error): Error {
    return new EgressFailure('connection-terminated', "the request's body broke off", reason);
  }
}

/** Methods whose requests say nothing with a body; a body that turns out to be empty is then not sent at all. */
const BODILESS = new Set(['GET', 'HEAD']);

/**
 * Calls back with the body to send: at once, or, where the method has none as a rule, when it is known whether there is
 * one. HTTP/2 has to say so with the head.
 */
export function bodyToSend(
  method: string,
  body: RequestBody | null,
  callback: (body: RequestBody | null) => void,
): void {
  if (body === null || !BODILESS.has(method)) return callback(body);
  const settle = (found: RequestBody | null) => {
    body.off('readable', onReadable);
    body.off('end', onEnd);
    callback(found);
  };
  const onReadable = () => {
    if (body.readableLength > 0) settle(body);
    // Nothing in it: reading on makes it say that it has ended.
    else body.read();
  };
  const onEnd = () => settle(null);
  body.on('readable', onReadable);
  body.once('end', onEnd);
}
