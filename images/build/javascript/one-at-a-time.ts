import { buildErrors } from '../errors.ts';

/** Builds that may wait for their turn: each holds its source in memory. */
const waitingAtMost = 16;

interface Waiting {
  begin(): void;
}

let running = false;
const queue: Waiting[] = [];

/**
 * Runs `work` when all that came before has ended: a build takes a core and some hundred MB, which a small node has
 * once. Throws BUILD_QUEUE_FULL at once when too many wait, BUILD_CANCELLED when `signal` fires before its turn.
 */
export async function inTurn<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal?.aborted) throw buildErrors.BUILD_CANCELLED();
  if (running) {
    if (queue.length >= waitingAtMost) throw buildErrors.BUILD_QUEUE_FULL(queue.length);
    await turn(signal);
  }
  running = true;
  try {
    return await work();
  } finally {
    running = false;
    queue.shift()?.begin();
  }
}

function turn(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const waiting: Waiting = {
      begin() {
        signal?.removeEventListener('abort', leave);
        // Taken here, not when the promise's continuation runs: nobody may slip in between.
        running = true;
        resolve();
      },
    };
    const leave = () => {
      queue.splice(queue.indexOf(waiting), 1);
      reject(buildErrors.BUILD_CANCELLED());
    };
    signal?.addEventListener('abort', leave, { once: true });
    queue.push(waiting);
  });
}
