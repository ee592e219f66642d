/** The images of the node: listed with what uses them, removed with what that frees. */
import type { StoreView } from '../../gateway/admin/schemas.ts';
import { formatBytes } from '../../runtime/workload/units.ts';
import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { credentialsFor } from '../docker-credentials.ts';
import { showProgress } from '../progress.ts';
import { type Cell, table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';

/** Hex digits of a digest that are shown. */
const SHOWN_DIGITS = 12;

export interface ListFlags {
  /** Also what is attached to images under tags of its own. */
  readonly all?: boolean;
}

export async function listImages({ client, terminal, json }: Context, { all = false }: ListFlags): Promise<void> {
  const { images: every, store } = await client.images();
  const images = every.filter(({ attachedTo }) => all || attachedTo === null);
  if (json) return writeJson(terminal.stdout, { images, store });
  if (images.length === 0) {
    return writeLine(terminal.stdout, 'There are no images; push one to the registry of the node, or deploy one.');
  }
  const rows = images.map(({ name, origin, digest, createdAt, size, frees, usedBy }): Cell[] => [
    short(name),
    origin,
    short(digest),
    timeText(createdAt),
    formatBytes(size),
    formatBytes(frees),
    usedBy.join(', ') || '-',
  ]);
  const header = ['NAME', 'ORIGIN', 'DIGEST', 'SINCE', 'SIZE', 'RM FREES', 'USED BY'];
  terminal.stdout.write(table(header, rows));
  writeLine(terminal.stdout, storeText(store));
}

export interface TransferFlags {
  readonly insecureRegistry?: readonly string[];
}

export function pullImage(context: Context, reference: string, flags: TransferFlags): Promise<void> {
  return transfer(context, 'pull', reference, flags);
}

export function pushImage(context: Context, reference: string, flags: TransferFlags): Promise<void> {
  return transfer(context, 'push', reference, flags);
}

async function transfer(
  { client, terminal, json }: Context,
  way: 'pull' | 'push',
  reference: string,
  { insecureRegistry = [] }: TransferFlags,
): Promise<void> {
  const credentials = await credentialsFor(reference, terminal.env);
  const insecure = insecureRegistry.map((registry) => registry.toLowerCase());
  const progress = showProgress(terminal);
  progress.step(`${way === 'pull' ? 'Pulling' : 'Pushing'} ${reference}`);
  try {
    const done = await client.transferImage(way, { reference, insecure, credentials }, progress.step);
    const { name, artifact, size } = done;
    progress.done();
    if (json) return writeJson(terminal.stdout, { name, artifact, size });
    const what = way === 'pull' ? 'is here' : 'is pushed';
    writeLine(terminal.stdout, `${name} ${what}: ${formatBytes(size)}, ${artifact.digest}`);
  } finally {
    progress.done();
  }
}

export async function tagImage({ client, terminal, json }: Context, reference: string, name: string): Promise<void> {
  const tagged = await client.tagImage({ reference, name });
  if (json) return writeJson(terminal.stdout, tagged);
  writeLine(terminal.stdout, `${tagged.name} is ${tagged.digest}`);
}

export async function removeImages({ client, terminal, json }: Context, names: readonly string[]): Promise<void> {
  const removed = [];
  for (const name of new Set(names)) {
    const image = await client.removeImage(name);
    removed.push(image);
    const users = image.usedBy.length > 0 ? `; ${image.usedBy.join(', ')} keeps what it is made from` : '';
    const freed = `${formatBytes(image.bytes)} freed${young(image.youngBytes)}`;
    if (!json) writeLine(terminal.stdout, `${image.name} is removed: ${freed}${users}`);
  }
  if (json) writeJson(terminal.stdout, { removed });
}

/** What is left although nothing needs it. */
function young(bytes: number): string {
  return bytes > 0
    ? `; ${formatBytes(bytes)} that came lately may belong to a push or a deploy, and stay for an hour`
    : '';
}

export async function pruneImages({ client, terminal, json }: Context, flags: { dryRun?: boolean }): Promise<void> {
  const pruned = await client.pruneImages(flags.dryRun === true);
  if (json) return writeJson(terminal.stdout, pruned);
  const verb = pruned.dryRun ? 'would be freed' : 'freed';
  writeLine(
    terminal.stdout,
    `${formatBytes(pruned.bytes)} in ${pruned.blobs} blobs ${verb}${young(pruned.youngBytes)}`,
  );
  if (pruned.buildBytes > 0)
    writeLine(terminal.stdout, `${formatBytes(pruned.buildBytes)} that builds had kept for the next ones freed`);
  writeLine(terminal.stdout, storeText(pruned.store));
}

function storeText({ bytes, limit }: StoreView): string {
  return `The store has ${formatBytes(bytes)} of the ${formatBytes(limit)} that it may have (--store-size).`;
}

/** `sha256:` and the first digits of a digest; names as they are. */
function short(name: string): string {
  const [, algorithm, hex = ''] = /^(sha256|sha512):([0-9a-f]{64,})$/.exec(name) ?? [];
  return algorithm === undefined ? name : `${algorithm}:${hex.slice(0, SHOWN_DIGITS)}`;
}
