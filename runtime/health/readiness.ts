/** Waits until an instance that has just been started is ready. */
import { CHECK_MS, type CheckRun, runCheck } from './run-check.ts';

/**
 * Between two checks, doubled each time up to the most, in milliseconds. The first come at once, since most starts take
 * some milliseconds. A connection costs next to nothing; a request or a process is work for one that still starts.
 */
const WAIT = { first: 2, most: { tcp: 50, http: 500, command: 500 } } as const;

export interface ReadinessOptions extends Pick<CheckRun, 'check' | 'target' | 'port'> {
  /** On the clock of `performance.now()`. */
  readonly until: number;
  /** Settles when it has ended, after which it will not be ready. */
  readonly ended: Promise<unknown>;
}

export type Readiness =
  | { readonly state: 'ready' }
  | { readonly state: 'ended' }
  /** It was not by then; why its last check failed. */
  | { readonly state: 'late'; readonly why: string };

export async function untilReady({ check, target, port, until, ended }: ReadinessOptions): Promise<Readiness> {
  const over = new AbortController();
  void ended.finally(() => over.abort());
  let why: string | null = null;
  for (let wait: number = WAIT.first; ; wait = Math.min(WAIT.most[check.kind], wait * 2)) {
    const timeoutMs = Math.ceil(Math.max(1, Math.min(CHECK_MS, until - performance.now())));
    try {
      const found = await runCheck({ check, target, port, timeoutMs, signal: over.signal });
      if (found === null && !over.signal.aborted) return { state: 'ready' };
      // What was cut short says less than what was there before it.
      if (why === null || performance.now() < until) why = found;
    } catch (error) {
      why = (error as Error).message;
    }
    if (over.signal.aborted) return { state: 'ended' };
    const left = until - performance.now();
    if (left <= 0) return { state: 'late', why: why ?? 'it could not be asked in time' };
    await new Promise((resolve) => setTimeout(resolve, Math.min(wait, left)));
  }
}
