import type { UsageSample } from '../../gateway/admin/schemas.ts';
import { formatBytes, parseDuration } from '../../runtime/workload/units.ts';
import type { Context } from '../context.ts';
import { latencyText } from '../describe.ts';
import { cliErrors } from '../errors.ts';
import { Screen } from '../screen.ts';
import { type Cell, table } from '../table.ts';
import { type Palette, palette, writeJson } from '../terminal.ts';

export interface TopFlags {
  readonly interval?: string;
}

const DEFAULT_INTERVAL = '1s';
/** What the admin API watches for, in milliseconds. */
const INTERVAL = { least: 100, most: 60_000 };

type WorkloadUsage = UsageSample['workloads'][number];

/** One sample, or one after the other on a terminal. */
export async function top(
  { client, terminal, json }: Context,
  { interval = DEFAULT_INTERVAL }: TopFlags,
): Promise<void> {
  const windowMs = parseDuration(interval);
  if (windowMs === null || windowMs < INTERVAL.least || windowMs > INTERVAL.most) {
    throw cliErrors.BAD_FLAG('--interval', 'must be a time from 100ms to 1m');
  }
  const { stdout } = terminal;
  if (json) return writeJson(stdout, await client.usage(windowMs));
  const colours = palette(stdout, terminal.env);
  if (stdout.isTTY !== true) {
    stdout.write(report(await client.usage(windowMs), colours));
    return;
  }
  const signal = terminal.interrupted();
  const screen = new Screen(stdout);
  try {
    // The first sample comes soon, so that the screen is not empty for long.
    for (let window = Math.min(windowMs, 500); !signal.aborted; window = windowMs) {
      screen.show(report(await client.usage(window, signal), colours));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    screen.close();
  }
}

function report(sample: UsageSample, colours: Palette): string {
  const { node, workloads } = sample;
  const memory = `memory ${mib(node.memoryBytes)} (${mib(node.keptBytes)} kept warm)`;
  const counts = `${node.inFlight} in flight, ${node.queued} queued`;
  const line = `node: ${rate(node.requestsPerSecond)} requests/s, ${percent(node.cpuPercent)} CPU, ${memory}, ${counts}`;
  const busiest = [...workloads].sort(
    (a, b) => b.cpuPercent - a.cpuPercent || b.requestsPerSecond - a.requestsPerSecond || (a.name < b.name ? -1 : 1),
  );
  const header = [
    ...['NAME', 'REQ/S', 'P50', 'P99', 'CPU', 'MEMORY', 'IN FLIGHT', 'QUEUED', 'COLD', 'WARM', 'ERR/S'],
    ...['REQUESTS', 'ERRORS'],
  ];
  const rows = busiest.map((workload) => row(workload, colours));
  return `${line}\n\n${table(
    header.map((text) => ({ text, paint: colours.bold })),
    rows,
  )}`;
}

function row(workload: WorkloadUsage, colours: Palette): Cell[] {
  const { total, errorsPerSecond } = workload;
  const bad = (count: number, text: string): Cell => (count > 0 ? { text, paint: colours.bad } : text);
  return [
    workload.name,
    rate(workload.requestsPerSecond),
    latencyText(workload.p50Ms),
    latencyText(workload.p99Ms),
    percent(workload.cpuPercent),
    formatBytes(workload.memoryPeakBytes),
    String(workload.inFlight),
    String(workload.queued),
    String(workload.coldStarts),
    String(workload.warmStarts),
    bad(errorsPerSecond, rate(errorsPerSecond)),
    String(total.requests),
    bad(total.errors, String(total.errors)),
  ];
}

function rate(perSecond: number): string {
  return perSecond === 0 || perSecond >= 10 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}

function percent(value: number): string {
  return `${value.toFixed(0)}%`;
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)}MiB`;
}
