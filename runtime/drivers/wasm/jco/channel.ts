/** The worker's end of the line to the main thread: messages read by hand, and a wait that blocks the thread. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { now } from './clock.ts';
import { cell, type FromWorker, making, pageBytes, type ToWorker } from './protocol.ts';

export class Channel {
  readonly #port: MessagePort;
  readonly #cells: Int32Array;
  /** When the present run began, on the clock of `now`. */
  #began = 0;
  /** Milliseconds in which its guest ran, up to its last wait. */
  #busyMs = 0;
  /** When it went on after that. */
  #resumed = 0;

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

  /** A run begins; the main thread sees from now on how it goes. */
  begin(reused: boolean): void {
    this.#began = now();
    this.#resumed = this.#began;
    this.#busyMs = 0;
    Atomics.store(this.#cells, cell.busy, 0);
    Atomics.store(this.#cells, cell.resumed, 0);
    Atomics.store(this.#cells, cell.making, reused ? making.reused : making.underWay);
  }

  /** The instance of the run is made. */
  made(): number {
    const took = this.busyMs();
    Atomics.store(this.#cells, cell.making, Math.max(1, Math.round(took * 1000)));
    return took;
  }

  /** Milliseconds in which the guest of the run has run and not waited. */
  busyMs(): number {
    return this.#busyMs + now() - this.#resumed;
  }

  /** The worker keeps so many bytes for instances to come. */
  kept(bytes: number): void {
    Atomics.store(this.#cells, cell.kept, bytes / pageBytes);
  }

  /** Blocks the thread until the bell has rung since it was read, or the time (milliseconds) is over. */
  wait(bell: number, ms: number): void {
    this.#busyMs = this.busyMs();
    Atomics.store(this.#cells, cell.busy, Math.round(this.#busyMs * 1000));
    Atomics.store(this.#cells, cell.waiting, 1);
    Atomics.wait(this.#cells, cell.bell, bell, ms);
    this.#resumed = now();
    Atomics.store(this.#cells, cell.resumed, Math.round((this.#resumed - this.#began) * 1000));
    Atomics.store(this.#cells, cell.waiting, 0);
  }

  taken(): number {
    return Atomics.load(this.#cells, cell.taken) >>> 0;
  }

  /** The client of this run has gone. */
  gone(run: number): boolean {
    return Atomics.load(this.#cells, cell.gone) === run;
  }
}
