import { type Duplex, pipeline } from 'node:stream';
import type { Dispatcher } from 'undici';
import { BodyStream } from '../body-stream.ts';
import { endToEnd, flatten, type RawFields } from '../egress/response-fields.ts';
import type { Exchange, FlatHeaders } from '../exchange.ts';
import { MAX_TIMER_MS } from '../timers.ts';
import { proxyErrors } from './errors.ts';
import { PROXY_LIMITS } from './limits.ts';

/** The length that an answer declares, in bytes; null when it does not, or not in one way. */
function declaredLength(headers: FlatHeaders): number | null {
  let length: number | null = null;
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== 'content-length') continue;
    if (length !== null) return null;
    length = Number(headers[i + 1]);
  }
  return length;
}

/** One exchange on its way through a workload that speaks HTTP: undici's events turned into the reply's. */
export class Forward implements Dispatcher.DispatchHandler {
  /** Resolves when the answer is complete or nobody waits for it; rejects with a SkerryError otherwise. */
  readonly over: Promise<void>;
  readonly #exchange: Exchange;
  readonly #name: string;
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #body: BodyStream | null;
  #controller: Dispatcher.DispatchController | null = null;
  #status = 0;
  #headers: FlatHeaders = [];
  /** What came of a small answer that will be sent whole; null when it is passed on as it comes. */
  #pieces: Buffer[] | null = null;
  #done = false;

  constructor(exchange: Exchange, name: string) {
    this.#exchange = exchange;
    this.#name = name;
    let resolve!: () => void;
    let reject!: (error: Error) => void;
    this.over = new Promise<void>((onResolve, onReject) => {
      resolve = onResolve;
      reject = onReject;
    });
    this.#resolve = resolve;
    this.#reject = reject;
    this.#body = exchange.body ? new BodyStream(exchange.body, PROXY_LIMITS.bodyBufferBytes) : null;
    const left = Math.max(0, Math.min(exchange.deadline - performance.now(), MAX_TIMER_MS));
    this.#timer = setTimeout(() => this.fail(proxyErrors.UPSTREAM_DEADLINE(name)), left);
    exchange.onAbort(() => this.#end(null));
  }

  start(dispatcher: Dispatcher): void {
    if (this.#done) return;
    const { method, target, headers, authority, upgrade } = this.#exchange;
    try {
      dispatcher.dispatch(
        {
          method: method as Dispatcher.HttpMethod,
          path: target,
          headers: ['host', authority, ...headers],
          body: this.#body,
          upgrade: upgrade?.protocol ?? null,
        },
        this,
      );
    } catch (error) {
      this.fail(this.#told(error as Error));
    }
  }

  /** Ends it with an error, unless it is over. */
  fail(error: Error): void {
    if (this.#done) return;
    this.#end(error);
  }

  // What undici calls.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#done) controller.abort(new Error('nobody waits for the answer'));
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    socket: Duplex,
  ): void {
    if (this.#done) return void socket.destroy();
    const offer = this.#exchange.upgrade;
    const headers = endToEnd(flatten(controller.rawHeaders as RawFields, 'latin1'));
    // From here on the two of them decide how long it goes on.
    clearTimeout(this.#timer);
    this.#controller = null;
    try {
      const client = (offer as NonNullable<typeof offer>).accept(headers);
      pipeline(client, socket, () => socket.destroy());
      pipeline(socket, client, () => {
        client.destroy();
        this.#end(null);
      });
    } catch {
      socket.destroy();
      this.#end(null);
    }
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#done) return;
    const headers = endToEnd(flatten(controller.rawHeaders as RawFields, 'latin1'));
    if (status < 200) return this.#exchange.reply.informational(status, headers);
    this.#status = status;
    this.#headers = headers;
    const length = declaredLength(headers);
    const bodyless = this.#exchange.method === 'HEAD' || status === 204 || status === 304;
    if (bodyless || (length !== null && length <= PROXY_LIMITS.wholeBytes)) this.#pieces = [];
    else if (this.#try(() => this.#exchange.reply.start(status, headers))) {
      this.#exchange.reply.onDrain(() => controller.resume());
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return;
    if (this.#pieces) {
      this.#pieces.push(chunk);
      return;
    }
    if (!this.#exchange.reply.write(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#done) return;
    const { reply } = this.#exchange;
    const pieces = this.#pieces;
    const trailers = flatten(controller.rawTrailers as RawFields, 'latin1');
    const sent = this.#try(() => {
      if (!pieces) return reply.end(trailers.length > 0 ? trailers : null);
      reply.send(this.#status, this.#headers, pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
    });
    if (sent) this.#end(null);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(this.#told(error));
  }

  /** False when the reply did not take it, which ends the exchange. */
  #try(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      this.fail(proxyErrors.UPSTREAM_BAD_ANSWER(this.#name, (error as Error).message).because(error));
      return false;
    }
  }

  #told(error: Error): Error {
    const { code, message, name } = error as NodeJS.ErrnoException;
    if (
      name === 'HTTPParserError' ||
      code === 'UND_ERR_HEADERS_OVERFLOW' ||
      code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
    ) {
      return proxyErrors.UPSTREAM_BAD_ANSWER(this.#name, message).because(error);
    }
    if (error.name === 'SkerryError') return error;
    return proxyErrors.UPSTREAM_BROKE_OFF(this.#name, message).because(error);
  }

  #end(error: Error | null): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    // Also after an answer that came before the body was read.
    this.#body?.destroy();
    this.#controller?.abort(error ?? new Error('nobody waits for the answer'));
    if (error) this.#reject(error);
    else this.#resolve();
  }
}
