import { exit } from 'wasi:cli/exit@0.2.10';

/**
 * Ends the instance, so that the node knows that the function failed: it answers 500, or breaks off an answer that has
 * begun. The engine by itself would answer 500 with an empty body, or end the broken answer as if it were whole.
 * The line "Uncaught …" tells the node what kind of failure it is (runtime/drivers/wasm/last-words.ts): SpiderMonkey throws
 * the bare text "out of memory", so that this one is told as well.
 */
export function fail(error) {
  const stack = typeof error?.stack === 'string' ? `\n${error.stack.trimEnd()}` : '';
  console.error(`Uncaught ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}${stack}`);
  exit({ tag: 'err' });
}
