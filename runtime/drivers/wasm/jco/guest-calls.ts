/** What the guest of one request asks of the main thread. Its other half is wasi/calls.ts, in the worker. */
import type { FunctionSettings } from '../engine.ts';
import { OutboundRequests } from '../outbound-requests.ts';
import type { GuestCall, OutboundAsk } from './guest-call-protocol.ts';
import type { GuestWorker } from './guest-worker.ts';
import { answerKeyValue } from './keyvalue.ts';
import { WorkerGuestEnd } from './outbound.ts';

/** What the guest may use: its function's. */
export type Services = Pick<FunctionSettings, 'egress' | 'keyvalue'>;

export class GuestCalls {
  readonly #worker: GuestWorker;
  readonly #run: number;
  readonly #services: Services;
  readonly #outbound: OutboundRequests;
  /** The guest's ends of outbound requests that are not over. */
  readonly #ends = new Map<number, WorkerGuestEnd>();
  #closed = false;

  /** `deadline` is that of the request on the clock of `performance.now()`; `note` takes lines for the function's log. */
  constructor(worker: GuestWorker, services: Services, deadline: number, note: (text: string) => void) {
    this.#worker = worker;
    this.#run = worker.run;
    this.#services = services;
    this.#outbound = new OutboundRequests(services.egress, deadline, note);
  }

  take(message: GuestCall): void {
    if (this.#closed) return;
    const { call } = message;
    if (message.kind === 'outbound') return this.#hear(call, message.ask);
    answerKeyValue(this.#services.keyvalue, message.ask, (answer, transfer) => {
      if (!this.#closed) this.#worker.post({ kind: 'keyvalue', run: this.#run, call, answer }, transfer);
    });
  }

  /** The request is over, or nobody waits for it any more: what is under way outside is given up. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outbound.close();
    this.#ends.clear();
  }

  #hear(call: number, ask: OutboundAsk): void {
    const request = this.#outbound.get(call);
    switch (ask.what) {
      case 'send': {
        const end = new WorkerGuestEnd(this.#worker, this.#run, call, () => this.#ends.delete(call));
        this.#ends.set(call, end);
        return this.#outbound.send(call, { head: ask.head, first: ask.data, whole: ask.whole }, end);
      }
      case 'body':
        return request?.body?.take(ask.data, ask.whole);
      case 'broken':
        return request?.body?.breakOff();
      case 'read':
        if (this.#ends.get(call)?.wasRead(ask.bytes)) request?.resume();
        return;
      case 'cancel':
        this.#ends.delete(call);
        return request?.cancel();
    }
  }
}
