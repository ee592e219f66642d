/**
 * The node's end of the stream to the agent in a guest. What is at the other end may be hostile: every frame is bounded, read
 * strictly, and must be one that this side has asked or given room for; requests are answered in time; what breaks the rules
 * ends the connection.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { ProcessStreams } from '../../../driver.ts';
import { AgentRefusal, agentErrors } from './errors.ts';
import { Malformed } from './fields.ts';
import { encodeFrame, type Frame, FrameParser, MAX_PAYLOAD_BYTES, NotFrames, RESYNC_BYTES } from './frames.ts';
import { findHello } from './greeting.ts';
import {
  asked,
  decodeExited,
  decodeFailed,
  decodeLost,
  decodeStarted,
  decodeStats,
  decodeStdinCredit,
  encodeConfiguration,
  encodeHello,
  encodeProcess,
  encodeRestored,
  encodeSignal,
  type GuestConfiguration,
  type GuestExit,
  type GuestIdentity,
  type GuestProcess,
  type GuestStats,
  type Hello,
  NONCE_BYTES,
  told,
  VERSION,
} from './messages.ts';
import { AgentProcess, OUTPUT_WINDOW, type Send } from './process.ts';

export const AGENT_LIMITS = {
  /** For an answer when nothing else is said, in milliseconds. */
  answerMs: 15_000,
  /** Requests and processes that wait for an answer. */
  waiting: 256,
  /** What may wait to be read by the guest, in bytes. */
  unsentBytes: 2 * 2 ** 20,
} as const;

const SIGKILL = 9;
const NOTHING = Buffer.alloc(0);

interface Waiting {
  readonly what: string;
  /** Kinds of frames that answer it, beside a refusal. */
  readonly kinds: readonly number[];
  /** What it is when it is a process: its streams go on from the answer. */
  readonly begin: ((frame: Frame) => unknown) | null;
  resolve(value: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout | null;
}

export interface ConnectOptions {
  /** Until it has answered, in milliseconds. */
  readonly timeoutMs?: number;
  /** It may have been told something before by another node, which left it in the middle of a frame. */
  readonly resume?: boolean;
}

/** Output that nobody could keep while no node was connected, in bytes. */
export type OnLost = (stream: 'stdout' | 'stderr', bytes: number) => void;

export class AgentClient {
  readonly hello: Hello;
  /** Resolves when the connection has ended: null when one of the two closed it, else what was wrong. */
  readonly closed: Promise<Error | null>;
  readonly #stream: Duplex;
  readonly #parser = new FrameParser((frame) => this.#take(frame));
  readonly #waiting = new Map<number, Waiting>();
  readonly #processes = new Map<number, AgentProcess>();
  /** Channels of what was given up before it was answered: whatever comes on them is nobody's. */
  readonly #abandoned = new Set<number>();
  #tellClosed!: (why: Error | null) => void;
  #channel = 0;
  #over = false;

