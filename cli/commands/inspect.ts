import type { ProcessView, RevisionView, WorkloadView } from '../../gateway/admin/schemas.ts';
import { formatBytes, formatDuration } from '../../runtime/workload/units.ts';
import { formatVolume } from '../../runtime/workload/volume.ts';
import type { Context } from '../context.ts';
import { latencyText, phaseCell, timeText, trafficText, warningLines } from '../describe.ts';
import { imageOr, named } from '../named.ts';
import { type Cell, table } from '../table.ts';
import { type Palette, palette, type Terminal, writeJson, writeLine } from '../terminal.ts';
import { showImage } from './inspect-image.ts';
import { stateText } from './ps.ts';

export async function inspect({ client, terminal, json }: Context, name: string): Promise<void> {
  const view = await imageOr(client, name, () => named(client, name));
  if ('attachments' in view) return showImage(terminal, json, view);
  if ('exitStatus' in view) return showProcess(terminal, json, view);
  if (json) return writeJson(terminal.stdout, view);
  const colours = palette(terminal.stdout, terminal.env);
  terminal.stdout.write(specAndStatus(view, colours));
  for (const line of warningLines(view, colours.warn)) writeLine(terminal.stdout, line);
  for (const revision of view.revisions) terminal.stdout.write(`\n${describeRevision(revision, view, colours)}`);
}

function showProcess(terminal: Terminal, json: boolean, view: ProcessView): void {
  if (json) return writeJson(terminal.stdout, view);
  const rows: [string, string][] = [
    ['state', stateText(view)],
    ...(view.message === '' ? [] : [['ended', view.message] as [string, string]]),
    ['image', `${view.image} ${view.digest}`],
    ['arguments', view.arguments.join(' ') || '-'],
    ['isolation', view.isolation],
    ['started', timeText(view.startedAt)],
    ...(view.endedAt === null ? [] : [['ended at', timeText(view.endedAt)] as [string, string]]),
    ...(view.memoryBytes === null ? [] : [['memory', formatBytes(view.memoryBytes)] as [string, string]]),
    ...(view.cpuMs === null ? [] : [['CPU time', formatDuration(Math.round(view.cpuMs))] as [string, string]]),
  ];
  terminal.stdout.write(table([view.name, ''], rows));
}

/** What was asked for beside what is. */
function specAndStatus(view: WorkloadView, colours: Palette): string {
  const { spec, status } = view;
  const { min, max, idleMs } = spec.scale;
  const longest = Math.max(spec.routes.length, view.urls.length);
  const header: Cell[] = [{ text: view.name, paint: colours.bold }, 'SPEC', 'STATUS'];
  return table(header, [
    ['generation', String(view.generation), `${status.observedGeneration} observed`],
    ['phase', '', phaseCell(status.phase, colours)],
    ...(status.message ? [['message', '', status.message]] : []),
    ['traffic', trafficText(spec.traffic), trafficText(status.traffic)],
    ['scale', `min ${min}, max ${max}, idle ${formatDuration(idleMs)}`, ''],
    ['queue', String(spec.queue), ''],
    ...Array.from({ length: longest }, (_, i): Cell[] => {
      return [i === 0 ? 'routes, URLs' : '', spec.routes[i] ?? '', view.urls[i] ?? ''];
    }),
  ]);
}

function startsText({ coldStarts, warmStarts, startMs }: NonNullable<RevisionView['stats']>): string {
  const each = coldStarts > 0 ? ` (${latencyText(startMs / coldStarts)} to make one)` : '';
  return `${coldStarts} cold starts${each}, ${warmStarts} warm`;
}

function describeRevision(revision: RevisionView, view: WorkloadView, colours: Palette): string {
  const { limits, stats } = revision;
  const now = view.status.traffic.find((share) => share.revision === revision.id)?.percent ?? 0;
  const header: Cell[] = [
    { text: `revision ${revision.id}`, paint: colours.bold },
    `${revision.percent}% of the traffic`,
    `${now}%`,
  ];
  const environment = Object.entries(revision.env).map(([key, value], i) => [
    i === 0 ? 'env' : '',
    `${key}=${value}`,
    '',
  ]);
  const lists = Object.entries({ secrets: revision.secrets, allow: revision.allow }).flatMap(([title, entries]) =>
    entries.map((entry, i) => [i === 0 ? title : '', entry, '']),
  );
  const status = [
    phaseCell(revision.phase, colours),
    ...(revision.error ? [{ text: revision.error, paint: colours.bad }] : []),
    ...(revision.findings ?? []).map(
      ({ monitor, sees, sure }) => `${monitor}: ${sees}, ${Math.round(100 * sure)}% sure`,
    ),
    ...(revision.ends ? [`${revision.ends.count} ended, ${timeText(revision.ends.at)}: ${revision.ends.message}`] : []),
    ...(stats
      ? [
          `${stats.requests} requests, ${stats.failures} failed`,
          `${stats.inFlight} in flight, ${stats.queued} queued`,
          `latency p50 ${latencyText(stats.p50Ms)}, p99 ${latencyText(stats.p99Ms)}`,
          `${(stats.cpuMs / 1000).toFixed(1)} s of CPU`,
          `memory at most ${formatBytes(stats.memoryBytes)} a sandbox`,
          startsText(stats),
        ]
      : ['nothing of it runs']),
  ];
  const spec: Cell[][] = [
    ['source', revision.label],
    ['created', timeText(revision.createdAt)],
    ['artifact', revision.artifact.digest.slice(0, 19)],
    ['isolation', revision.isolation],
    ['memory', formatBytes(limits.memoryBytes)],
    ['cpus', String(limits.cpuMillicores / 1000)],
    ['timeout', `${formatDuration(limits.timeoutMs)}, start ${formatDuration(limits.startTimeoutMs)}`],
    ...(limits.cpuTimeMs === undefined ? [] : [['CPU time', formatDuration(limits.cpuTimeMs)]]),
    ['concurrency', String(limits.concurrency)],
    ['largest bodies', `${formatBytes(limits.maxRequestBytes)}, answer ${formatBytes(limits.maxResponseBytes)}`],
    ['priority', String(revision.priority)],
    ['reuse', String(revision.reuse)],
    ['key-value quota', formatBytes(revision.keyvalueQuotaBytes)],
    ...(revision.port === undefined ? [] : [['port', String(revision.port)]]),
    ...(revision.writableBytes === undefined ? [] : [['writable', formatBytes(revision.writableBytes)]]),
    ...(revision.kernel === undefined ? [] : [['kernel', revision.kernel.slice(0, 19)]]),
    ...(revision.snapshot === undefined ? [] : [['snapshot', revision.snapshot]]),
    ...(revision.readyCheck === undefined ? [] : [['ready check', revision.readyCheck]]),
    ...(revision.liveCheck === undefined
      ? []
      : [['live check', `${revision.liveCheck.check}, every ${formatDuration(revision.liveCheck.everyMs)}`]]),
    ...(revision.volumes ?? []).map((volume, i) => [i === 0 ? 'volumes' : '', formatVolume(volume)]),
  ];
  const rows = spec.map((row, i): Cell[] => [...row, status[i] ?? '']);
  const rest: Cell[][] = [
    ...environment,
    ...lists,
    ['preview host', revision.previewHost, ''],
    ['decision', revision.decision, ''],
  ];
  return table(header, [...rows, ...rest]);
}
