/** One request on its way through a worker: its body in, its answer out, its deadline, its client's leaving. */
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import type { Exchange, FlatHeaders } from '../../../exchange.ts';
import type { Member } from '../../../roster.ts';
import { wasmErrors } from '../errors.ts';
import { formatBytes } from '../format-bytes.ts';
import { badAnswer, LastWords } from '../last-words.ts';
import { GuestCalls, type Services } from './guest-calls.ts';
import type { GuestWorker, Job } from './guest-worker.ts';
import type { Lane } from './lanes.ts';
import type { Pool } from './pool.ts';
import {
  type CodeMessage,
  type DoneMessage,
  type Failure,
  type FromWorker,
  pieceCost,
  type RunFigures,
  smallBody,
} from './protocol.ts';
import { RequestBody } from './request-body.ts';

/** How long a guest may go on after its client has left, in milliseconds. */
const leaveGrace = 100;
/**
 * How long a request whose answer is complete waits for its guest's end before it resolves, in milliseconds. Most guests
 * end at once, and then their place is free when the caller hears of it.
 */
const lingerTime = 5;
/**
 * How long a guest's answer is held back while the guest neither waits nor ends, in milliseconds: what is complete by then
 * goes out whole, with its length, and a guest that fails by then is told as that.
 */
const holdTime = 20;
/** How often a worker is asked whether it has begun, where the guest's CPU time has a limit, in milliseconds. */
const beginTime = 20;

export interface ExecutionOwner {
  output(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  /** No worker is at it any more. `figures` is null when none ever was; of a run broken off its memory is not known. */
  done(figures: (RunFigures & Partial<Pick<DoneMessage, 'memoryBytes'>>) | null): void;
  readonly memoryBytes: number;
  /** CPU time that the run may use, in milliseconds. */
  readonly cpuTimeMs: number | undefined;
  readonly services: Services;
  /** Where its requests wait for a worker. */
  readonly lane: Lane<Job>;
}

/** An answer that nobody has seen yet, as far as the guest has given it. */
interface HeldAnswer {
  readonly status: number;
  readonly headers: FlatHeaders;
  readonly pieces: Uint8Array[];
  bytes: number;
  /** Set when that is all. */
  end: { readonly trailers: FlatHeaders | null } | null;
}

export class Execution implements Job, Member {
  place = -1;
  readonly code: CodeMessage;
  readonly lane: Lane<Job>;
  readonly #exchange: Exchange;
  /** Null when the request has none. */
  readonly #body: RequestBody | null;
  readonly #pool: Pool;
  readonly #owner: ExecutionOwner;
  readonly #result: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: SkerryError) => void;
  #settled = false;
  #worker: GuestWorker | null = null;
  /** The worker has no more part in it. */
  #over = false;
  /** What the guest has asked of this thread; null until it asks. */
  #asked: GuestCalls | null = null;
  readonly #lastWords = new LastWords();
  readonly #deadline: NodeJS.Timeout;
  #grace: NodeJS.Timeout | null = null;
  #linger: NodeJS.Timeout | null = null;
  #hold: NodeJS.Timeout | null = null;
  #cpu: NodeJS.Timeout | null = null;
  #submitted = false;

  // The answer: what is held back for what may follow at once, and pieces that wait for the client.
  #held: HeldAnswer | null = null;
  #pieces: Uint8Array[] = [];
  #full: number | null = null;
  #finish: { trailers: FlatHeaders | null } | null = null;

  constructor(exchange: Exchange, code: CodeMessage, pool: Pool, owner: ExecutionOwner) {
    this.#exchange = exchange;
    this.#body = exchange.body && new RequestBody(exchange.body);
    this.code = code;
    this.lane = owner.lane;
    this.#pool = pool;
    this.#owner = owner;
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#deadline = setTimeout(() => this.#late(), Math.max(0, exchange.deadline - performance.now()));
  }

