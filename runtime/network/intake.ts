/**
 * What comes to a socket, taken as long as there is room for it. While an intake rests what comes waits in the kernel, or
 * is lost there when it becomes too much: nothing that a workload sends then costs the node anything.
 */
import { closeFd, dupFd } from '../../native/host/index.ts';
import { type Rate, RateMeter } from '../rate-meter.ts';
import { NETWORK_LIMITS } from './limits.ts';

/** A `net.Server` or a `dgram.Socket` on a descriptor of its own, which closing it closes. */
interface Taking {
  close(): void;
}

export class Intake {
  readonly #fd: number;
  readonly #start: (fd: number) => Taking;
  readonly #meter: RateMeter;
  #taking: Taking | null = null;
  #timer: NodeJS.Timeout | undefined;
  #full = false;
  #closed = false;
  #opening = false;

  /** Owns the descriptor. `start` takes what comes to another one of the same socket. */
  constructor(fd: number, rate: Rate, start: (fd: number) => Taking) {
    this.#fd = fd;
    this.#meter = new RateMeter(rate);
    this.#start = start;
    void this.#take();
  }

  /** Counts one thing that came; rests when it was too many, which it returns as false. */
  count(): boolean {
    if (this.#closed) return false;
    if (this.#meter.take()) return true;
    this.#pause();
    return false;
  }

  /** There is room for more, or there is not. */
  set full(full: boolean) {
    if (full === this.#full) return;
    this.#full = full;
    if (full) this.#rest();
    else void this.#take();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#rest();
    await closeFd(this.#fd);
  }

  #pause(): void {
    this.#rest();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#take();
    }, NETWORK_LIMITS.restMs);
  }

  get #resting(): boolean {
    return this.#closed || this.#full || this.#timer !== undefined;
  }

  #rest(): void {
    this.#taking?.close();
    this.#taking = null;
  }

  async #take(): Promise<void> {
    if (this.#resting || this.#taking || this.#opening) return;
    this.#opening = true;
    // It fails when the node has as many files open as it may: that passes.
    const fd = await dupFd(this.#fd).catch(() => null);
    this.#opening = false;
    if (fd === null) {
      if (!this.#closed) this.#pause();
    } else if (this.#resting) await closeFd(fd);
    else this.#taking = this.#start(fd);
  }
}
