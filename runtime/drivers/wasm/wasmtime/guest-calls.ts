/**
 * What the guest of one request asks of this side: outbound requests and operations on stored keys. Its other half is
 * native/wasm/src/calls.rs.
 */
import type { KeyValueNamespace } from '../../../keyvalue/keyvalue.ts';
import type { FunctionSettings } from '../engine.ts';
import { OutboundRequests } from '../outbound-requests.ts';
import { flag, type NativeEvent } from './events.ts';
import { answerKeyValue } from './keyvalue.ts';
import type { NativeEngine } from './library.ts';
import { NativeGuestEnd, outboundStart } from './outbound.ts';

/** What a call is about, in the upper half of an event's flags. */
const op = { send: 1, sendBody: 2, sendBroken: 3, resume: 4, cancel: 5 } as const;

export class GuestCalls {
  readonly #native: NativeEngine;
  readonly #slot: number;
  readonly #keyvalue: KeyValueNamespace;
  /** By the numbers of their calls. */
  readonly #outbound: OutboundRequests;
  #closed = false;

  /** `deadline` is that of the request on the clock of `performance.now()`; `note` takes lines for the function's log. */
  constructor(
    native: NativeEngine,
    slot: number,
    { egress, keyvalue }: FunctionSettings,
    deadline: number,
    note: (text: string) => void,
  ) {
    this.#native = native;
    this.#slot = slot;
    this.#keyvalue = keyvalue;
    this.#outbound = new OutboundRequests(egress, deadline, note);
  }

  take(event: NativeEvent): void {
    if (this.#closed) return;
    const { status: call, body } = event;
    const what = event.flags >>> 16;
    const outbound = this.#outbound.get(call);
    switch (what) {
      case op.send:
        return this.#outbound.send(call, outboundStart(event), new NativeGuestEnd(this.#native, this.#slot, call));
      case op.sendBody:
        return outbound?.body?.take(body, (event.flags & flag.end) !== 0);
      case op.sendBroken:
        return outbound?.body?.breakOff();
      case op.resume:
        return outbound?.resume();
      case op.cancel:
        return outbound?.cancel();
      default:
        answerKeyValue(this.#keyvalue, what, body, (outcome, results) => {
          if (!this.#closed) this.#native.keyvalueAnswer(this.#slot, call, outcome, results);
        });
    }
  }

  /** The request is over, or nobody waits for it any more: what is under way outside is given up. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outbound.close();
  }
}
