import type { Callback, Test } from 'uvu';

/** Adds the test; where there is a reason why it cannot run here, it is skipped, and the reason printed. */
export function testUnless<T>(tests: Test<T>, why: string | null, what: string, work: Callback<T>): void {
  if (why === null) return void tests(what, work);
  console.log(`skipped: ${what}, since ${why}`);
  tests.skip(what);
}
