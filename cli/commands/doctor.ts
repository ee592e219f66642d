import { SkerryError } from '../../errors/skerry-error.ts';
import type { Doctor, NodeView } from '../../gateway/admin/schemas.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { showProgress } from '../progress.ts';
import { type Cell, table } from '../table.ts';
import { type Palette, palette, writeJson, writeLine } from '../terminal.ts';

/**
 * What this machine can run, how well, and what would help: told by the node, or found out here where none runs. Throws
 * UNHEALTHY, NOT_EXAMINED, or why the node could not be asked.
 */
export async function doctor(context: Context): Promise<void> {
  const { client, terminal, json } = context;
  const colours = palette(terminal.stdout, terminal.env);
  const { report, node } = await askNode(context);
  if (json) writeJson(terminal.stdout, { ...report, node });
  else {
    const none: Cell = { text: `none is running at ${client.where}`, paint: colours.warn };
    const head = node ? describeNode(node, colours) : table([{ text: 'node', paint: colours.bold }, none], []);
    terminal.stdout.write(head);
    for (const probe of report.probes) terminal.stdout.write(`\n${describeProbe(probe, colours)}`);
    const verdict = node ? 'The node is healthy.' : 'A node can run here: start it with `skerry up`.';
    if (report.healthy) writeLine(terminal.stdout, `\n${colours.good(verdict)}`);
  }
  if (report.healthy) return;
  throw cliErrors.UNHEALTHY(node ? 'the node' : 'this machine', report.problems.join('; '));
}

async function askNode({ client, connection, terminal }: Context): Promise<{ report: Doctor; node: NodeView | null }> {
  try {
    const [report, node] = await Promise.all([client.doctor(), client.node()]);
    return { report, node };
  } catch (error) {
    // Of another machine nothing can be told from here.
    const here = error instanceof SkerryError && error.code === 'NODE_NOT_RUNNING' && !client.remote;
    if (!here) throw error;
  }
  const progress = showProgress(terminal);
  progress.step('Examining this machine');
  try {
    const { examineMachine } = await import('../examine-machine.ts');
    return { report: await examineMachine(connection, terminal.env), node: null };
  } finally {
    progress.done();
  }
}

function describeNode(node: NodeView, { bold, warn }: Palette): string {
  const rows: Cell[][] = [
    ['version', node.version],
    ['process', `${node.pid}, since ${node.startedAt}`],
    ['data', node.dataFolder],
    ['gateway', node.gateway],
    ['registry', node.registry ?? 'off'],
    ['engine', node.engine],
    ['workloads', String(node.workloads)],
    ...node.notices.map((notice): Cell[] => ['notice', { text: notice, paint: warn }]),
  ];
  return table([{ text: 'node', paint: bold }, 'running'], rows);
}

function describeProbe(probe: Doctor['probes'][number], c: Palette): string {
  const { part, available, provider, quality, advice, offers = [] } = probe;
  const mark = available ? c.good('available') : c.bad('not available');
  let text = `${c.bold(printable(part))}: ${mark}${provider ? `, ${printable(provider)}` : ''}\n`;
  if (quality) text += `  ${printable(quality)}\n`;
  for (const each of offers) text += `  offers ${printable(each)}\n`;
  for (const line of advice) text += `  ${c.warn('→')} ${printable(line)}\n`;
  return text;
}
