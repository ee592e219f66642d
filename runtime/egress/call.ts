import type { Dispatcher } from 'undici';
import { MAX_TIMER_MS } from '../timers.ts';
import type { EgressCall, EgressErrorKind, EgressReply, EgressRequest } from './egress.ts';
import { asEgressFailure, EgressFailure } from './failure.ts';
import { EGRESS_TIMEOUTS } from './limits.ts';
import type { OriginPool, OriginPools } from './origin-pools.ts';
import { bodyToSend, RequestBody } from './request-body.ts';
import { checkRequestHead, type RequestHead } from './request-head.ts';
import { endToEnd, flatten, type RawFields } from './response-fields.ts';

/** What a call takes from its exchange; `take*` throw an EgressFailure when there is no more. */
export interface CallBudget {
  /** On the clock of `performance.now()`. */
  readonly deadline: number;
  takeRequestBytes(bytes: number): void;
  takeResponseBytes(bytes: number): void;
  /** The call is over, however it ended; told once. */
  over(call: Call): void;
}

/** One request from `send` to its end: its clocks, and undici's events turned into the reply's. */
export class Call implements EgressCall, Dispatcher.DispatchHandler {
  readonly #request: EgressRequest;
  readonly #reply: EgressReply;
  readonly #budget: CallBudget;
  #pools: OriginPools | null = null;
  #held: OriginPool | null = null;
  #body: RequestBody | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #timer: NodeJS.Timeout | undefined;
  #paused = false;
  /** `pause` was called while the answer ran. */
  #wasPaused = false;
  #started = false;
  #over = false;

  constructor(request: EgressRequest, reply: EgressReply, budget: CallBudget) {
    this.#request = request;
    this.#reply = reply;
    this.#budget = budget;
  }

  /** Sends the request. */
  start(pools: OriginPools): void {
    if (this.#over) return;
    this.#pools = pools;
    const { method, scheme, body, timeouts } = this.#request;
    try {
      const head = checkRequestHead(this.#request);
      this.#held = pools.hold(scheme, head);
      if (body) this.#body = new RequestBody(body, (bytes) => this.#onBodyBytes(bytes));
      this.#body?.on('error', (error) => this.fail(error));
      const connectMs = timeouts.connectMs ?? EGRESS_TIMEOUTS.connect;
      this.#arm(connectMs, 'connection-timeout', `no connection within ${connectMs} ms`);
      bodyToSend(method, this.#body, (sent) => this.#dispatch(head, sent));
    } catch (error) {
      this.fail(error);
    }
  }

  pause(): void {
    this.#paused = true;
    if (!this.#started || this.#over) return;
    this.#wasPaused = true;
    this.#controller?.pause();
    // The guest is slow, not the server.
    this.#arm(Number.POSITIVE_INFINITY, 'HTTP-response-timeout', '');
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (!this.#started || this.#over) return;
    this.#awaitBytes();
    this.#controller?.resume();
  }

  cancel(): void {
    this.#end(new EgressFailure('connection-terminated', 'not wanted any more'));
  }

  /** Ends the call with an error, unless it is over. */
  fail(error: unknown): void {
    if (this.#over) return;
    const failure = asEgressFailure(error);
    this.#end(failure);
    this.#reply.error(failure.kind, failure.message);
  }

  // What undici calls.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#over) return controller.abort(new EgressFailure('connection-terminated', 'not wanted any more'));
    this.#awaitHead();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#over || status < 200) return;
    this.#started = true;
    this.#awaitBytes();
    this.#reply.head(status, endToEnd(this.#fields(controller.rawHeaders)));
    if (this.#paused) this.pause();
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return;
    try {
      this.#budget.takeResponseBytes(chunk.byteLength);
    } catch (error) {
      return this.fail(error);
    }
    if (!this.#paused) this.#awaitBytes();
    this.#reply.chunk(chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return;
    const trailers = this.#fields(controller.rawTrailers);
    // Over HTTP/2 undici ends with the trailers, and drops what a paused stream still holds before them.
    if (this.#wasPaused && this.#held?.h2 && trailers.length > 0) {
      return this.fail(new EgressFailure('HTTP-response-incomplete', 'trailers over HTTP/2 overtook the body'));
    }
    this.#end(null);
    this.#reply.end(trailers.length > 0 ? trailers : null);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(this.#inTransfer(error));
  }

  #dispatch(head: RequestHead, body: RequestBody | null): void {
    if (this.#over || !this.#held) return;
    const { target, headers } = head;
    this.#held.pool.dispatch({ path: target, method: this.#request.method, headers, body }, this);
  }

  /** A connection that ends in the middle of an answer is told as what it is for the guest. */
  #inTransfer(error: Error): unknown {
    const failure = asEgressFailure(error);
    if (!this.#started || failure.kind !== 'connection-terminated') return failure;
    return new EgressFailure('HTTP-response-incomplete', failure.message, error);
  }

  #fields(raw: unknown) {
    return flatten(raw as RawFields, this.#held?.h2 ? 'utf8' : 'latin1');
  }

  #onBodyBytes(bytes: number): void {
    this.#budget.takeRequestBytes(bytes);
    if (this.#controller && !this.#started) this.#awaitHead();
  }

  #awaitHead(): void {
    const ms = this.#request.timeouts.firstByteMs ?? EGRESS_TIMEOUTS.firstByte;
    this.#arm(ms, 'HTTP-response-timeout', `no answer within ${ms} ms`);
  }

  #awaitBytes(): void {
    const ms = this.#request.timeouts.betweenBytesMs ?? EGRESS_TIMEOUTS.betweenBytes;
    this.#arm(ms, 'connection-read-timeout', `nothing more of the answer within ${ms} ms`);
  }

  /** One clock: what is waited for now, or the deadline when that is earlier. */
  #arm(ms: number, kind: EgressErrorKind, detail: string): void {
    clearTimeout(this.#timer);
    const left = Math.max(0, this.#budget.deadline - performance.now());
    const late =
      left < ms
        ? new EgressFailure('HTTP-response-timeout', 'the deadline of the request came first')
        : new EgressFailure(kind, detail);
    this.#timer = setTimeout(() => this.fail(late), Math.min(left, ms, MAX_TIMER_MS));
  }

  #end(reason: EgressFailure | null): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    // Also after an answer that came before the body was sent.
    if (this.#body) this.#body.destroy();
    else this.#request.body?.cancel();
    if (reason) this.#controller?.abort(reason);
    if (this.#held) this.#pools?.release(this.#held);
    this.#budget.over(this);
  }
}
