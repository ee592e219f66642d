/** One request on its way through the native engine: from its exchange, through a slot, to its last event. */
import type { SkerryError } from '../../../../errors/skerry-error.ts';
import type { Exchange, FlatHeaders } from '../../../exchange.ts';
import type { Member } from '../../../roster.ts';
import type { FunctionSettings } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { badAnswer, LastWords } from '../last-words.ts';
import type { Switchboard } from './engine.ts';
import { flag, type NativeEvent, packHeaders, unpackHeaders } from './events.ts';
import { requestFailure } from './failures.ts';
import { GuestCalls } from './guest-calls.ts';
import { ReplyStream } from './reply-stream.ts';
import { RequestBody } from './request-body.ts';

/** How a body comes, see native/wasm/src/lib.rs. */
const NO_BODY = 0;
const WHOLE_BODY = 1;
const STREAMED_BODY = 2;
/** A small body that is not there by then, in milliseconds, is streamed like a large one. */
const COLLECT_MS = 20;

export class Call implements Member {
  place = -1;
  readonly #board: Switchboard;
  readonly #id: number;
  readonly #settings: FunctionSettings;
  readonly #exchange: Exchange;
  readonly #lastWords = new LastWords();
  /** -1 until the guest is started, and after its last event. */
  #slot = -1;
  #body: RequestBody | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** What the guest has asked of this side; null until it asks. */
  #asked: GuestCalls | null = null;
  /** Set when the answer does not come in one piece. */
  #stream: ReplyStream | null = null;
  #settled = false;
  #failed = false;
  #resolve!: () => void;
  #reject!: (error: Error) => void;
  #finished!: (failed: boolean) => void;

  constructor(board: Switchboard, id: number, settings: FunctionSettings, exchange: Exchange) {
    this.#board = board;
    this.#id = id;
    this.#settings = settings;
    this.#exchange = exchange;
  }

