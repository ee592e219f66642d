/** Changes to what is already deployed: scale, traffic, rollback, rm. */
import type { WorkloadView } from '../../gateway/admin/schemas.ts';
import type { Context } from '../context.ts';
import { trafficText } from '../describe.ts';
import { cliErrors } from '../errors.ts';
import { named } from '../named.ts';
import { printable } from '../printable.ts';
import { showProgress } from '../progress.ts';
import { resolveRevision } from '../revision-prefix.ts';
import { settingFromFlag } from '../settings-flags.ts';
import { settle, waitUntilGone } from '../settle.ts';
import { writeJson, writeLine } from '../terminal.ts';

/** A process that is removed may take this long to end by itself, in milliseconds. */
const REMOVE_GRACE_MS = 2000;

/** Waits until the node has done it, then says it. */
async function settled(context: Context, changed: WorkloadView, line: (view: WorkloadView) => string): Promise<void> {
  const { client, terminal, json } = context;
  const progress = showProgress(terminal);
  progress.step(`Waiting for ${changed.name}`);
  let view: WorkloadView;
  try {
    view = await settle(client, changed);
  } finally {
    progress.done();
  }
  if (json) writeJson(terminal.stdout, view);
  else writeLine(terminal.stdout, printable(line(view)));
}

export async function scale(context: Context, name: string, flags: { min?: string; max?: string }): Promise<void> {
  if (flags.min === undefined && flags.max === undefined) {
    throw cliErrors.USAGE('nothing to change was given', 'give --min N, --max N or both');
  }
  const request = {
    ...(flags.min === undefined ? {} : { min: settingFromFlag('min', flags.min) as number }),
    ...(flags.max === undefined ? {} : { max: settingFromFlag('max', flags.max) as number }),
  };
  const changed = await context.client.scale(name, request);
  await settled(context, changed, ({ spec, status }) => {
    return `${name} is ${status.phase}: at least ${spec.scale.min}, at most ${spec.scale.max} instances`;
  });
}

export async function traffic(context: Context, name: string, shares: readonly string[]): Promise<void> {
  const parsed = shares.map((share) => {
    const match = /^([0-9A-Fa-f]+)=(\d{1,3})%?$/.exec(share);
    if (!match || Number(match[2]) > 100) {
      throw cliErrors.USAGE(`${share} is not REV=PERCENT with a whole percentage from 0 to 100`, 'write it as 3f2a=90');
    }
    return { given: match[1] as string, percent: Number(match[2]) };
  });
  const sum = parsed.reduce((total, share) => total + share.percent, 0);
  if (sum !== 100) throw cliErrors.USAGE(`the shares add up to ${sum}%`, 'give shares that add up to 100');
  const view = await context.client.workload(name);
  const resolved = parsed.map(({ given, percent }) => ({ revision: resolveRevision(view, given), percent }));
  if (new Set(resolved.map((share) => share.revision)).size < resolved.length) {
    throw cliErrors.USAGE('a revision was given more than one share', 'give each revision once');
  }
  const changed = await context.client.traffic(name, { traffic: resolved });
  await settled(context, changed, ({ status }) => `${name}: ${trafficText(status.traffic)}`);
}

export async function rollback(context: Context, name: string, given: string | undefined): Promise<void> {
  const { client } = context;
  const request = given === undefined ? {} : { revision: resolveRevision(await client.workload(name), given) };
  const changed = await client.rollback(name, request);
  await settled(context, changed, ({ status }) => `${name}: ${trafficText(status.traffic)}`);
}

export async function rm({ client, terminal }: Context, names: readonly string[]): Promise<void> {
  const wanted = [...new Set(names)];
  // All of them or none: a name that does not exist stops the command before anything is removed.
  const views = await Promise.all(wanted.map((name) => named(client, name)));
  const progress = showProgress(terminal);
  for (const view of views) {
    const { name } = view;
    progress.step(`Removing ${name}`);
    try {
      if ('exitStatus' in view) await client.removeProcess(name, REMOVE_GRACE_MS);
      else {
        await client.remove(name);
        await waitUntilGone(client, name, view.generation + 1);
      }
    } finally {
      progress.done();
    }
    writeLine(terminal.stdout, `${name} is removed`);
  }
}
