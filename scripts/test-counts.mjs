// What the output of tests says of them.

/**
 * uvu's summary: `Total:`, `Passed:`, `Skipped:`, each with a number; and the lines that say why a test was skipped.
 * @type {(output: string, endedWell: boolean) => { passed: number, failed: number, skipped: number, reasons: string[] }}
 */
export function summaryOf(output, endedWell) {
  const count = (word) => Number(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'm').exec(output)?.[1] ?? 0);
  const [total, passed, skipped] = ['Total', 'Passed', 'Skipped'].map(count);
  // A file that ended badly failed even if no test of it says so. uvu's total is without those skipped.
  const failed = Math.max(total - passed, endedWell && total + skipped > 0 ? 0 : 1);
  return { passed, failed, skipped, reasons: reasonsIn(output) };
}

const reasonsIn = (output) => output.match(/^skipped: .*$/gm) ?? [];

/** The last line of a run. @type {(counts: { passed: number, failed: number, skipped: number }) => string} */
export const countsLine = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`;

/**
 * What `countsLine` has written; null where a run ended before that.
 * @type {(output: string) => { passed: number, failed: number, skipped: number, reasons: string[] } | null}
 */
export function readCounts(output) {
  const found = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/m.exec(output);
  if (!found) return null;
  const [passed, failed, skipped] = found.slice(1).map((text) => Number(text ?? 0));
  return { passed, failed, skipped, reasons: reasonsIn(output) };
}