  private constructor(stream: Duplex, hello: Hello, rest: Buffer) {
    this.#stream = stream;
    this.hello = hello;
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    stream.on('error', (error) => this.#end(agentErrors.AGENT_GONE().because(error)));
    for (const event of ['end', 'close']) stream.on(event, () => this.#end(null));
    stream.on('data', (bytes: Buffer) => this.#read(bytes));
    this.#read(rest);
    stream.resume();
  }

  /** Owns the stream, also when it fails. Throws AGENT_SILENT, AGENT_NONSENSE, AGENT_GONE, AGENT_OTHER_VERSION. */
  static async connect(stream: Duplex, options: ConnectOptions = {}): Promise<AgentClient> {
    const nonce = randomBytes(NONCE_BYTES);
    try {
      if (options.resume) stream.write(Buffer.alloc(RESYNC_BYTES));
      stream.write(encodeFrame(asked.hello, 0, encodeHello(nonce)));
      const { hello, rest } = await findHello(stream, nonce, options.timeoutMs ?? AGENT_LIMITS.answerMs);
      if (hello.version !== VERSION) throw agentErrors.AGENT_OTHER_VERSION(hello.version, VERSION);
      return new AgentClient(stream, hello, rest);
    } catch (error) {
      stream.on('error', () => {});
      stream.destroy();
      throw error;
    }
  }

  /**
   * Makes the guest one of its own: reseeds its randomness, sets its clock and its names; then what `suspend` stopped goes on.
   * Before anything else, in every machine. This and what follows throws AgentRefusal, AGENT_SILENT, AGENT_NONSENSE, AGENT_GONE.
   */
  async restored(identity: GuestIdentity, timeoutMs?: number): Promise<void> {
    const timeNs = BigInt(Date.now()) * 1_000_000n;
    await this.#ask('restored', asked.restored, encodeRestored(identity, timeNs), [told.done], timeoutMs);
  }

  /** Once. Throws AGENT_REQUEST_TOO_LONG too. */
  async configure(configuration: GuestConfiguration, timeoutMs?: number): Promise<void> {
    await this.#ask('configure', asked.configure, encodeConfiguration(configuration), [told.done], timeoutMs);
  }

  /** Starts the workload's own process; once. Throws AGENT_REQUEST_TOO_LONG too. */
  start(process: GuestProcess, streams: ProcessStreams, timeoutMs?: number): Promise<AgentProcess> {
    return this.#begin('start', asked.start, encodeProcess(process, OUTPUT_WINDOW), streams, () => {}, timeoutMs);
  }

  /** Takes over the workload's own process, which was started before this connection; what it wrote meanwhile comes first. */
  attach(streams: ProcessStreams, onLost: OnLost, timeoutMs?: number): Promise<AgentProcess> {
    const window = Buffer.alloc(4);
    window.writeUInt32LE(OUTPUT_WINDOW);
    return this.#begin('attach', asked.attach, window, streams, onLost, timeoutMs);
  }

  /** Starts a further process. Throws AGENT_REQUEST_TOO_LONG too. */
  exec(process: GuestProcess, streams: ProcessStreams, timeoutMs?: number): Promise<AgentProcess> {
    return this.#begin('exec', asked.exec, encodeProcess(process, OUTPUT_WINDOW), streams, () => {}, timeoutMs);
  }

  async stats(timeoutMs?: number): Promise<GuestStats> {
    return (await this.#ask('stats', asked.stats, NOTHING, [told.stats], timeoutMs)) as GuestStats;
  }

  /** None of the workload's processes runs, until `restored`. To be asked before a snapshot. */
  async suspend(timeoutMs?: number): Promise<void> {
    await this.#ask('suspend', asked.suspend, NOTHING, [told.done], timeoutMs);
  }

  /** The workload is asked to end, ended after `graceMs`, and the machine ends. Resolves when that has begun. */
  async powerOff(graceMs: number, timeoutMs?: number): Promise<void> {
    const grace = Buffer.alloc(4);
    grace.writeUInt32LE(graceMs);
    await this.#ask('power off', asked.powerOff, grace, [told.done], timeoutMs);
  }

  /** Idempotent. */
  close(): void {
    this.#end(null);
  }

  #nextChannel(): number {
    const used = (channel: number) =>
      this.#waiting.has(channel) || this.#processes.has(channel) || this.#abandoned.has(channel);
    do this.#channel = (this.#channel % 0xffff) + 1;
    while (used(this.#channel));
    return this.#channel;
  }

  #ask(
    what: string,
    kind: number,
    payload: Buffer,
    kinds: readonly number[],
    timeoutMs: number = AGENT_LIMITS.answerMs,
    begin?: (channel: number, frame: Frame) => unknown,
  ): Promise<unknown> {
    if (this.#over) return Promise.reject(agentErrors.AGENT_GONE());
    if (payload.length > MAX_PAYLOAD_BYTES) {
      return Promise.reject(agentErrors.AGENT_REQUEST_TOO_LONG(payload.length, MAX_PAYLOAD_BYTES));
    }
    if (this.#waiting.size + this.#processes.size + this.#abandoned.size >= AGENT_LIMITS.waiting) {
      return Promise.reject(agentErrors.AGENT_SILENT(what, 0));
    }
    const channel = this.#nextChannel();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(channel);
        this.#abandoned.add(channel);
        reject(agentErrors.AGENT_SILENT(what, timeoutMs));
      }, timeoutMs);
      const beginning = begin ? (frame: Frame) => begin(channel, frame) : null;
      this.#waiting.set(channel, { what, kinds, begin: beginning, resolve, reject, timer });
      this.#send(channel, kind, payload);
    });
  }

  async #begin(
    what: string,
    kind: number,
    payload: Buffer,
    streams: ProcessStreams,
    onLost: OnLost,
    timeoutMs?: number,
  ): Promise<AgentProcess> {
    const kinds = kind === asked.attach ? [told.started, told.exited] : [told.started];
    const begin = (channel: number, frame: Frame) => {
      const started = frame.kind === told.started ? decodeStarted(frame.payload) : null;
      const exit = started === null ? decodeExited(frame.payload) : null;
      return this.#addProcess(channel, started, exit, streams, onLost);
    };
    return (await this.#ask(what, kind, payload, kinds, timeoutMs, begin)) as AgentProcess;
  }

  #addProcess(
    channel: number,
    started: { pid: number; stdinWindow: number } | null,
    exit: GuestExit | null,
    streams: ProcessStreams,
    onLost: OnLost,
  ): AgentProcess {
    const send: Send = (kind, payload) => this.#sendAtItsPace(channel, kind, payload);
    const process = new AgentProcess(started, streams, send, onLost);
    if (exit) process.ended(exit);
    else this.#processes.set(channel, process);
    return process;
  }