  start(): Promise<void> {
    this.#exchange.reply.onDrain(() => this.#drained());
    if (this.#body) this.#body.open(() => this.#submit());
    else this.#submit();
    this.#exchange.onAbort(() => this.#left());
    return this.#result;
  }

  /** Ends it from outside: the function is closed. */
  stop(error: SkerryError): void {
    this.#abandon(error);
  }

  // The worker.

  #submit(): void {
    if (this.#submitted || this.#settled) return;
    this.#submitted = true;
    this.#body?.settle();
    this.#pool.submit(this);
  }

  begin(worker: GuestWorker): void {
    this.#worker = worker;
    this.#watchCpu(worker);
    const { id, method, scheme, authority, target, headers } = this.#exchange;
    const { body, trailers } = this.#body?.first() ?? { body: null, trailers: null };
    const whole = body instanceof Uint8Array;
    worker.post(
      {
        kind: 'run',
        run: worker.run,
        code: this.code.code,
        head: { id, method, scheme, authority, target, headers },
        body,
        trailers,
      },
      whole ? [body.buffer] : [],
    );
    this.#body?.flow(worker, whole);
  }

  /** The guest cannot have used more than has passed: to look again when it could have is soon enough. */
  #watchCpu(worker: GuestWorker, from: number | null = null): void {
    const { cpuTimeMs } = this.#owner;
    if (cpuTimeMs === undefined || this.#over) return;
    // A thread that has just been started, or has to take in the code first, is not the guest's doing.
    const began = from ?? (worker.begun ? performance.now() - worker.since : null);
    const left = began === null ? Math.min(cpuTimeMs, beginTime) : cpuTimeMs - (worker.soFar().busyMs - began);
    if (left <= 0) return this.#abandon(wasmErrors.FUNCTION_CPU());
    this.#cpu = setTimeout(() => this.#watchCpu(worker, began), Math.ceil(left));
  }

  message(message: FromWorker): void {
    this.#orBadAnswer(() => this.#hear(message));
  }

  /** What the client's side throws over an answer says that it cannot be served. */
  #orBadAnswer(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#abandon(badAnswer(error));
    }
  }

  #hear(message: FromWorker): void {
    switch (message.kind) {
      case 'answer':
        return this.#answer(message);
      case 'piece':
        return this.#piece(message.data);
      case 'finish':
        if (message.data) this.#piece(message.data);
        return this.#end(message.trailers);
      case 'waits':
        return this.#release();
      case 'informational':
        if (!this.#settled) this.#exchange.reply.informational(message.status, message.headers);
        return;
      case 'read':
        return this.#body?.wasRead(message.bytes);
      case 'unread':
        return this.#body?.cancel();
      case 'output':
        this.#lastWords.hear(message.stream, message.data);
        return this.#owner.output(message.stream, message.data);
      case 'outbound':
      case 'keyvalue':
        return this.#calls().take(message);
      case 'done':
        return this.#done(message);
    }
  }

