/** A function on the jco engine: its code, its settings, its counters. */

import type { InstanceStats } from '../../../driver.ts';
import type { Exchange } from '../../../exchange.ts';
import type { FunctionSettings, WasmFunction } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { Execution, type ExecutionOwner } from './execution.ts';
import type { Pool } from './pool.ts';
import type { CodeMessage } from './protocol.ts';

export class JcoFunction implements WasmFunction {
  readonly #code: CodeMessage;
  readonly #settings: FunctionSettings;
  readonly #pool: Pool;
  readonly #onClose: () => void;
  readonly #running = new Set<Execution>();
  #closed = false;
  #requests = 0;
  #failures = 0;
  #cpuMs = 0;
  /** Bytes of the instance that ended last. */
  #lastMemory = 0;

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
      services: this.#settings,
      output: (stream, data) => this.#settings.output({ stream, requestId: exchange.id, data }),
      done: (message) => {
        this.#running.delete(execution);
        if (!message) return;
        this.#cpuMs += message.busyMs;
        this.#lastMemory = message.memoryBytes;
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
      // An instance takes what the one before it took; when none runs, that is what the next will take.
      memoryBytes: Math.max(1, this.#running.size) * this.#lastMemory,
      coldStarts: this.#requests,
      warmStarts: 0,
      startMs: 0,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const execution of [...this.#running]) execution.stop(wasmErrors.FUNCTION_STOPPED());
    this.#pool.drop(this.#code.code);
    this.#onClose();
  }
}
