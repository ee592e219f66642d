/** The body of an outbound request on its way from the guest to the main thread. */
import { EGRESS_LIMITS } from '../../../../egress/limits.ts';
import { uploadWindow } from '../guest-call-protocol.ts';
import { smallBody } from '../protocol.ts';
import type { Calls } from './calls.ts';
import { errorCode } from './http-error-code.ts';
import type { BodySink } from './http-response.ts';
import { IoError, throwClosed, throwFailed } from './io.ts';
import type { OutboundCall } from './outbound-call.ts';
import { joined } from './pieces.ts';

export class Upload implements BodySink {
  /** Declared by the guest's Content-Length. */
  readonly #length: number | null;
  #call: OutboundCall | null = null;
  #calls: Calls | null = null;
  #written = 0;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  /** Bytes handed over that nobody has taken. */
  #underway = 0;
  #end: 'open' | 'whole' | 'unfinished' = 'open';
  #unwanted = false;

  /** `length` is what its Content-Length says. */
  constructor(length: number | null) {
    this.#length = length;
  }

  /** The request was handed over: from here on the body goes out as it is written. */
  open(call: OutboundCall, calls: Calls): void {
    this.#call = call;
    this.#calls = calls;
    if (this.#end === 'unfinished') call.breakOff();
    else calls.later(call);
  }

  /** What waits is all that there is. */
  get whole(): boolean {
    return this.#end === 'whole';
  }

  /** Takes out what waits. */
  gather(): Uint8Array | null {
    if (this.#pendingBytes === 0) return null;
    const data = joined(this.#pending, this.#pendingBytes);
    this.#underway += this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    return data;
  }

  taken(bytes: number): void {
    this.#underway -= bytes;
  }

  /**
   * Nobody takes any more of it: what the guest still writes is dropped. Many guests write all before they look for the
   * answer, and would never see it if writing failed.
   */
  unwanted(): void {
    this.#unwanted = true;
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  ready(): boolean {
    return this.#room() > 0 || this.#calls?.gone === true;
  }

  #room(): number {
    return this.#unwanted ? smallBody : Math.max(0, uploadWindow - this.#underway - this.#pendingBytes);
  }

  room(): number {
    // As much as could have been sent: a guest that writes without end hears that it may stop.
    if (this.#calls?.gone || this.#written > EGRESS_LIMITS.requestBytesPerExchange) throwClosed();
    return Math.min(this.#room(), smallBody);
  }

  write(data: Uint8Array): void {
    this.#written += data.byteLength;
    if (this.#length !== null && this.#written > this.#length) {
      throwFailed(new IoError('the body is longer than its Content-Length', this.#sizeError()));
    }
    if (this.#unwanted) return;
    this.#pending.push(data);
    this.#pendingBytes += data.byteLength;
    this.#handOver();
  }

  flush(): void {
    this.#call?.flush();
  }

  close(): void {}

  /** Its trailers are not sent, see runtime/egress/egress.ts. */
  finish(): void {
    if (this.#length !== null && this.#written !== this.#length) {
      this.unfinished();
      throw this.#sizeError();
    }
    this.#end = 'whole';
    this.#handOver();
  }

  unfinished(): void {
    this.#end = 'unfinished';
    this.#call?.breakOff();
  }

  #handOver(): void {
    if (!this.#call) return;
    if (this.#pendingBytes >= smallBody) this.#call.flush();
    else this.#calls?.later(this.#call);
  }

  #sizeError() {
    return { tag: errorCode('HTTP-request-body-size').tag, val: BigInt(this.#written) };
  }
}
