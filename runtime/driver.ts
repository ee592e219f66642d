/**
 * The contract of every sandbox: a driver is a folder in `runtime/drivers/` that implements it and is listed once in
 * `runtime/drivers/index.ts`. Nothing outside a driver's folder knows which kind it is.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Exchange } from './exchange.ts';
import type { Isolation, Limits, Revision } from './workload/revision.ts';

/** What this machine can do for a driver; `skerry doctor` prints it. */
export interface Probe {
  readonly isolation: Isolation;
  readonly available: boolean;
  /** What does the work: "wasmtime 48.0.8", "crun 1.8.1". */
  readonly provider: string;
  /** How well it runs here, in a short sentence. */
  readonly quality: string;
  /** What would make it available or better, each a thing the reader can do; empty when nothing would. */
  readonly advice: readonly string[];
  /** What a workload may build on, such as the interfaces that a component may import. */
  readonly offers?: readonly string[];
}

export type Progress = (step: string) => void;

export interface Driver {
  readonly isolation: Isolation;
  /** More load needs more instances. False where one instance makes a sandbox for each request (Wasm). */
  readonly replicated: boolean;
  probe(): Promise<Probe>;
  /**
   * Throws when the revision can never run here (wrong format, a missing import, limits out of range), calling the
   * artifact `label`. Changes nothing that runs.
   */
  check(revision: Revision, label: string, progress: Progress): Promise<void>;
  /** Everything that can be done before a request comes: compile, unpack, boot a template. Idempotent. */
  prepare(revision: Revision, progress: Progress): Promise<void>;
  /** Undoes `prepare` when no instance of the revision is left. */
  release(revision: Revision): Promise<void>;
  /** `streams`: what its process reads and writes, for a revision that is a process. */
  start(revision: Revision, limits: Limits, streams?: ProcessStreams): Promise<Instance>;
  /** What `recover` kept of this revision, with its end if it has ended since; null when there is nothing. */
  adopt(revision: Revision): Promise<Instance | null>;
  /**
   * Called once, before the first `start`: what an earlier run of the node left running is kept for the next `start` of its
   * revision to take over, where `wanted` says so; all else of it is removed.
   */
  recover(wanted: (workload: string, revisionId: string) => boolean): Promise<void>;
  /** Bytes of memory kept so that sandboxes to come start sooner; they are no workload's own. */
  keptBytes(): number;
  close(): Promise<void>;
}

/** Why an instance ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly reason: 'stopped' | 'exited' | 'out-of-memory' | 'failed';
  readonly message: string;
}

/** Counters since the start of the instance, gauges as of now. */
export interface InstanceStats {
  readonly requests: number;
  readonly failures: number;
  readonly inFlight: number;
  readonly cpuMs: number;
  /** The most that one sandbox had, for Wasm; what is in use now, for the others. */
  readonly memoryBytes: number;
  /** Sandboxes made for a request, requests served in one that had served before, and the time of the making. */
  readonly coldStarts: number;
  readonly warmStarts: number;
  readonly startMs: number;
}

/** What a process reads and writes. They stay open when it has ended, except that all of `stdin` may not have been read. */
export interface ProcessStreams {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** A running sandbox. For Wasm it is a pool that makes a fresh sandbox for each request. */
export interface Instance {
  readonly id: string;
  readonly revision: Revision;
  /**
   * Serves one request. Resolves when the answer is complete or was given up by the client; rejects with a SkerryError
   * otherwise, whether the reply had started or not: the caller answers with a problem or breaks the transfer. A paused
   * instance resumes by itself.
   */
  handle(exchange: Exchange): Promise<void>;
  connect(port: number): Promise<Duplex>;
  /**
   * Runs a further process inside. Resolves with its exit status, as a shell tells it, once all that it wrote is in the
   * streams; when `signal` aborts, it is killed.
   */
  exec(command: readonly string[], streams: ProcessStreams, signal: AbortSignal): Promise<number>;
  /** To its first process, by name. False when that does not listen to it. */
  signal(name: string): Promise<boolean>;
  stats(): InstanceStats;
  pause(): Promise<void>;
  resume(): Promise<void>;
  resize(limits: Limits): Promise<void>;
  /** Takes no new work, lets what runs finish for at most `graceMs`, then ends it. Idempotent. */
  stop(graceMs: number): Promise<void>;
  readonly exited: Promise<Exit>;
}
