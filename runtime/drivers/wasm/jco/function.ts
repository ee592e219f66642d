/** A function on the jco engine: its code, its settings, its counters. */

import type { InstanceStats } from '../../../driver.ts';
import type { Exchange } from '../../../exchange.ts';
import { Roster } from '../../../roster.ts';
import type { FunctionSettings, WasmFunction } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { Execution, type ExecutionOwner } from './execution.ts';
import type { Job } from './guest-worker.ts';
import { Lane } from './lanes.ts';
import type { Pool } from './pool.ts';
import type { CodeMessage } from './protocol.ts';

export class JcoFunction implements WasmFunction {
  readonly #code: CodeMessage;
  readonly #settings: FunctionSettings;
  readonly #pool: Pool;
  readonly #onClose: () => void;
  readonly #running = new Roster<Execution>();
  readonly #lane = new Lane<Job>();
  #closed = false;
  #requests = 0;
  #failures = 0;
  #cpuMs = 0;
  /** The most that one instance had, in bytes. */
  #peakBytes = 0;
  #made = 0;
  #makingMs = 0;
  #reused = 0;

  constructor(code: CodeMessage, settings: FunctionSettings, pool: Pool, onClose: () => void) {
    this.#code = code;
    this.#settings = settings;
    this.#pool = pool;
    this.#onClose = onClose;
  }

  async handle(exchange: Exchange): Promise<void> {
    if (this.#closed) throw wasmErrors.FUNCTION_STOPPED();
    if (exchange.aborted) return;
    this.#requests++;
    const owner: ExecutionOwner = {
      memoryBytes: this.#settings.limits.memoryBytes,
      cpuTimeMs: this.#settings.limits.cpuTimeMs,
      services: this.#settings,
      lane: this.#lane,
      output: (stream, data) => this.#settings.output({ stream, requestId: exchange.id, data }),
      done: (figures) => {
        this.#running.delete(execution);
        if (!figures) return;
        this.#cpuMs += figures.busyMs;
        this.#peakBytes = Math.max(this.#peakBytes, figures.memoryBytes ?? 0);
        if (figures.reused) this.#reused++;
        if (figures.makingMs === null) return;
        this.#made++;
        this.#makingMs += figures.makingMs;
      },
    };
    const execution = new Execution(exchange, this.#code, this.#pool, owner);
    this.#running.add(execution);
    try {
      await execution.start();
    } catch (error) {
      this.#failures++;
      throw error;
    }
  }

  stats(): InstanceStats {
    return {
      requests: this.#requests,
      failures: this.#failures,
      inFlight: this.#running.size,
      cpuMs: this.#cpuMs,
      memoryBytes: this.#peakBytes,
      coldStarts: this.#made,
      warmStarts: this.#reused,
      startMs: this.#makingMs,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const execution of this.#running) execution.stop(wasmErrors.FUNCTION_STOPPED());
    this.#pool.drop(this.#code.code);
    this.#onClose();
  }
}
