import type { TellProgress } from '../gateway/admin/ndjson.ts';

/** What has come is told no finer than this part of the whole. */
const STEPS = 100;

/** Tells bytes as they come, in steps that people can follow. */
export function tellBytes(what: string, progress: TellProgress): (bytes: number, total: number) => void {
  let told = -1;
  return (bytes, total) => {
    const step = Math.floor((bytes / Math.max(1, total)) * STEPS);
    if (step <= told) return;
    told = step;
    const [unit, word] = total < 2 ** 20 ? [2 ** 10, 'KiB'] : [2 ** 20, 'MiB'];
    const shown = (n: number) => Math.round(n / unit);
    progress(`${what}: ${shown(bytes)} of ${shown(total)} ${word}`, { done: bytes, total });
  };
}
