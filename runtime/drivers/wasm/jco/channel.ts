/** The worker's end of the line to the main thread: messages read by hand, and a wait that blocks the thread. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { now } from './clock.ts';
import { cell, type FromWorker, type ToWorker } from './protocol.ts';

export class Channel {
  readonly #port: MessagePort;
  readonly #cells: Int32Array;
  /** Milliseconds spent waiting since the last `resetWaited`. */
  waitedMs = 0;

  constructor(port: MessagePort, cells: Int32Array) {
    this.#port = port;
    this.#cells = cells;
  }

  post(message: FromWorker, transfer?: readonly ArrayBuffer[]): void {
    this.#port.postMessage(message, transfer);
  }

  /** The next message that has arrived, without waiting. */
  take(): ToWorker | undefined {
    return receiveMessageOnPort(this.#port)?.message as ToWorker | undefined;
  }

  /** The bell's state: read it, look at what may have changed, and only then `wait` with it, so that no ring is lost. */
  bell(): number {
    return Atomics.load(this.#cells, cell.bell);
  }

  /** Blocks the thread until the bell has rung since it was read, or the time (milliseconds) is over. */
  wait(bell: number, ms: number): void {
    const from = now();
    Atomics.store(this.#cells, cell.waiting, 1);
    Atomics.wait(this.#cells, cell.bell, bell, ms);
    Atomics.store(this.#cells, cell.waiting, 0);
    this.waitedMs += now() - from;
  }

  taken(): number {
    return Atomics.load(this.#cells, cell.taken) >>> 0;
  }

  /** The client of this run has gone. */
  gone(run: number): boolean {
    return Atomics.load(this.#cells, cell.gone) === run;
  }
}
