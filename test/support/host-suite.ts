/** A suite over native/host: what this machine cannot do is skipped, and the reason printed. */
import { existsSync, readdirSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type HostError, hostAvailable } from '../../native/host/index.ts';
import { failure } from './failure.ts';
import { testUnless } from './test-unless.ts';

export type Need = 'root' | `/${string}`;

function missing(needs: readonly Need[]): string | undefined {
  const { available, why } = hostAvailable();
  if (!available) return `the host layer (${why})`;
  if (needs.includes('root') && process.getuid!() !== 0) return 'root';
  return needs.find((need) => need !== 'root' && !existsSync(need));
}

export function hostSuite(name: string) {
  const tests = suite(name);
  return {
    test(what: string, needs: readonly Need[], work: () => Promise<void>): void {
      const lack = missing(needs);
      testUnless(tests, lack === undefined ? null : `that needs ${lack}`, what, work);
    },
    run: () => tests.run(),
  };
}

/** The failure of what must fail. */
export const refused = (work: Promise<unknown>) => failure<HostError>(work);

/** In milliseconds: between two looks, and in all. */
const SETTLING = { look: 20, most: 2000 };

/** How many files this process has open, once that stays the same: what the event loop lets go of comes in its next turns. */
export async function openFiles(): Promise<number> {
  let count = -1;
  for (let same = 0, waited = 0; same < 3 && waited < SETTLING.most; waited += SETTLING.look) {
    await new Promise((resolve) => setTimeout(resolve, SETTLING.look));
    const now = readdirSync('/proc/self/fd').length;
    same = now === count ? same + 1 : 0;
    count = now;
  }
  return count;
}

/** Fewer is well: what was opened before, by the loader of the tests for one, may be closed late. */
export async function noMoreFilesThan(before: number, what?: string): Promise<void> {
  const now = await openFiles();
  assert.ok(now <= before, `${now} files are open, ${before} were${what ? ` (${what})` : ''}`);
}
