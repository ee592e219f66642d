/** Finds and loads the native library, or says why it cannot be used. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { projectRoot } from '../../../../errors/project-root.ts';
import type { EgressErrorKind } from '../../../egress/egress.ts';
import type { Discipline } from '../../../scheduler/admission/discipline.ts';
import { wasmErrors } from '../errors.ts';

/** What native/wasm/src/lib.rs exports. */
export interface NativeLibrary {
  version(): string;
  NativeEngine: new (
    cacheDir: string,
    cacheKey: Buffer,
    discipline: Discipline,
    threads: number,
    onEvents: (events: Buffer) => void,
  ) => NativeEngine;
}

export interface NativeEngine {
  hold(held: boolean): void;
  compile(ticket: number, digest: string, path: string): void;
  load(ticket: number, id: number, digest: string, path: string, settings: NativeSettings): void;
  forget(ticket: number, digest: string): void;
  unload(id: number): void;
  start(
    id: number,
    slot: number,
    head: string,
    fields: number,
    https: boolean,
    remainingMs: number,
    expectedUs: number,
    body: number,
    bytes: Uint8Array | null,
  ): string | null;
  push(slot: number, bytes: Uint8Array): number;
  end(slot: number, trailers: string): void;
  fail(slot: number): void;
  taken(slot: number, bytes: number): void;
  stop(slot: number): void;
  stats(id: number): Figures;
  keptBytes(): number;
  close(): void;
  // Answers to the calls of guests: `call` is the number of the call under its slot.
  outboundHead(slot: number, call: number, status: number, headers: string): void;
  outboundPush(slot: number, call: number, bytes: Uint8Array): number;
  outboundEnd(slot: number, call: number, trailers: string): void;
  outboundFail(slot: number, call: number, kind: EgressErrorKind): void;
  outboundTaken(slot: number, call: number, bytes: number): void;
  outboundUnwanted(slot: number, call: number): void;
  keyvalueAnswer(slot: number, call: number, outcome: number, bytes: Uint8Array): void;
}

/** What the engine counts of a function, see native/wasm/src/function.rs. */
export type Figures = [cpuMs: number, peakBytes: number, made: number, makingMs: number, reused: number];

/** The settings of a function. */
export interface NativeSettings {
  /** Limit of an instance's memory, in bytes. */
  readonly memory: number;
  /** Limit of the CPU time of one request, in milliseconds; 0 for none. */
  readonly cpu: number;
  /** Whose functions share the CPU time that is theirs. */
  readonly workload: string;
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  /** Requests that one instance may serve. */
  readonly reuse: number;
  /** Environment and configuration: names and values in turn. */
  readonly env: string[];
  readonly config: string[];
  /** Outbound requests of one request, in all and at once; 0 for none. */
  readonly outboundRequests: number;
  readonly outboundAtOnce: number;
}

/** What `push` and `outboundPush` give back, see native/wasm/src/body.rs. */
export const pushed = { taken: 0, full: 1, unwanted: 2 } as const;

const folder = join(projectRoot, 'native/wasm');
const file = join(folder, 'skerry-wasm.node');

export interface Availability {
  readonly available: boolean;
  /** "wasmtime 48.0.8"; empty when it is not available. */
  readonly version: string;
  /** Why it is not available, or what should be known about it; empty when there is nothing. */
  readonly why: string;
}

/** Whether the native engine can be used here, for `skerry doctor`: loads the library, starts nothing. */
export function wasmtimeAvailable(): Availability {
  try {
    const version = `wasmtime ${loadLibrary().version()}`;
    return { available: true, version, why: isOutdated() ? 'it is older than its sources: run `npm run build`' : '' };
  } catch (error) {
    return { available: false, version: '', why: reason(error) };
  }
}

/** @throws ENGINE_UNAVAILABLE */
export function openLibrary(): NativeLibrary {
  try {
    return loadLibrary();
  } catch (error) {
    throw wasmErrors.ENGINE_UNAVAILABLE('wasmtime', reason(error)).because(error);
  }
}

let loaded: NativeLibrary | undefined;

function loadLibrary(): NativeLibrary {
  // wasmtime makes an error of its own for each instance that it takes down. With RUST_BACKTRACE in the environment Rust
  // would unwind the stack for each, which costs a tenth of a request; backtraces of guests are not concerned.
  // A function may ask for the text of an I/O error (wasi:io/error): the node's own stack is not for it.
  process.env.RUST_LIB_BACKTRACE ??= '0';
  loaded ??= createRequire(import.meta.url)(file) as NativeLibrary;
  return loaded;
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'MODULE_NOT_FOUND') return 'its library is not built';
  return `its library cannot be loaded (${message.split('\n')[0]})`;
}

/** The build leaves a stamp with the digest of each source that it was made from. */
function isOutdated(): boolean {
  try {
    const stamp: { sources: Record<string, string> } = JSON.parse(readFileSync(`${file}.stamp`, 'utf8'));
    return Object.entries(stamp.sources).some(([path, digest]) => sha256(join(folder, path)) !== digest);
  } catch {
    // No stamp, or no sources: an installation without them cannot be outdated.
    return false;
  }
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
