/** A process in a guest: its streams go at the pace of their slower side, by credit, and its memory here is bounded. */
import type { Readable, Writable } from 'node:stream';
import type { ProcessStreams } from '../../../driver.ts';
import { Malformed } from './fields.ts';
import { asked, encodeCredit, encodeSignal, type GuestExit } from './messages.ts';

/** What it may write to each of its outputs before this side has passed it on, in bytes. */
export const OUTPUT_WINDOW = 256 * 1024;
/** Of one frame of its input, in bytes. */
const PIECE_BYTES = 32 * 1024;

/** Sends a frame on the process's channel; resolves when there is room for more. */
export type Send = (kind: number, payload: Uint8Array) => Promise<void>;

class Output {
  readonly #stream: 1 | 2;
  readonly #to: Writable;
  readonly #send: Send;
  /** What it may still send. */
  #window = OUTPUT_WINDOW;
  #passedOn = 0;
  #unwritten = 0;
  #drained: (() => void) | null = null;

  constructor(stream: 1 | 2, to: Writable, send: Send) {
    this.#stream = stream;
    this.#to = to;
    this.#send = send;
    // Whoever left does not hold the process up: what it writes is dropped.
    to.on('error', () => {});
  }

  /** Throws Malformed when it sends more than it may. */
  take(payload: Buffer): void {
    if (payload.length === 0 || payload.length > this.#window)
      throw new Malformed('more output than there was credit for');
    this.#window -= payload.length;
    this.#unwritten += payload.length;
    const passedOn = () => this.#passOn(payload.length);
    if (this.#to.writable) this.#to.write(Buffer.from(payload), passedOn);
    else passedOn();
  }

  /** Resolves when all that was taken has been passed on. */
  async drained(): Promise<void> {
    if (this.#unwritten === 0) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
  }

  #passOn(bytes: number): void {
    this.#unwritten -= bytes;
    this.#passedOn += bytes;
    if (this.#unwritten === 0) this.#drained?.();
    if (this.#passedOn < OUTPUT_WINDOW / 2) return;
    const credit = this.#passedOn;
    this.#passedOn = 0;
    this.#window += credit;
    void this.#send(asked.credit, encodeCredit(this.#stream, credit));
  }
}

export class AgentProcess {
  /** In the guest. */
  readonly pid: number | null;
  /** Resolves when it has ended and all that it wrote is in the streams; rejects when the agent is lost before. */
  readonly exited: Promise<GuestExit>;
  readonly #send: Send;
  readonly #outputs: readonly [Output, Output];
  readonly #onLost: (stream: 'stdout' | 'stderr', bytes: number) => void;
  #tellExited!: (exit: GuestExit) => void;
  #tellLost!: (why: Error) => void;
  #stdinCredit: number;
  #stdinSent = 0;
  #wake: (() => void) | null = null;
  #over = false;
  /** Of each stream it is told at most once that something of it was lost, before the first piece of it. */
  #mayLose = new Set([1, 2]);

  /** `pid` null: it had ended before somebody attached to it. */
  constructor(
    started: { readonly pid: number; readonly stdinWindow: number } | null,
    streams: ProcessStreams,
    send: Send,
    onLost: (stream: 'stdout' | 'stderr', bytes: number) => void,
  ) {
    this.pid = started?.pid ?? null;
    this.#send = send;
    this.#onLost = onLost;
    this.#stdinCredit = started?.stdinWindow ?? 0;
    this.#outputs = [new Output(1, streams.stdout, send), new Output(2, streams.stderr, send)];
    this.exited = new Promise((resolve, reject) => {
      this.#tellExited = resolve;
      this.#tellLost = reject;
    });
    // Whoever does not wait for it is not to be ended by its loss.
    this.exited.catch(() => {});
    void this.#feed(streams.stdin);
  }

  /** By number. `group`: also to those that it started and that stayed in its group. Nothing when it has ended. */
  signal(number: number, group = false): void {
    if (!this.#over) void this.#send(asked.signal, encodeSignal(number, group));
  }

  /** For the connection: output of it. */
  output(stream: 1 | 2, payload: Buffer): void {
    if (this.#over) throw new Malformed('output of a process that has ended');
    this.#mayLose.delete(stream);
    this.#outputs[stream - 1]?.take(payload);
  }

  /** For the connection: what of its output nobody could keep. */
  lost(stream: 1 | 2, bytes: number): void {
    if (!this.#mayLose.delete(stream)) throw new Malformed('lost output where none can have been');
    this.#onLost(stream === 1 ? 'stdout' : 'stderr', bytes);
  }

  /** For the connection: it has read some of its input. */
  stdinCredit(bytes: number): void {
    if (bytes === 0 || bytes > this.#stdinSent) throw new Malformed('credit for input that was not sent');
    this.#stdinSent -= bytes;
    this.#stdinCredit += bytes;
    this.#wake?.();
  }

  /** For the connection: it has ended. */
  ended(exit: GuestExit): void {
    if (this.#over) throw new Malformed('a second end of a process');
    this.#end();
    void Promise.all(this.#outputs.map((output) => output.drained())).then(() => this.#tellExited(exit));
  }

  /** For the connection: nothing more comes of it. */
  fail(why: Error): void {
    this.#end();
    this.#tellLost(why);
  }

  #end(): void {
    this.#over = true;
    this.#wake?.();
  }

  async #feed(stdin: Readable): Promise<void> {
    try {
      for await (const chunk of stdin) {
        let rest: Buffer = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        while (rest.length > 0 && !this.#over) {
          const count = Math.min(rest.length, PIECE_BYTES, this.#stdinCredit);
          if (count === 0) {
            await this.#credit();
            continue;
          }
          this.#stdinCredit -= count;
          this.#stdinSent += count;
          await this.#send(asked.stdin, rest.subarray(0, count));
          rest = rest.subarray(count);
        }
        if (this.#over) break;
      }
    } catch {
      // Whoever gave it input has left: it gets no more.
    }
    if (!this.#over) void this.#send(asked.stdinEnd, Buffer.alloc(0));
  }

  async #credit(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
  }
}
