import type { Duplex } from 'node:stream';
import { asSkerryError } from '../../../errors/skerry-error.ts';
import type { Exit, Instance, InstanceStats } from '../../driver.ts';
import type { Exchange } from '../../exchange.ts';
import type { WorkloadLog } from '../../logs/workload-logs.ts';
import type { Revision } from '../../workload/revision.ts';
import type { WasmFunction } from './engine.ts';
import { wasmErrors } from './errors.ts';

let counter = 0;

/** The pool of one revision: each request gets a sandbox of its own from it. */
export class WasmInstance implements Instance {
  readonly id: string;
  readonly revision: Revision;
  readonly exited: Promise<Exit>;
  readonly #function: WasmFunction;
  readonly #log: WorkloadLog;
  readonly #release: () => Promise<void>;
  #inFlight = 0;
  #stopped: Promise<void> | null = null;
  #idle: (() => void) | null = null;
  #exit: (exit: Exit) => void = () => {};

  /** `release` is called when the function is closed. */
  constructor(revision: Revision, loaded: WasmFunction, log: WorkloadLog, release: () => Promise<void>) {
    counter++;
    this.id = `${revision.workload}-${revision.id}-${counter.toString(36)}`;
    this.revision = revision;
    this.#function = loaded;
    this.#log = log;
    this.#release = release;
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  handle(exchange: Exchange): Promise<void> {
    if (this.#stopped) return Promise.reject(wasmErrors.FUNCTION_STOPPED());
    this.#inFlight++;
    return this.#function.handle(exchange).then(
      () => this.#over(exchange, null),
      (reason: unknown) => this.#over(exchange, reason),
    );
  }

  connect(): Promise<Duplex> {
    return Promise.reject(wasmErrors.NOT_FOR_WASM('connecting to a port'));
  }

  exec(): Promise<number> {
    return Promise.reject(wasmErrors.NOT_FOR_WASM('exec'));
  }

  signal(): Promise<boolean> {
    return Promise.reject(wasmErrors.NOT_FOR_WASM('a signal'));
  }

  stats(): InstanceStats {
    return this.#function.stats();
  }

  /** Nothing of an idle pool runs: there is nothing to freeze. */
  async pause(): Promise<void> {}

  async resume(): Promise<void> {}

  resize(): Promise<void> {
    return Promise.reject(wasmErrors.NOT_FOR_WASM('resizing a running instance'));
  }

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#drain(graceMs);
    return this.#stopped;
  }

  async #drain(graceMs: number): Promise<void> {
    if (this.#inFlight > 0 && graceMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#idle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    await this.#function.close();
    await this.#release();
    this.#exit({ code: null, signal: null, reason: 'stopped', message: 'stopped by the node' });
  }

  #over(exchange: Exchange, reason: unknown): void {
    this.#inFlight--;
    this.#log.requestEnded(this.revision.id, exchange.id);
    if (this.#inFlight === 0) this.#idle?.();
    if (reason === null) return;
    const error = asSkerryError(reason);
    this.#log.write(this.revision.id, exchange.id, 'node', `${error.what} [${error.code}]`);
    throw reason;
  }
}