  /** Calls `finished` when nothing of the request runs any more, which can be later than the promise settles. */
  run(finished: (failed: boolean) => void): Promise<void> {
    this.#finished = finished;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#exchange.onAbort(() => this.#abort());
      const { body } = this.#exchange;
      if (body === null) this.#start(NO_BODY, null);
      else this.#open(new RequestBody(body));
    });
  }

  /** Ends the request because its function is closed. */
  stop(): void {
    this.#fail(wasmErrors.FUNCTION_STOPPED());
    this.#end();
  }

  /** Takes an event of its slot. */
  take(event: NativeEvent): void {
    const { flags } = event;
    if (flags & flag.call) return this.#ask(event);
    if (flags & (flag.stdout | flag.stderr)) this.#print(event);
    else if (flags & flag.fail) this.#fail(this.#failure(event));
    else if (!this.#settled) this.#reply(event);
    if (flags & flag.resume) this.#body?.resume();
    if (flags & flag.unwanted) this.#body?.cancel();
    if (flags & flag.done) {
      this.#slot = -1;
      this.#finish();
    }
  }

  /** A small body is waited for a little, so that the guest of a quick sender starts with all of it. */
  #open(body: RequestBody): void {
    this.#body = body;
    const whole = body.collect({
      done: (bytes, trailers) => {
        if (trailers !== null) this.#start(STREAMED_BODY, bytes, trailers);
        else this.#start(bytes.byteLength > 0 ? WHOLE_BODY : NO_BODY, bytes);
      },
      broken: () => this.#fail(wasmErrors.REQUEST_BROKEN(), true),
    });
    if (whole) {
      const remaining = this.#exchange.deadline - performance.now();
      this.#timer = setTimeout(() => this.#start(STREAMED_BODY, null), Math.max(0, Math.min(remaining, COLLECT_MS)));
    } else {
      this.#start(STREAMED_BODY, null);
    }
  }

  #start(kind: number, bytes: Uint8Array | null, trailers: FlatHeaders | null = null): void {
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#settled) return;
    const exchange = this.#exchange;
    const { method, authority, target, headers, expectedUs } = exchange;
    const remaining = exchange.deadline - performance.now();
    if (remaining <= 0) return this.#fail(wasmErrors.FUNCTION_DEADLINE(), true);
    let head = `${method}\n${authority}\n${target}`;
    if (headers.length > 0) head += `\n${packHeaders(headers)}`;
    const https = exchange.scheme === 'https';
    const slot = this.#board.connect(this);
    this.#slot = slot;
    const fields = 3 + headers.length;
    const { native } = this.#board;
    const why = native.start(this.#id, slot, head, fields, https, remaining, expectedUs, kind, bytes);
    if (why !== null) {
      this.#board.disconnect(slot);
      this.#slot = -1;
      return this.#fail(wasmErrors.REQUEST_NOT_EXPRESSIBLE(why), true);
    }
    if (kind !== STREAMED_BODY) return;
    if (bytes === null) this.#body?.stream(native, slot);
    else this.#body?.give(native, slot, bytes, trailers);
  }

  #reply(event: NativeEvent): void {
    const { flags } = event;
    try {
      if (flags & flag.end) this.#lastWords.answerEnded(this.#bodiless(event.status));
      const whole = flags & flag.end && event.trailers === '';
      // What has no body is complete with its head: whatever the guest still does, the client has its answer.
      if (flags & flag.head && (whole || this.#bodiless(event.status))) {
        this.#exchange.reply.send(event.status, unpackHeaders(event.head), event.body);
        this.#complete();
      } else {
        this.#stream ??= new ReplyStream(
          this.#exchange.reply,
          (bytes) => this.#acknowledge(bytes),
          (error) => this.#refused(error),
        );
        if (this.#stream.take(event)) this.#complete();
        else if (flags & flag.end) this.#stream.onEnd(() => this.#complete());
      }
    } catch (error) {
      this.#refused(error as Error);
    }
  }

  /** The same as native/wasm/src/reply.rs has it, which drops such a body. */
  #bodiless(status: number): boolean {
    return this.#exchange.method === 'HEAD' || status === 204 || status === 205 || status === 304;
  }

  #failure(event: NativeEvent): SkerryError {
    return requestFailure(event.status, event.head, this.#settings.limits.memoryBytes, this.#lastWords);
  }

  /** The client's side threw over the answer: it cannot be served, whoever is to blame. */
  #refused(error: Error): void {
    this.#fail(badAnswer(error));
    this.#end();
  }

  #acknowledge(bytes: number): void {
    if (this.#slot >= 0) this.#board.native.taken(this.#slot, bytes);
  }

  #ask(event: NativeEvent): void {
    this.#asked ??= new GuestCalls(
      this.#board.native,
      this.#slot,
      this.#settings,
      this.#exchange.deadline,
      (text: string) => this.#note(text),
    );
    this.#asked.take(event);
  }

  /** A line for the developer of the function. */
  #note(text: string): void {
    const data = Buffer.from(`[skerry] ${text}\n`);
    this.#settings.output({ stream: 'stderr', requestId: this.#exchange.id, data });
  }

  #print(event: NativeEvent): void {
    const stream = event.flags & flag.stdout ? 'stdout' : 'stderr';
    const data = event.body ?? new Uint8Array();
    this.#lastWords.hear(stream, data);
    this.#settings.output({ stream, requestId: this.#exchange.id, data });
  }

  /** The client has gone: nobody waits for the answer, and that is no failure. One that has its answer is not missed. */
  #abort(): void {
    if (this.#settled) return;
    this.#complete();
    this.#end();
  }

  #complete(): void {
    this.#settled = true;
    this.#resolve();
  }

  /** `over` when no guest was started for it, so that no event will end the call. */
  #fail(error: SkerryError, over = false): void {
    if (!this.#settled) {
      this.#settled = true;
      this.#failed = true;
      this.#reject(error);
    }
    if (over) this.#finish();
  }

  /** Ends the guest if there is one; its last event is still to come. */
  #end(): void {
    // What it has under way outside need not wait for the guest to be stopped.
    this.#asked?.close();
    if (this.#slot >= 0) this.#board.native.stop(this.#slot);
    else this.#finish();
  }

  #finish(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#body?.cancel();
    this.#asked?.close();
    this.#finished(this.#failed);
    this.#finished = () => {};
  }
}