  /** A line for the developer of the function. */
  #note(text: string): void {
    this.#owner.output('stderr', Buffer.from(`[skerry] ${text}\n`));
  }

  #calls(): GuestCalls {
    const note = (text: string) => this.#note(text);
    this.#asked ??= new GuestCalls(this.#worker!, this.#owner.services, this.#exchange.deadline, note);
    return this.#asked;
  }

  #done(message: DoneMessage): void {
    this.#workerOver(message);
    if (message.failure && !this.#finish) {
      this.#dropHeld();
      // The client has gone: nobody waits for an answer, and a guest that cannot give it has not failed.
      return this.#settle(this.#exchange.aborted ? null : this.#explain(message.failure));
    }
    this.#release();
    // The answer is complete, or on its way out; or the client has gone and nobody waits for one.
    if (this.#exchange.aborted || this.#exchange.reply.ended) this.#settle(null);
  }

  #explain({ code, why }: Failure): SkerryError {
    if (code === 'FUNCTION_NO_ANSWER') return wasmErrors.FUNCTION_NO_ANSWER();
    if (code === 'UNFINISHED') return this.#lastWords.unfinished();
    if (code === 'FUNCTION_MEMORY') return this.#outOfMemory();
    if (code === 'FUNCTION_EXITED') return this.#lastWords.explain(why, this.#owner.memoryBytes);
    return wasmErrors[code](why);
  }

  #outOfMemory(): SkerryError {
    return wasmErrors.FUNCTION_MEMORY(formatBytes(this.#owner.memoryBytes));
  }

  lost(outOfMemory: boolean, reason: Error): void {
    this.#workerOver(this.#worker?.soFar() ?? null);
    const error = outOfMemory ? this.#outOfMemory() : wasmErrors.FUNCTION_TRAPPED('its thread ended');
    this.#settle(error.because(reason));
  }

  #workerOver(figures: DoneMessage | RunFigures | null): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#grace) clearTimeout(this.#grace);
    if (this.#cpu) clearTimeout(this.#cpu);
    this.#body?.close();
    this.#asked?.close();
    this.#owner.done(figures);
    if (this.#settled) clearTimeout(this.#deadline);
  }

  // The answer.

  #answer(message: Extract<FromWorker, { kind: 'answer' }>): void {
    if (this.#settled) return;
    const { status, headers, data, end, trailers } = message;
    if (end) this.#lastWords.answerEnded(this.#exchange.method === 'HEAD');
    this.#held = { status, headers, pieces: [], bytes: 0, end: end ? { trailers } : null };
    this.#hold = setTimeout(() => this.#orBadAnswer(() => this.#release()), holdTime);
    if (data) this.#piece(data);
  }

  #piece(data: Uint8Array): void {
    if (!this.#held) return this.#write(data);
    this.#held.pieces.push(data);
    this.#held.bytes += data.byteLength;
    if (this.#held.bytes > smallBody) this.#release();
  }

  /** The guest has given all of its answer. */
  #end(trailers: FlatHeaders | null): void {
    this.#lastWords.answerEnded(false);
    if (this.#held) {
      this.#held.end = { trailers };
      return;
    }
    this.#finish = { trailers };
    this.#endWhenWritten();
  }

  /** Lets go what was held back: whole when it is all there, and else what there is of it. */
  #release(): void {
    const held = this.#held;
    this.#dropHeld();
    const { reply } = this.#exchange;
    if (!held || this.#settled || reply.ended) return;
    this.#finish = held.end;
    if (held.end && !held.end.trailers) {
      reply.send(held.status, held.headers, whole(held.pieces));
      return this.#complete();
    }
    reply.start(held.status, held.headers);
    for (const piece of held.pieces) this.#write(piece);
    this.#endWhenWritten();
  }

  #dropHeld(): void {
    if (this.#hold) clearTimeout(this.#hold);
    this.#held = null;
  }

  #write(data: Uint8Array): void {
    if (this.#settled || this.#exchange.reply.ended) return;
    if (this.#full !== null) this.#pieces.push(data);
    else if (this.#exchange.reply.write(data)) this.#took(data.byteLength + pieceCost);
    else this.#full = data.byteLength + pieceCost;
  }

  #took(bytes: number): void {
    if (!this.#over) this.#worker?.taken(bytes);
  }

  #drained(): void {
    if (this.#full === null) return;
    this.#took(this.#full);
    this.#full = null;
    while (this.#full === null && this.#pieces.length > 0) this.#write(this.#pieces.shift()!);
    this.#endWhenWritten();
  }

  #endWhenWritten(): void {
    if (!this.#finish || this.#settled || this.#pieces.length > 0 || this.#full !== null) return;
    this.#exchange.reply.end(this.#finish.trailers);
    this.#complete();
  }

  /** The client has the whole answer. */
  #complete(): void {
    if (this.#over) this.#settle(null);
    else this.#linger = setTimeout(() => this.#settle(null), lingerTime);
  }

  // Its ends.

  #late(): void {
    if (this.#settled && !this.#exchange.aborted && this.#worker && !this.#over) {
      this.#note('what it did after its answer was cut off at its limit of time');
    }
    this.#abandon(wasmErrors.FUNCTION_DEADLINE());
  }

  #left(): void {
    if (this.#settled) return;
    if (!this.#worker) return this.#abandon(null);
    if (this.#over) return this.#settle(null);
    // What the guest has under way outside need not wait for its end.
    this.#asked?.close();
    this.#worker.leave();
    this.#grace = setTimeout(() => this.#abandon(null), leaveGrace);
  }

  /** Gives up on it, and on the worker if one is at it. */
  #abandon(error: SkerryError | null): void {
    if (!this.#submitted || !this.#worker) this.#pool.withdraw(this);
    const worker = this.#over ? null : this.#worker;
    // A whole answer is one, even if its guest did not end in time; a part is better told as a failure.
    if (this.#held?.end) this.#release();
    this.#workerOver(worker?.soFar() ?? null);
    if (worker) this.#pool.kill(worker);
    this.#settle(this.#exchange.reply.ended ? null : error);
  }

  #settle(error: SkerryError | null): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#dropHeld();
    this.#body?.settle();
    if (this.#linger) clearTimeout(this.#linger);
    // A guest may go on after its answer, until the deadline.
    if (this.#over) clearTimeout(this.#deadline);
    else if (!this.#worker) clearTimeout(this.#deadline);
    if (error) this.#reject(error);
    else this.#resolve();
  }
}

function whole(pieces: readonly Uint8Array[]): Uint8Array | null {
  return pieces.length > 1 ? Buffer.concat(pieces) : (pieces[0] ?? null);
}