  #send(channel: number, kind: number, payload: Uint8Array): boolean {
    if (this.#over) return true;
    const takesMore = this.#stream.write(encodeFrame(kind, channel, payload));
    // A guest that reads nothing is not remembered everything for.
    if (this.#stream.writableLength > AGENT_LIMITS.unsentBytes)
      this.#end(agentErrors.AGENT_SILENT('it reads nothing', 0));
    return takesMore;
  }

  /** Resolves when the stream takes more, or has ended. */
  async #sendAtItsPace(channel: number, kind: number, payload: Uint8Array): Promise<void> {
    // A process that has ended has its channel no longer, which may be another one's by now.
    if (!this.#processes.has(channel) || this.#send(channel, kind, payload)) return;
    await new Promise<void>((resolve) => {
      const over = () => {
        this.#stream.off('drain', over).off('close', over);
        resolve();
      };
      this.#stream.on('drain', over).on('close', over);
    });
  }

  #read(bytes: Buffer): void {
    if (this.#over) return;
    try {
      this.#parser.push(bytes);
    } catch (error) {
      if (!(error instanceof NotFrames || error instanceof Malformed)) throw error;
      this.#end(agentErrors.AGENT_NONSENSE(error.message));
    }
  }

  /** Throws Malformed when it is nothing that this side has asked or given room for. */
  #take(frame: Frame): void {
    if (this.#over) return;
    const { channel } = frame;
    if (this.#abandoned.has(channel)) return this.#takeAbandoned(frame);
    const waiting = this.#waiting.get(channel);
    if (waiting) return this.#answer(channel, waiting, frame);
    const process = this.#processes.get(channel);
    if (!process) throw new Malformed('an answer to nothing that was asked');
    this.#takeOfProcess(channel, process, frame);
  }

  #answer(channel: number, waiting: Waiting, frame: Frame): void {
    const { kinds, begin, resolve, reject, timer } = waiting;
    const settle = () => {
      clearTimeout(timer ?? undefined);
      this.#waiting.delete(channel);
    };
    if (frame.kind === told.failed) {
      const { code, why } = decodeFailed(frame.payload);
      settle();
      return reject(new AgentRefusal(code, why));
    }
    if (!kinds.includes(frame.kind)) throw new Malformed(`an answer of kind ${frame.kind} to ${waiting.what}`);
    const value = begin ? begin(frame) : frame.kind === told.stats ? decodeStats(frame.payload) : nothing(frame);
    settle();
    resolve(value);
  }

  #takeOfProcess(channel: number, process: AgentProcess, { kind, payload }: Frame): void {
    switch (kind) {
      case told.stdout:
        return process.output(1, payload);
      case told.stderr:
        return process.output(2, payload);
      case told.stdinCredit:
        return process.stdinCredit(decodeStdinCredit(payload));
      case told.lost: {
        const { stream, bytes } = decodeLost(payload);
        return process.lost(stream, bytes);
      }
      case told.exited:
        process.ended(decodeExited(payload));
        this.#processes.delete(channel);
        return;
      default:
        throw new Malformed(`a frame of kind ${kind} about a process`);
    }
  }

  /** What was given up is ended when it begins after all; its output, for which there was room, is dropped. */
  #takeAbandoned({ kind, channel, payload }: Frame): void {
    switch (kind) {
      case told.started:
        this.#send(channel, asked.signal, encodeSignal(SIGKILL, true));
        return;
      case told.stdout:
      case told.stderr:
        if (payload.length === 0) throw new Malformed('output that is none');
        return;
      default:
        this.#abandoned.delete(channel);
    }
  }

  #end(why: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.destroy();
    const lost = why ?? agentErrors.AGENT_GONE();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer ?? undefined);
      reject(lost);
    }
    this.#waiting.clear();
    for (const process of this.#processes.values()) process.fail(lost);
    this.#processes.clear();
    this.#tellClosed(why);
  }
}

function nothing({ payload }: Frame): void {
  if (payload.length > 0) throw new Malformed('an answer that says too much');
}
