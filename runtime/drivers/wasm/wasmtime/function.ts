/** One function of the wasmtime engine: its settings, its counters, and the calls that run. */
import type { InstanceStats } from '../../../driver.ts';
import type { Exchange } from '../../../exchange.ts';
import { Roster } from '../../../roster.ts';
import type { FunctionSettings, WasmFunction } from '../engine.ts';
import { wasmErrors } from '../errors.ts';
import { Call } from './call.ts';
import type { Switchboard } from './engine.ts';
import type { Figures } from './library.ts';

export class NativeFunction implements WasmFunction {
  readonly settings: FunctionSettings;
  readonly #board: Switchboard;
  readonly #id: number;
  readonly #forget: () => void;
  readonly #calls = new Roster<Call>();
  #requests = 0;
  #failures = 0;
  #last: Figures = [0, 0, 0, 0, 0];
  #closing: Promise<void> | null = null;
  #unloaded = false;
  #idle: (() => void) | null = null;

  constructor(board: Switchboard, id: number, settings: FunctionSettings, forget: () => void) {
    this.#board = board;
    this.#id = id;
    this.settings = settings;
    this.#forget = forget;
  }

  handle(exchange: Exchange): Promise<void> {
    if (this.#closing) return Promise.reject(wasmErrors.FUNCTION_STOPPED());
    if (exchange.aborted) return Promise.resolve();
    this.#requests++;
    const call = new Call(this.#board, this.#id, this.settings, exchange);
    this.#calls.add(call);
    return call.run((failed) => this.#finished(call, failed));
  }

  stats(): InstanceStats {
    if (!this.#unloaded) this.#last = this.#board.native.stats(this.#id);
    const [cpuMs, memoryBytes, coldStarts, startMs, warmStarts] = this.#last;
    const counts = { requests: this.#requests, failures: this.#failures, inFlight: this.#calls.size };
    return { ...counts, cpuMs, memoryBytes, coldStarts, warmStarts, startMs };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const call of this.#calls) call.stop();
    if (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    // What it counted stays told.
    this.#last = this.#board.native.stats(this.#id);
    this.#unloaded = true;
    this.#board.native.unload(this.#id);
    this.#forget();
  }

  #finished(call: Call, failed: boolean): void {
    this.#calls.delete(call);
    if (failed) this.#failures++;
    if (this.#calls.size === 0) this.#idle?.();
  }
}
