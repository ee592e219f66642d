/** A suite over native/host: what this machine cannot do is skipped, and the reason printed. */
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import { hostAvailable } from '../../native/host/index.ts';

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
      if (lack === undefined) return tests(what, work);
      console.log(`skipped: ${what}, since that needs ${lack}`);
      tests.skip(what);
    },
    run: () => tests.run(),
  };
}
