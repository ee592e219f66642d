/** wasi:http/types: the answer to an outbound request. */
import { currentRunOrNull } from './current-run.ts';
import { Handle } from './handle.ts';
import { Fields } from './http-fields.ts';
import { IncomingBody } from './http-incoming.ts';
import { Pollable } from './io.ts';
import type { OutboundCall } from './outbound-call.ts';

export class FutureIncomingResponse extends Handle {
  readonly #call: OutboundCall;
  #taken = false;

  constructor(call: OutboundCall) {
    super();
    this.#call = call;
  }

  subscribe(): Pollable {
    const call = this.#call;
    return new Pollable({ ready: () => call.head !== null || call.error !== null });
  }

  get(): unknown {
    const call = this.#call;
    const run = currentRunOrNull();
    run?.calls.flush();
    run?.receive();
    if (call.head === null && call.error === null) return undefined;
    if (this.#taken) return { tag: 'err', val: undefined };
    this.#taken = true;
    const outcome = call.head ? { tag: 'ok', val: new IncomingResponse(call) } : { tag: 'err', val: call.error };
    return { tag: 'ok', val: outcome };
  }

  protected override closed(): void {
    if (!this.#taken || this.#call.head === null) this.#call.drop();
  }
}

export class IncomingResponse extends Handle {
  readonly #call: OutboundCall;
  #consumed = false;

  constructor(call: OutboundCall) {
    super();
    this.#call = call;
  }

  status(): number {
    return this.#call.head!.status;
  }

  headers(): Fields {
    return Fields.received(this.#call.head!.headers);
  }

  consume(): IncomingBody {
    if (this.#consumed) throw undefined;
    this.#consumed = true;
    return new IncomingBody(this.#call.body);
  }

  protected override closed(): void {
    if (!this.#consumed) this.#call.drop();
  }
}
