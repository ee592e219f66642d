import { accessSync, constants, existsSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { dirname } from 'node:path';
import { SkerryError } from '../../errors/skerry-error.ts';
import type { Doctor, NodeView } from '../../gateway/admin/schemas.ts';
import { dataFolder } from '../connection.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { type Cell, table } from '../table.ts';
import { type Palette, palette, writeJson, writeLine } from '../terminal.ts';

/** What this machine can run, how well, and what would help. Throws UNHEALTHY, or why the node could not be asked. */
export async function doctor(context: Context): Promise<void> {
  const { client, terminal, json } = context;
  const colours = palette(terminal.stdout, terminal.env);
  let report: Doctor;
  let node: NodeView;
  try {
    [report, node] = await Promise.all([client.doctor(), client.node()]);
  } catch (error) {
    if (!(error instanceof SkerryError)) throw error;
    const machine = describeMachine(context);
    if (json) writeJson(terminal.stdout, { healthy: false, node: null, probes: [], machine, error: error.code });
    else terminal.stdout.write(table([{ text: 'node', paint: colours.bold }, 'no answer'], Object.entries(machine)));
    throw error;
  }
  if (json) writeJson(terminal.stdout, { ...report, node });
  else {
    terminal.stdout.write(describeNode(node, colours));
    for (const probe of report.probes) terminal.stdout.write(`\n${describeProbe(probe, colours)}`);
    if (report.healthy) writeLine(terminal.stdout, `\n${colours.good('The node is healthy.')}`);
  }
  if (report.healthy) return;
  const missing = report.probes.filter((probe) => !probe.available).map((probe) => probe.part);
  throw cliErrors.UNHEALTHY(missing.length > 0 ? `not available: ${missing.join(', ')}` : 'see the report');
}

function describeNode(node: NodeView, { bold, warn }: Palette): string {
  const rows: Cell[][] = [
    ['version', node.version],
    ['process', `${node.pid}, since ${node.startedAt}`],
    ['data', node.dataFolder],
    ['gateway', node.gateway],
    ['engine', node.engine],
    ['workloads', String(node.workloads)],
    ...node.notices.map((notice): Cell[] => ['notice', { text: notice, paint: warn }]),
  ];
  return table([{ text: 'node', paint: bold }, 'running'], rows);
}

function describeProbe({ part, available, provider, quality, advice }: Doctor['probes'][number], c: Palette): string {
  const mark = available ? c.good('available') : c.bad('not available');
  let text = `${c.bold(printable(part))}: ${mark}${provider ? `, ${printable(provider)}` : ''}\n`;
  if (quality) text += `  ${printable(quality)}\n`;
  for (const line of advice) text += `  ${c.warn('→')} ${printable(line)}\n`;
  return text;
}

/** What can be told without a node. */
function describeMachine({ connection, terminal }: Context): Record<string, string> {
  const folder = dataFolder(connection, terminal.env);
  return {
    'Node.js': `${process.version} on ${platform()} ${arch()}`,
    'data folder': `${folder} (${folderState(folder)})`,
    KVM: existsSync('/dev/kvm') ? '/dev/kvm is there' : 'no /dev/kvm',
  };
}

function folderState(folder: string): string {
  let nearest = folder;
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  try {
    accessSync(nearest, constants.W_OK);
  } catch {
    return 'not writable';
  }
  return nearest === folder ? 'writable' : 'will be made';
}
