/** Outbound HTTP/1.1 and HTTP/2 on undici, by allow-list. */
import { AllowList } from './allow-list.ts';
import { Call, type CallBudget } from './call.ts';
import { type ConnectInside, Connector } from './connector.ts';
import type { EgressCall, EgressClient, EgressReply, EgressRequest, EgressSession } from './egress.ts';
import { EgressFailure } from './failure.ts';
import { EGRESS_LIMITS } from './limits.ts';
import { OriginPools } from './origin-pools.ts';
import type { Resolve } from './resolver.ts';
import type { Trust } from './trust.ts';

export interface EgressOptions {
  /** `HOST[:PORT]` each, as on the workload's revision. */
  readonly allow: readonly string[];
  readonly resolve: Resolve;
  readonly trust: Trust;
  /** How the function reaches other workloads of the node. */
  readonly inside?: ConnectInside;
}

/** The client of one function. Opens nothing until something is sent. */
export function openEgressClient({ allow, ...rest }: EgressOptions): EgressClient {
  return new UndiciEgressClient(new Connector({ allow: new AllowList(allow), ...rest }), allow.length === 0);
}

class UndiciEgressClient implements EgressClient {
  readonly deniesAll: boolean;
  readonly #connector: Connector;
  #pools: Promise<OriginPools> | null = null;
  readonly #sessions = new Set<Session>();
  #closing: Promise<void> | null = null;
  /** Calls under way, of all sessions. */
  inFlight = 0;

  constructor(connector: Connector, deniesAll: boolean) {
    this.#connector = connector;
    this.deniesAll = deniesAll;
  }

  /** undici is loaded when something is sent: a node whose functions stay at home saves its 20 MB. */
  pools(): Promise<OriginPools> {
    this.#pools ??= import('undici').then((undici) => new OriginPools(this.#connector, undici));
    return this.#pools;
  }

  open(deadline: number): EgressSession {
    const session = new Session(deadline, this, () => this.#sessions.delete(session));
    if (this.#closing) session.close();
    else this.#sessions.add(session);
    return session;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      const reason = new EgressFailure('connection-terminated', 'the function was stopped');
      for (const session of this.#sessions) session.end(reason);
      await (await this.#pools)?.close(reason);
    })();
    return this.#closing;
  }
}

class Session implements EgressSession, CallBudget {
  readonly deadline: number;
  readonly #client: UndiciEgressClient;
  readonly #onClose: () => void;
  readonly #calls = new Set<Call>();
  #requests = 0;
  #requestBytes = 0;
  #responseBytes = 0;
  #closed = false;

  constructor(deadline: number, client: UndiciEgressClient, onClose: () => void) {
    this.deadline = deadline;
    this.#client = client;
    this.#onClose = onClose;
  }

  send(request: EgressRequest, reply: EgressReply): EgressCall {
    const refusal = this.#refusal();
    const call = new Call(request, reply, this);
    this.#requests++;
    this.#calls.add(call);
    this.#client.inFlight++;
    if (refusal) queueMicrotask(() => call.fail(refusal));
    else void this.#client.pools().then((pools) => call.start(pools));
    return call;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#onClose();
  }

  /** Closes it, and tells those who wait why. */
  end(reason: EgressFailure): void {
    for (const call of this.#calls) call.fail(reason);
    this.close();
  }

  // What calls take.

  takeRequestBytes(bytes: number): void {
    this.#requestBytes += bytes;
    if (this.#requestBytes <= EGRESS_LIMITS.requestBytesPerExchange) return;
    throw new EgressFailure('HTTP-request-body-size', 'the bodies sent for one request are too long together');
  }

  takeResponseBytes(bytes: number): void {
    this.#responseBytes += bytes;
    if (this.#responseBytes <= EGRESS_LIMITS.responseBytesPerExchange) return;
    throw new EgressFailure('HTTP-response-body-size', 'the bodies received for one request are too long together');
  }

  over(call: Call): void {
    this.#calls.delete(call);
    this.#client.inFlight--;
  }

  #refusal(): EgressFailure | null {
    if (this.#closed) return new EgressFailure('connection-terminated', 'the request is over');
    const { requestsPerExchange, concurrentPerExchange, concurrentPerFunction } = EGRESS_LIMITS;
    if (this.#requests >= requestsPerExchange) {
      return new EgressFailure('connection-limit-reached', `one request may make ${requestsPerExchange} outbound ones`);
    }
    if (this.#calls.size >= concurrentPerExchange) {
      return new EgressFailure('connection-limit-reached', `${concurrentPerExchange} outbound requests run already`);
    }
    if (this.#client.inFlight >= concurrentPerFunction) {
      return new EgressFailure('connection-limit-reached', 'the function has too many outbound requests under way');
    }
    return null;
  }
}
