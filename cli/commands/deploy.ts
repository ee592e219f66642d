import type { WorkloadView } from '../../gateway/admin/schemas.ts';
import type { BuildSettings } from '../../runtime/workload/build-settings.ts';
import { overlay } from '../../runtime/workload/settings.ts';
import { makeArtifact, uploadKernel } from '../artifact.ts';
import { choiceText } from '../builders/choose.ts';
import type { Context } from '../context.ts';
import { warningLines } from '../describe.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { type Progress, showProgress } from '../progress.ts';
import { checkName, settingsFromFlags } from '../settings-flags.ts';
import { settle } from '../settle.ts';
import { findSource } from '../source.ts';
import { palette, writeJson, writeLine } from '../terminal.ts';

export interface DeployFlags extends Readonly<Record<string, unknown>>, BuildSettings {
  readonly name?: string;
  readonly watch?: boolean;
  /** A file. */
  readonly kernel?: string;
}

export async function deploy(context: Context, path: string, flags: DeployFlags): Promise<void> {
  if (flags.watch) {
    if (context.json) throw cliErrors.USAGE('--json and --watch do not go together', 'leave one of them out');
    const { watchAndDeploy } = await import('../watch.ts');
    return watchAndDeploy(context, path, flags);
  }
  const { terminal } = context;
  const progress = showProgress(terminal);
  const onChoice = (text: string) => writeLine(terminal.stderr, printable(text));
  let view: WorkloadView;
  try {
    view = await deployOnce(context, path, flags, progress, { onChoice });
  } finally {
    progress.done();
  }
  if (context.json) writeJson(terminal.stdout, view);
  else printDeployed(context, view);
}

/** What is told while it is not yet deployed. */
export interface Told {
  /** How a folder is built. */
  readonly onChoice?: (text: string) => void;
  readonly onInputs?: (inputs: readonly string[]) => void;
}

/** One deploy from source to a settled workload. */
export async function deployOnce(
  context: Context,
  path: string,
  flags: DeployFlags,
  progress: Progress,
  { onChoice, onInputs }: Told = {},
): Promise<WorkloadView> {
  const { client } = context;
  // What is wrong with the flags is told before anything is built.
  const over = settingsFromFlags(flags);
  const given = flags.name === undefined ? undefined : checkName('--name', flags.name);
  const source = await findSource(path, buildFromFlags(flags));
  const { choice } = source;
  if (choice) onChoice?.(choiceText(choice));
  onInputs?.(source.inputs);
  const name = given ?? source.name();
  const settings = overlay(source.settings, over);
  const { artifact } = await makeArtifact(context, source, progress, onInputs);
  const kernel = flags.kernel === undefined ? {} : { kernel: await uploadKernel(context, flags.kernel, progress) };
  progress.step(`Deploying ${name}`);
  return settle(
    client,
    await client.deploy(name, { artifact, label: source.label.slice(-256), settings: { ...settings, ...kernel } }),
  );
}

/** Those that were given: they win over what a file says. */
function buildFromFlags({ builder, base, network }: DeployFlags): BuildSettings {
  const given = Object.entries({ builder, base, network }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given);
}

/** The revision that the spec gives the most of the traffic. */
export function mainRevision(view: WorkloadView): string {
  const [first] = [...view.spec.traffic].sort((a, b) => b.percent - a.percent);
  return first?.revision ?? '-';
}

function printDeployed({ terminal }: Context, view: WorkloadView): void {
  const { bold, good, warn } = palette(terminal.stdout, terminal.env);
  const { phase, message } = view.status;
  const state = phase === 'ready' || phase === 'idle' ? good(phase) : `${phase} (${printable(message)})`;
  writeLine(terminal.stdout, `${bold(view.name)} revision ${mainRevision(view)} is ${state}`);
  for (const url of view.urls) writeLine(terminal.stdout, `  ${printable(url)}`);
  for (const line of warningLines(view, warn)) writeLine(terminal.stdout, `  ${line}`);
}
