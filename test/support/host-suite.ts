/** A suite over native/host: what this machine cannot do is skipped, and the reason printed. */
import { existsSync, readdirSync } from 'node:fs';
import { suite } from 'uvu';
import { type HostError, hostAvailable } from '../../native/host/index.ts';

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

/** The failure of what must fail. */
export async function refused(work: Promise<unknown>): Promise<HostError> {
  try {
    await work;
  } catch (error) {
    return error as HostError;
  }
  throw new Error('it was not refused');
}

/** How many files this process has open, once the event loop has let go of what it closes in its next turns. */
export async function openFiles(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return readdirSync('/proc/self/fd').length;
}
