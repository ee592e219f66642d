/** Asks an instance now and then whether it is still well. */
import { CHECK_MS, type CheckRun, runCheck } from './run-check.ts';

/** Failures in a row that make it dead: one may be a moment of load, or a garbage collection. */
const FAILURES = 3;

export interface LivenessOptions extends Pick<CheckRun, 'check' | 'target' | 'port'> {
  /** From the end of a check to the next, in milliseconds. */
  readonly everyMs: number;
  /** For the log of the workload: the first failure after it was well, and the end. */
  readonly log: (text: string) => void;
  /** Called once: it is dead; `why` is half a sentence. */
  readonly dead: (why: string) => void;
}

export class Liveness {
  readonly #options: LivenessOptions;
  #timer: NodeJS.Timeout | undefined;
  /** The check that is under way. */
  #checking: { readonly over: Promise<void>; readonly abort: AbortController } | null = null;
  #failures = 0;
  #askable = true;
  #closed = false;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.resume();
  }

  /** What is paused cannot answer. Resolves when no check is under way any more. */
  async suspend(): Promise<void> {
    clearTimeout(this.#timer);
    const checking = this.#checking;
    checking?.abort.abort();
    await checking?.over;
  }

  /** Goes on, with no failure counted. */
  resume(): void {
    if (this.#closed) return;
    this.#failures = 0;
    clearTimeout(this.#timer);
    // Instances that were started together are not asked at the same moments.
    this.#wait(this.#options.everyMs * (0.5 + Math.random() / 2));
  }

  close(): void {
    this.#closed = true;
    void this.suspend();
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      const abort = new AbortController();
      const over = this.#check(abort.signal).finally(() => {
        this.#checking = null;
        if (!abort.signal.aborted && !this.#closed) this.#wait(this.#options.everyMs);
      });
      this.#checking = { over, abort };
    }, ms).unref();
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { check, target, port, everyMs, log, dead } = this.#options;
    let why: string | null;
    try {
      why = await runCheck({ check, target, port, timeoutMs: CHECK_MS, signal });
    } catch (error) {
      // That says nothing of the instance.
      if (this.#askable && !signal.aborted) log(`the live-check could not be made: ${(error as Error).message}`);
      this.#askable = false;
      return;
    }
    if (signal.aborted) return;
    this.#askable = true;
    if (why === null) {
      this.#failures = 0;
      return;
    }
    this.#failures++;
    if (this.#failures < FAILURES) {
      if (this.#failures === 1) log(`the live-check failed, and is made again in ${everyMs} ms: ${why}`);
      return;
    }
    this.close();
    const told = `its live-check failed ${FAILURES} times in a row: ${why}`;
    log(`it is ended, since ${told}`);
    dead(told);
  }
}
