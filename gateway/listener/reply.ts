/** The answer to a request, whatever the protocol: checked, counted, limited, and watched while its client is slow. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { FlatHeaders, ReplySink } from '../../runtime/exchange.ts';
import { formatBytes } from '../../runtime/workload/units.ts';
import { gatewayErrors } from '../errors.ts';
import type { Front } from './front.ts';
import { bodyForbidden, checkSize, replyHead } from './reply-head.ts';
import type { Watched } from './stall-watch.ts';

/** The exchange that an answer belongs to. */
export interface ReplyOwner {
  readonly front: Front;
  readonly id: string;
  readonly method: string;
  readonly deadline: number;
  /** Most bytes of a body. */
  readonly maxResponseBytes: number;
  refuse(error: SkerryError): void;
  /** As if the client had left. */
  leave(): void;
}

/** What the system takes at once from a client's point of view: less than this is not worth watching, in bytes. */
const UNWATCHED_BYTES = 64 * 1024;
/** Whoever runs the workload ends it at its deadline; only a client that keeps it from that is ended here, in ms. */
const DEADLINE_SLACK_MS = 1000;

export abstract class Reply implements ReplySink, Watched {
  place = -1;
  ended = false;
  protected readonly owner: ReplyOwner;
  /** To HEAD, or 204, 205, 304: what the workload writes is counted as sent and dropped. */
  #bodyless: boolean;
  #sent = 0;
  #since = 0;
  #waiting = 0;

  constructor(owner: ReplyOwner) {
    this.owner = owner;
    this.#bodyless = owner.method === 'HEAD';
  }

  abstract get started(): boolean;
  /** The client's version of the protocol has trailers. */
  protected abstract get takesTrailers(): boolean;
  abstract onDrain(callback: () => void): void;

  /** Sends a 1xx answer; throws when it is not valid. */
  protected abstract hint(status: number, headers: FlatHeaders): void;
  /** The client has gone: there is nobody to answer. */
  protected abstract get gone(): boolean;
  /** Bytes handed over that the system has not taken yet. */
  protected abstract get waiting(): number;
  /** `body` is null when there is none, or none may be sent. */
  protected abstract whole(status: number, headers: FlatHeaders, body: Uint8Array | null): void;
  protected abstract begin(status: number, headers: FlatHeaders, bodyless: boolean): void;
  protected abstract put(chunk: Uint8Array): boolean;
  protected abstract finish(trailers: FlatHeaders | null): void;
  protected abstract breakOff(): void;
  /** Takes back what is left of it: nobody reads it. */
  abstract leave(): void;

  informational(status: number, headers: FlatHeaders): void {
    // 100 is the gateway's own to send, and Node's HTTP/1.1 writes no other than these.
    if ((status !== 102 && status !== 103) || this.started || this.#mute()) return;
    try {
      this.hint(status, headers);
    } catch {
      // A client can do without: the answer itself is still to come.
    }
  }

  send(status: number, from: FlatHeaders, body: Uint8Array | null): void {
    if (this.#mute()) return;
    const { headers, length } = replyHead(status, from, this.owner.id, false);
    const empty = this.#bodyless || bodyForbidden(status);
    const bytes = body === null ? 0 : body.byteLength;
    if (!empty && bytes > this.owner.maxResponseBytes) return this.#tooLarge();
    // What HEAD is not told the length of has one all the same (RFC 9110, 8.6).
    const unknown = this.owner.method === 'HEAD' && body === null;
    if (length === null && !unknown && status !== 204 && status !== 304) {
      headers.push('content-length', String(status === 205 ? 0 : bytes));
    }
    // What throws has sent nothing: a problem can still be the answer.
    this.whole(status, headers, empty || bytes === 0 ? null : body);
    this.ended = true;
    this.#watchRest();
  }

  start(status: number, from: FlatHeaders): void {
    if (this.#mute()) return;
    const { headers, length } = replyHead(status, from, this.owner.id, !this.#bodyless && this.takesTrailers);
    if (bodyForbidden(status)) this.#bodyless = true;
    if (!this.#bodyless && length !== null && length > this.owner.maxResponseBytes) return this.#tooLarge();
    this.begin(status, headers, this.#bodyless);
  }

  write(chunk: Uint8Array): boolean {
    if (this.#bodyless || this.#mute()) return true;
    this.#sent += chunk.byteLength;
    if (this.#sent > this.owner.maxResponseBytes) {
      this.#tooLarge();
      return true;
    }
    const room = this.put(chunk);
    if (!room) this.#watchFrom();
    return room;
  }

  end(trailers: FlatHeaders | null): void {
    if (this.#mute()) return;
    if (trailers) checkSize(trailers);
    this.finish(trailers);
    this.ended = true;
    this.#watchRest();
  }

  abort(): void {
    this.ended = true;
    this.over();
    this.breakOff();
  }

  overdue(now: number): boolean {
    if (!this.ended && now > this.owner.deadline + DEADLINE_SLACK_MS) return true;
    const { waiting } = this;
    if (waiting === this.#waiting) {
      const { stallMs, minBytesPerSecond } = this.owner.front.limits;
      return now - this.#since > stallMs + (1000 * waiting) / minBytesPerSecond;
    }
    this.#waiting = waiting;
    this.#since = now;
    return false;
  }

  /** A client that does not take its answer is as good as gone. */
  expire(): void {
    this.owner.leave();
  }

  /** There is room again, or nothing left to send. */
  protected over(): void {
    this.owner.front.watch.delete(this);
  }

  #mute(): boolean {
    if (this.gone) this.ended = true;
    return this.ended;
  }

  #tooLarge(): void {
    this.owner.refuse(gatewayErrors.RESPONSE_TOO_LARGE(formatBytes(this.owner.maxResponseBytes)));
  }

  #watchRest(): void {
    if (this.waiting > UNWATCHED_BYTES) this.#watchFrom();
  }

  #watchFrom(): void {
    this.#waiting = this.waiting;
    this.#since = performance.now();
    this.owner.front.watch.add(this);
  }
}
