/**
 * The answer on its way out: gathers what the guest writes into as few messages as its waiting and flushing allow. The main
 * thread holds what it gets until the guest waits or ends, so that a small answer goes out whole.
 */
import type { FlatHeaders } from '../../../../exchange.ts';
import type { Channel } from '../channel.ts';
import { bodyWindow, type Failure, pieceCost, type RunMessage, smallBody } from '../protocol.ts';
import { HostTrap } from './failure.ts';
import { type ByteSink, IoError, throwFailed } from './io.ts';
import { joined, ownBuffer } from './pieces.ts';

/** 1xx answers to one request. */
const informationalLimit = 16;

export class Answer implements ByteSink {
  readonly #channel: Channel;
  readonly #run: number;
  readonly #failed: (failure: Failure) => Error;
  readonly #headOnly: boolean;
  /** What the guest writes is dropped: the request's method or the status has no body. */
  #bodiless = false;
  #head: { status: number; headers: FlatHeaders } | null = null;
  #headSent = false;
  #complete = false;
  #exposed = false;
  /** Declared by the guest's Content-Length. */
  #length: number | null = null;
  #written = 0;
  #informational = 0;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  /** Bytes given to the main thread. */
  #posted = 0;

  constructor(channel: Channel, message: RunMessage, failed: (failure: Failure) => Error) {
    this.#channel = channel;
    this.#run = message.run;
    this.#headOnly = message.head.method === 'HEAD';
    this.#failed = failed;
  }

  /** The guest has given an answer, whole or not. */
  get given(): boolean {
    return this.#head !== null;
  }

  get complete(): boolean {
    return this.#complete;
  }

  /** Takes the head; `length` is what its Content-Length says. */
  start(status: number, headers: FlatHeaders, length: number | null): void {
    this.#head = { status, headers };
    this.#bodiless = this.#headOnly || status === 204 || status === 205 || status === 304;
    if (this.#bodiless) {
      // All that the client will see: a client that leaves now has its answer, and the guest must not hear of it.
      this.#pending = [];
      this.#pendingBytes = 0;
      return this.finish(null);
    }
    this.#length = length;
    this.#checkLength(false);
    if (this.#pendingBytes >= smallBody) this.flush();
  }

  informational(status: number, headers: FlatHeaders): void {
    if (++this.#informational > informationalLimit) throw new HostTrap('too many informational answers');
    this.#channel.post({ kind: 'informational', run: this.#run, status, headers });
  }

  ready(): boolean {
    return this.#channel.gone(this.#run) || this.#room() > 0;
  }

  #room(): number {
    if (this.#bodiless) return smallBody;
    const onTheWay = (this.#posted - this.#channel.taken()) >>> 0;
    return Math.max(0, bodyWindow - onTheWay - this.#pendingBytes);
  }

  room(): number {
    if (!this.#bodiless && this.#channel.gone(this.#run)) {
      throwFailed(new IoError('the client has gone', { tag: 'connection-terminated' }));
    }
    return Math.min(this.#room(), smallBody);
  }

  write(data: Uint8Array): void {
    if (this.#bodiless) return;
    this.#written += data.byteLength;
    this.#checkLength(false);
    this.#pending.push(data);
    this.#pendingBytes += data.byteLength;
    if (this.#pendingBytes >= smallBody) this.flush();
  }

  flush(): void {
    if (!this.#head || this.#complete) return;
    if (this.#headSent && this.#pendingBytes === 0) return;
    const data = this.#gather();
    if (this.#headSent) {
      this.#channel.post({ kind: 'piece', run: this.#run, data: data! }, ownBuffer(data));
      return;
    }
    this.#headSent = true;
    this.#channel.post({ kind: 'answer', run: this.#run, ...this.#head, data, end: false, trailers: null });
  }

  /** The guest is about to wait: what it has written so far must be on its way before. */
  expose(): void {
    this.flush();
    if (!this.#headSent || this.#exposed) return;
    this.#exposed = true;
    this.#channel.post({ kind: 'waits', run: this.#run });
  }

  /** The body is whole. */
  finish(trailers: FlatHeaders | null): void {
    if (this.#complete) return;
    this.#checkLength(true);
    this.#complete = true;
    const data = this.#gather();
    if (this.#headSent) {
      this.#channel.post({ kind: 'finish', run: this.#run, data, trailers });
      return;
    }
    this.#headSent = true;
    this.#channel.post({ kind: 'answer', run: this.#run, ...this.#head!, data, end: true, trailers });
  }

  close(): void {}

  #checkLength(whole: boolean): void {
    if (this.#length === null) return;
    const wrong = whole ? this.#written !== this.#length : this.#written > this.#length;
    if (!wrong) return;
    throw this.#failed({
      code: 'FUNCTION_BAD_ANSWER',
      why: `its Content-Length is ${this.#length}, its body has ${this.#written} bytes`,
    });
  }

  #gather(): Uint8Array | null {
    const pieces = this.#pending;
    if (pieces.length === 0) return null;
    const data = joined(pieces, this.#pendingBytes);
    this.#posted = (this.#posted + data.byteLength + pieceCost) >>> 0;
    this.#pending = [];
    this.#pendingBytes = 0;
    return data;
  }
}
