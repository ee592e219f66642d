/** What the runs of several policies came to: a table of text, and a plot. */
import type { Tally } from './simulated-node.ts';

export interface Run {
  readonly policy: string;
  readonly tally: Tally;
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** Jain's index over the mean slowdowns of the functions: 1 when all are slowed down alike. */
export function fairness({ slowdowns }: Tally): number {
  const means = [...slowdowns.values()].map(({ sum, count }) => sum / count);
  const sum = means.reduce((a, b) => a + b, 0);
  const squares = means.reduce((a, b) => a + b * b, 0);
  return squares === 0 ? 1 : sum ** 2 / (means.length * squares);
}

const GIB_HOURS = 2 ** 30 * 3_600_000;

export function reportTable(runs: readonly Run[]): string {
  const header = [
    'policy',
    'served',
    'p50 ms',
    'p99 ms',
    'p99.9 ms',
    'cold starts',
    'GiB h',
    'waste',
    'fairness',
    'refused',
    'lost',
    'spilled',
  ];
  const rows = runs.map(({ policy, tally }) => {
    const sorted = [...tally.latencies].sort((a, b) => a - b);
    const cold = `${tally.coldStarts} (${((100 * tally.coldStarts) / Math.max(1, tally.served)).toFixed(2)} %)`;
    return [
      policy,
      String(tally.served),
      percentile(sorted, 0.5).toFixed(1),
      percentile(sorted, 0.99).toFixed(0),
      percentile(sorted, 0.999).toFixed(0),
      cold,
      (tally.memoryTime / GIB_HOURS).toFixed(2),
      `${((100 * tally.idleMemoryTime) / Math.max(1, tally.memoryTime)).toFixed(0)} %`,
      fairness(tally).toFixed(3),
      String(tally.refused),
      String(tally.lost),
      String(tally.spilled),
    ];
  });
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all
    .map(
      (row) => `${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')}\n`,
    )
    .join('');
}

const SVG = { width: 720, height: 400, left: 60, right: 130, top: 20, bottom: 40 };
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b'];

/** The share of requests that were answered within a time, on a logarithmic axis, a line a policy. */
export function reportPlot(runs: readonly Run[]): string {
  const { width, height, left, right, top, bottom } = SVG;
  const [first, last] = [1, 100_000];
  const x = (ms: number) => {
    const part = Math.log10(Math.min(last, Math.max(first, ms)) / first) / Math.log10(last / first);
    return left + part * (width - left - right);
  };
  const y = (share: number) => top + (1 - share) * (height - top - bottom);
  const lines = runs.map(({ policy, tally }, i) => {
    const sorted = [...tally.latencies].sort((a, b) => a - b);
    const points = Array.from({ length: 201 }, (_, step) => {
      const share = step / 200;
      return `${x(percentile(sorted, share)).toFixed(1)},${y(share).toFixed(1)}`;
    });
    const colour = COLOURS[i % COLOURS.length];
    return (
      `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.join(' ')}"/>` +
      `<text x="${width - right + 10}" y="${top + 16 * (i + 1)}" fill="${colour}">${policy}</text>`
    );
  });
  const ticks = [1, 10, 100, 1000, 10_000, 100_000].map(
    (ms) => `<text x="${x(ms)}" y="${height - bottom + 16}" text-anchor="middle">${ms}</text>`,
  );
  const shares = [0, 0.5, 0.9, 1].map(
    (share) => `<text x="${left - 8}" y="${y(share) + 4}" text-anchor="end">${share}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<path d="M${left} ${top}V${height - bottom}H${width - right}" fill="none" stroke="black"/>
${[...ticks, ...shares].join('\n')}
<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">milliseconds within which a share of the requests is answered</text>
${lines.join('\n')}
</svg>
`;
}
