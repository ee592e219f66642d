import { readFile } from 'node:fs/promises';
import { dirname, extname, isAbsolute, join, relative } from 'node:path';
import { SkerryError } from '../../errors/skerry-error.ts';
import { text as streamText } from '../../gateway/admin/client-stream.ts';
import type { Plan, PlanRequest } from '../../gateway/admin/schemas.ts';
import { ApplyFile, type ApplyRevision, type ApplyWorkload } from '../../runtime/workload/apply-file.ts';
import { overlay } from '../../runtime/workload/settings.ts';
import { makeArtifact } from '../artifact.ts';
import type { Context } from '../context.ts';
import { warningLines } from '../describe.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import { type Progress, showProgress } from '../progress.ts';
import { checkDocument, type Format, parseDocument, place, type SettingsDocument } from '../settings-document.ts';
import { settle } from '../settle.ts';
import { findSource, type Source } from '../source.ts';
import { palette, type Terminal, writeJson, writeLine } from '../terminal.ts';
import { unreadable } from '../unreadable.ts';

export interface ApplyFlags {
  readonly file: string;
  readonly dryRun?: boolean;
}

type Wanted = PlanRequest['workloads'][number];

/** Brings the node to what a file says, and tells each change before it makes it. */
export async function apply(context: Context, flags: ApplyFlags): Promise<void> {
  const { client, terminal, json } = context;
  const document = await readApplyFile(flags.file, terminal);
  const { workloads } = checkDocument(document, ApplyFile);
  // Every fault of the file is found before the first build.
  const found = await findSources(document, workloads);
  const progress = showProgress(terminal);
  try {
    const wanted: Wanted[] = [];
    for (const { workload, source } of found) wanted.push(await resolveWorkload(context, workload, source, progress));
    progress.step('Comparing with the node');
    const plan = await client.apply({ workloads: wanted, dryRun: true });
    progress.done();
    if (!json) printPlan(terminal, plan);
    if (flags.dryRun) {
      if (json) writeJson(terminal.stdout, plan);
      else writeLine(terminal.stdout, 'Dry run: nothing was changed');
      return;
    }
    const applied = await client.apply({ workloads: wanted, dryRun: false });
    await settleAll(context, applied, progress);
    progress.done();
    if (json) writeJson(terminal.stdout, applied);
    else writeLine(terminal.stdout, summary(applied));
  } finally {
    progress.done();
  }
}

async function readApplyFile(file: string, terminal: Terminal): Promise<SettingsDocument> {
  if (file === '-') {
    const text = await streamText(terminal.stdin);
    return parseDocument('(stdin)', text, guessFormat(text));
  }
  const format = formatOf(file);
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw unreadable(file, error);
  });
  return parseDocument(file, text, format);
}

function formatOf(file: string): Format {
  const formats: Record<string, Format> = { '.yaml': 'yaml', '.yml': 'yaml', '.toml': 'toml', '.json': 'json' };
  const format = formats[extname(file).toLowerCase()];
  if (!format) throw cliErrors.FILE_FORMAT(file);
  return format;
}

