/** What the guest of one run asks of the main thread. Its other half is ../guest-calls.ts. */
import type { OutboundGrant } from '../../outbound-grant.ts';
import type { Channel } from '../channel.ts';
import type { GuestCallAnswer, KeyValueAnswer, KeyValueAsk, OutboundAsk } from '../guest-call-protocol.ts';
import type { OutboundCall } from './outbound-call.ts';
import { OutboundFailures } from './outbound-failures.ts';
import type { Output } from './output.ts';

export class Calls {
  readonly #channel: Channel;
  readonly #run: number;
  readonly #grant: OutboundGrant;
  readonly #output: Output;
  readonly failures = new OutboundFailures();
  /** The number of the last call. */
  #last = 0;
  /** Outbound requests that the main thread may still speak of. */
  readonly #outbound = new Map<number, OutboundCall>();
  /** Those that have something to hand over. */
  readonly #waiting = new Set<OutboundCall>();
  /** Outbound requests so far, and those whose answers the guest holds. */
  #sent = 0;
  #held = 0;
  /** The developer has been told that one was refused. */
  #told = false;
  /** The answer to the operation on stored keys that the guest waits for. */
  #answer: { readonly call: number; readonly answer: KeyValueAnswer } | null = null;
  /** The run has ended: an instance that is used again may hold objects of it. */
  over = false;

  constructor(channel: Channel, run: number, grant: OutboundGrant, output: Output) {
    this.#channel = channel;
    this.#run = run;
    this.#grant = grant;
    this.#output = output;
  }

  /** Nobody waits for what the guest does. */
  get gone(): boolean {
    return this.over || this.#channel.gone(this.#run);
  }

  /** A place for one more outbound request; or why there is none. */
  admit(): 'admitted' | 'connection-terminated' | 'HTTP-request-denied' | 'connection-limit-reached' {
    if (this.gone) return 'connection-terminated';
    const { requests, atOnce } = this.#grant;
    if (requests === 0) {
      this.#refused("nothing is on the function's allow-list");
      return 'HTTP-request-denied';
    }
    if (this.#sent >= requests) {
      this.#refused(`one request may make ${requests} of them`);
      return 'connection-limit-reached';
    }
    if (this.#held >= atOnce) {
      this.#refused(`it holds ${atOnce} of them already`);
      return 'connection-limit-reached';
    }
    this.#sent++;
    this.#held++;
    return 'admitted';
  }

  #refused(why: string): void {
    if (this.#told) return;
    this.#told = true;
    this.#output.note(`an outbound request was refused: ${why}`);
  }

  /** The guest holds nothing more of an outbound request that was admitted. */
  released(): void {
    this.#held--;
  }

  /** Gives an outbound request its number. */
  open(call: OutboundCall): number {
    this.#outbound.set(++this.#last, call);
    return this.#last;
  }

  /** The main thread will say no more of it, or what it says is of no interest. */
  forget(number: number): void {
    this.#outbound.delete(number);
  }

  ask(call: number, ask: OutboundAsk, transfer: readonly ArrayBuffer[] = []): void {
    if (!this.over) this.#channel.post({ kind: 'outbound', run: this.#run, call, ask }, transfer);
  }

  /** `call` has something to hand over; it does so when the guest waits, so that it travels with what follows. */
  later(call: OutboundCall): void {
    this.#waiting.add(call);
  }

  /** Hands over what waits. */
  flush(): void {
    if (this.#waiting.size === 0) return;
    const calls = [...this.#waiting];
    this.#waiting.clear();
    for (const call of calls) call.flush();
  }

  /** Begins an operation on stored keys; the guest waits for `answered` of the number. */
  operate(ask: KeyValueAsk): number {
    const call = ++this.#last;
    this.#channel.post({ kind: 'keyvalue', run: this.#run, call, ask });
    return call;
  }

  answered(call: number): KeyValueAnswer | null {
    return this.#answer?.call === call ? this.#answer.answer : null;
  }

  hear(message: GuestCallAnswer): void {
    if (message.kind === 'outbound') this.#outbound.get(message.call)?.hear(message.answer);
    else this.#answer = message;
  }
}
