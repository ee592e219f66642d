/** The body of a request, whatever the protocol: counted, limited, watched, and bounded when nobody wants it. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { BodyReader, BodySource, FlatHeaders } from '../../runtime/exchange.ts';
import { formatBytes } from '../../runtime/workload/units.ts';
import { gatewayErrors } from '../errors.ts';
import type { Front } from './front.ts';
import type { Watched } from './stall-watch.ts';

/** The exchange that a body belongs to. */
export interface BodyOwner {
  readonly front: Front;
  /** Most bytes of a body. */
  readonly maxRequestBytes: number;
  readonly reply: { readonly ended: boolean };
  /** Gives up on the request: answers with the error, or breaks the answer off. */
  refuse(error: SkerryError): void;
}

export abstract class RequestBody implements BodySource, Watched {
  place = -1;
  readonly length: number | null;
  /** All of it has come. */
  complete = false;
  received = 0;
  readonly #owner: BodyOwner;
  #reader: BodyReader | null = null;
  /** The reader, or who throws it away, wants more. */
  #wanted = false;
  #unwanted = false;
  #over = false;
  #discarded = 0;
  #since = 0;
  /** `received` at `#since`. */
  #mark = 0;

  constructor(owner: BodyOwner, length: number | null) {
    this.#owner = owner;
    this.length = length;
  }

  /** Begins to call `arrive`, `finish` and `breakOff`. */
  protected abstract begin(): void;
  protected abstract hold(): void;
  protected abstract release(): void;
  /** Ends the connection, or as little of it as the protocol can: the answer is out, and the rest is too much. */
  protected abstract cutOff(): void;

  /** Bytes that are still to come; null when that is not known. */
  get rest(): number | null {
    return this.length === null ? null : this.length - this.received;
  }

  get opened(): boolean {
    return this.#reader !== null;
  }

  open(reader: BodyReader): void {
    if (this.#unwanted || this.#over) return reader.error(new Error('the body was thrown away or broke off'));
    this.#reader = reader;
    this.#want();
    this.begin();
  }

  pause(): void {
    if (this.#unwanted) return;
    this.#wanted = false;
    this.hold();
  }

  resume(): void {
    if (this.#unwanted) return;
    this.#restart();
    this.#wanted = true;
    this.release();
  }

  cancel(): void {
    if (this.#unwanted || this.#over) return;
    this.#unwanted = true;
    this.#want();
    if (this.#reader === null) this.begin();
    else this.release();
  }

  /** The request was given up: its reader gets no more, and is told so unless it has let go. */
  abandon(): void {
    if (this.#unwanted || this.#over) return;
    const reader = this.#reader;
    this.cancel();
    reader?.error(new Error('the request was given up in the middle of its body'));
  }

  overdue(now: number): boolean {
    const { stallMs, stallBytes } = this.#owner.front.limits;
    // While the answer is under way nobody waits for what is thrown away.
    const awaited = this.#wanted && (!this.#unwanted || this.#owner.reply.ended);
    if (awaited && this.received - this.#mark < stallBytes) return now - this.#since > stallMs;
    this.#mark = this.received;
    this.#since = now;
    return false;
  }

  expire(): void {
    if (!this.#owner.reply.ended) return this.#owner.refuse(gatewayErrors.REQUEST_TIMEOUT());
    this.abandon();
    this.cutOff();
  }

  protected arrive(chunk: Buffer): void {
    const bytes = chunk.byteLength;
    this.received += bytes;
    const reader = this.#reader;
    if (this.#unwanted || !reader) return this.#discard(bytes);
    if (this.received <= this.#owner.maxRequestBytes) return reader.chunk(chunk);
    this.#owner.refuse(gatewayErrors.REQUEST_TOO_LARGE(formatBytes(this.#owner.maxRequestBytes)));
    // Nothing is refused any more once the answer is out: the reader hears it all the same.
    this.abandon();
  }

  protected finish(trailers: FlatHeaders | null): void {
    if (this.length !== null && this.received !== this.length)
      return this.breakOff('the body is not as long as it said');
    this.complete = true;
    const reader = this.#end();
    reader?.end(trailers);
  }

  /** It will not come to its end. */
  protected breakOff(why: string): void {
    const reader = this.#end();
    reader?.error(new Error(why));
  }

  /** The reader, if it has not heard of an end. */
  #end(): BodyReader | null {
    const reader = this.#over || this.#unwanted ? null : this.#reader;
    this.#over = true;
    this.#owner.front.watch.delete(this);
    return reader;
  }

  #discard(bytes: number): void {
    if (!this.#owner.reply.ended) return;
    this.#discarded += bytes;
    if (this.#discarded > this.#owner.front.limits.discardBytes) this.cutOff();
  }

  #want(): void {
    if (this.#over) return;
    this.#restart();
    this.#wanted = true;
    this.#owner.front.watch.add(this);
  }

  #restart(): void {
    this.#since = performance.now();
    this.#mark = this.received;
  }
}
