/** The wasmtime engine: the native library behind the contract of `../engine.ts`. */
import { LIMITS } from '../../../workload/settings.ts';
import type { ComponentFile, EngineOptions, FunctionSettings, WasmEngine, WasmFunction } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { outboundGrant } from '../outbound-grant.ts';
import type { Call } from './call.ts';
import { flag, type NativeEvent, readEvents } from './events.ts';
import { componentRefusal } from './failures.ts';
import { NativeFunction } from './function.ts';
import { type NativeEngine, type NativeSettings, openLibrary } from './library.ts';

interface Job {
  resolve(): void;
  reject(error: Error): void;
  readonly name: string;
  readonly memoryBytes: number;
}

/** What the calls and functions of one engine share: its slots, and what keeps the process alive. */
export interface Switchboard {
  readonly native: NativeEngine;
  /** Gives a call a slot until its DONE event. */
  connect(call: Call): number;
  /** Takes a slot back whose guest was never started. */
  disconnect(slot: number): void;
}

/** @throws ENGINE_UNAVAILABLE when the library is not built or cannot be loaded */
export async function openWasmtimeEngine(options: EngineOptions): Promise<WasmEngine> {
  return new WasmtimeEngine(options);
}

class WasmtimeEngine implements WasmEngine, Switchboard {
  readonly name = 'wasmtime';
  readonly version: string;
  readonly native: NativeEngine;
  readonly #calls: (Call | null)[] = [];
  readonly #free: number[] = [];
  readonly #jobs = new Map<number, Job>();
  readonly #functions = new Set<NativeFunction>();
  readonly #warn: (message: string) => void;
  /** Calls and jobs underway: while there are any, the process is kept alive. */
  #underway = 0;
  #serial = 0;
  #closed = false;

  constructor(options: EngineOptions) {
    const library = openLibrary();
    this.version = `wasmtime ${library.version()}`;
    this.#warn = options.warn;
    try {
      const { cacheDir, cacheKey, discipline = 'slice', threads = 0 } = options;
      this.native = new library.NativeEngine(cacheDir, Buffer.from(cacheKey), discipline, threads, (events) =>
        readEvents(events, (event) => this.#take(event)),
      );
    } catch (error) {
      throw wasmErrors.ENGINE_UNAVAILABLE('wasmtime', (error as Error).message).because(error);
    }
  }

  compile(component: ComponentFile): Promise<void> {
    return this.#job(component.path, 0, (ticket) => this.native.compile(ticket, hex(component.digest), component.path));
  }

  async load(component: ComponentFile, settings: FunctionSettings): Promise<WasmFunction> {
    const id = ++this.#serial;
    await this.#job(settings.label, settings.limits.memoryBytes, (ticket) =>
      this.native.load(ticket, id, hex(component.digest), component.path, nativeSettings(settings)),
    );
    const fn = new NativeFunction(this, id, settings, () => this.#functions.delete(fn));
    this.#functions.add(fn);
    return fn;
  }

  forget(digest: string): Promise<void> {
    return this.#job(digest, 0, (ticket) => this.native.forget(ticket, hex(digest)));
  }

  keptBytes(): number {
    return this.#closed ? 0 : this.native.keptBytes();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#functions].map((fn) => fn.close()));
    for (const job of this.#jobs.values()) job.reject(wasmErrors.ENGINE_UNAVAILABLE('wasmtime', 'it was closed'));
    this.#jobs.clear();
    this.native.close();
    if (this.#underway > 0) this.native.hold(false);
  }

  connect(call: Call): number {
    if (this.#closed) throw wasmErrors.FUNCTION_STOPPED();
    const slot = this.#free.pop() ?? this.#calls.length;
    this.#calls[slot] = call;
    this.#begin();
    return slot;
  }

  disconnect(slot: number): void {
    this.#calls[slot] = null;
    this.#free.push(slot);
    this.#end();
  }

  #job(name: string, memoryBytes: number, start: (ticket: number) => void): Promise<void> {
    if (this.#closed) return Promise.reject(wasmErrors.ENGINE_UNAVAILABLE('wasmtime', 'it was closed'));
    const ticket = ++this.#serial;
    return new Promise((resolve, reject) => {
      this.#jobs.set(ticket, { resolve, reject, name, memoryBytes });
      this.#begin();
      start(ticket);
    });
  }

  #take(event: NativeEvent): void {
    if (event.flags & flag.job) return this.#finishJob(event);
    if (event.flags & flag.warning) return this.#warn(event.head);
    const call = this.#calls[event.slot];
    if (!call) return;
    if (event.flags & flag.done) this.disconnect(event.slot);
    call.take(event);
  }

  #finishJob(event: NativeEvent): void {
    const job = this.#jobs.get(event.slot);
    if (!job) return;
    this.#jobs.delete(event.slot);
    this.#end();
    if (event.status === 0) job.resolve();
    else job.reject(componentRefusal(event.status, event.head, job.name, job.memoryBytes));
  }

  #begin(): void {
    if (this.#underway++ === 0) this.native.hold(true);
  }

  #end(): void {
    if (--this.#underway === 0 && !this.#closed) this.native.hold(false);
  }
}

/** The engine keeps count too: what one request may ask for is bounded before it reaches this thread. */
function nativeSettings(settings: FunctionSettings): NativeSettings {
  const { label, limits, reuse, env, config, egress } = settings;
  const { requests, atOnce } = outboundGrant(egress);
  return {
    memory: limits.memoryBytes,
    cpu: limits.cpuTimeMs ?? 0,
    workload: settings.workload ?? label,
    priority: settings.priority ?? LIMITS.priority.default,
    reuse,
    env: Object.entries(env).flat(),
    config: Object.entries(config).flat(),
    outboundRequests: requests,
    outboundAtOnce: atOnce,
  };
}

function hex(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}