/** Stdin has no ending: JSON begins with a brace, and TOML can only say `workloads` as an array of tables. */
function guessFormat(text: string): Format {
  if (/^\s*\{/.test(text)) return 'json';
  return /^\s*\[\[\s*workloads\s*\]\]/m.test(text) ? 'toml' : 'yaml';
}

/** Which key of a workload they are about. */
const FAULTS: Readonly<Record<string, 'source' | 'build'>> = {
  ...{ NO_SUCH_SOURCE: 'source', NOT_A_SOURCE: 'source', IMAGE_NOT_RUNNABLE: 'source' },
  ...{ BUILDER_LACKS: 'build', BUILD_SETTING: 'build', USAGE: 'build' },
};

/** A workload says one of these. */
const WHAT_TO_RUN = ['source', 'image', 'revisions'] as const;

interface Found {
  readonly workload: ApplyWorkload;
  /** None for images that the node has. */
  readonly source: Source | undefined;
}

async function findSources(document: SettingsDocument, workloads: readonly ApplyWorkload[]): Promise<Found[]> {
  const names = new Set<string>();
  const found: Found[] = [];
  for (const [i, workload] of workloads.entries()) {
    const at = `workloads[${i}]`;
    const fault = (key: string | undefined, of: 'key' | 'value', problem: string, hint: string) => {
      const path = key === undefined ? ['workloads', i] : ['workloads', i, key];
      const text = key === undefined ? at : `${at}.${key}`;
      return cliErrors.SETTING(place(document, path, of), `${text}: ${problem}`, hint);
    };
    if (names.has(workload.name)) throw fault('name', 'value', `${workload.name} is there twice`, 'give it once');
    names.add(workload.name);
    const [what, another] = WHAT_TO_RUN.filter((key) => workload[key] !== undefined);
    if (another !== undefined)
      throw fault(another, 'key', `goes with no ${what}`, `leave out one of ${what} and ${another}`);
    if (what === undefined) {
      throw fault(undefined, 'value', 'has neither source nor image', 'say what to run: source = a file or folder');
    }
    if (workload.build !== undefined && what !== 'source')
      throw fault('build', 'key', `goes with no ${what}`, 'it is for the source of a folder: leave it out');
    const source = await sourceOf(document, workload).catch((error: unknown) => {
      const key = error instanceof SkerryError ? FAULTS[error.code] : undefined;
      if (key === undefined || !(error instanceof SkerryError)) throw error;
      throw fault(key, 'value', error.what, error.fix);
    });
    found.push({ workload, source });
  }
  return found;
}

/** A source is a path from the file's own folder; from the current one when the file came on stdin. */
async function sourceOf(document: SettingsDocument, { source, build }: ApplyWorkload): Promise<Source | undefined> {
  if (source === undefined) return undefined;
  if (isAbsolute(source)) return findSource(source, build);
  const from = document.file === '(stdin)' ? '.' : dirname(document.file);
  const path = join(from, source);
  return findSource(relative('', path) === '' ? '.' : path, build);
}

async function resolveWorkload(
  context: Context,
  workload: ApplyWorkload,
  source: Source | undefined,
  progress: Progress,
): Promise<Wanted> {
  const { name, source: _path, build: _build, image, revisions, ...said } = workload;
  if (source) {
    const { artifact } = await makeArtifact(context, source, progress);
    const revision = { artifact, label: source.label.slice(-256), percent: 100, settings: {} };
    return { name, settings: overlay(source.settings, said), revisions: [revision] };
  }
  const shares = revisions ?? [{ image: image as string, traffic: 100 }];
  return { name, settings: said, revisions: shares.map(stored) };
}

/** A revision of a component or an image that the node has. */
function stored({ image: digest, traffic: percent, ...settings }: ApplyRevision): Wanted['revisions'][number] {
  return { artifact: { digest }, label: digest, percent, settings };
}

async function settleAll({ client }: Context, plan: Plan, progress: Progress): Promise<void> {
  for (const change of plan.changes) {
    if (change.action === 'unchanged') continue;
    progress.step(`Waiting for ${change.name}`);
    await settle(client, change);
  }
}

function printPlan({ stdout, env }: Terminal, plan: Plan): void {
  const { good, warn, dim } = palette(stdout, env);
  const marks = { create: good('+ create   '), update: warn('~ update   '), unchanged: dim('= unchanged') };
  for (const change of plan.changes) {
    writeLine(stdout, `${marks[change.action]} ${change.name}`);
    for (const detail of change.details) writeLine(stdout, `    ${printable(detail)}`);
    for (const line of warningLines(change, warn)) writeLine(stdout, `    ${line}`);
  }
}

function summary(plan: Plan): string {
  const count = (action: Plan['changes'][number]['action']) => plan.changes.filter((c) => c.action === action).length;
  return `Applied: ${count('create')} created, ${count('update')} updated, ${count('unchanged')} unchanged`;
}
