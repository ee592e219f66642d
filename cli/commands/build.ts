/** `skerry build`: an image from a Dockerfile, made by the node. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Writable } from 'node:stream';
import type { AdminClient } from '../../gateway/admin/client.ts';
import type { BuiltImage, ImageBuildRequest } from '../../gateway/admin/schemas.ts';
import { packFolder } from '../artifact.ts';
import type { Product, Work } from '../builders/builder.ts';
import { CONTAINERFILES } from '../builders/dockerfile.ts';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { printable } from '../printable.ts';
import type { Progress } from '../progress.ts';
import type { Source } from '../source.ts';
import { writeJson, writeLine } from '../terminal.ts';
import { unreadable } from '../unreadable.ts';

/** Of what a build of a deploy wrote, kept for its failure; in characters. */
const SAID = 64 * 1024;

export interface BuildFlags {
  readonly tag: string;
  readonly file?: string;
  readonly buildArg?: readonly string[];
  readonly secret?: readonly string[];
  readonly target?: string;
  readonly cache: boolean;
  readonly network?: boolean;
}

export async function build({ client, terminal, json }: Context, folder: string, flags: BuildFlags): Promise<void> {
  const found = await stat(folder).catch((error: Error) => {
    throw unreadable(folder, error);
  });
  if (!found.isDirectory()) throw cliErrors.UNREADABLE(folder, 'it is not a folder');
  const file = flags.file ?? (await firstFile(folder));
  const dockerfile = await readDockerfile(file);
  const request: ImageBuildRequest = {
    reference: flags.tag,
    file: relative('', file) || file,
    dockerfile,
    args: buildArgs(flags.buildArg ?? [], terminal.env),
    target: flags.target ?? null,
    fresh: !flags.cache,
    epoch: epochOf(terminal.env.SOURCE_DATE_EPOCH),
    secrets: await secretsOf(flags.secret ?? []),
    network: flags.network === true,
  };
  const { stderr, stdout } = terminal;
  // What is built is told on stdout; what is said meanwhile is not.
  const built = await client.buildImage(request, { stdin: packFolder(folder), stdout: stderr, stderr });
  if (json) return writeJson(stdout, built);
  writeLine(stdout, printable(`${built.name} ${built.artifact.digest}`));
}

/** For `skerry deploy FOLDER`: an image named after what is deployed. */
export async function buildFolder(
  client: AdminClient,
  { name }: Pick<Source, 'name'>,
  product: Extract<Product, { kind: 'dockerfile' | 'image' }>,
  progress: Progress,
  { network, say }: Pick<Work, 'network' | 'say'>,
): Promise<BuiltImage['artifact']> {
  const own = product.kind === 'dockerfile';
  const file = own ? product.file : 'the generated Dockerfile';
  const dockerfile = own ? await readDockerfile(file) : product.dockerfile;
  const plain = { args: {}, target: null, fresh: false, secrets: {} };
  // What is generated is the same everywhere.
  const epoch = epochOf(process.env.SOURCE_DATE_EPOCH) ?? (own ? null : 0);
  const request = { reference: `deploy/${name()}`, file, dockerfile, epoch, network, ...plain };
  // Steps are told as they begin; what they wrote, when one fails.
  let said = '';
  const output = new Writable({
    write(piece: Buffer, _encoding, done) {
      const text = piece.toString('utf8');
      said = (said + text).slice(-SAID);
      const step = text.trim().split('\n').at(-1);
      if (step) progress.step(step);
      done();
    },
  });
  progress.step(`Building ${file}`);
  const streams = { stdin: packFolder(own ? dirname(file) : product.context), stdout: output, stderr: output };
  try {
    return (await client.buildImage(request, streams)).artifact;
  } catch (error) {
    say(said.trimEnd());
    throw error;
  }
}

async function readDockerfile(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: Error) => {
    throw unreadable(file, error);
  });
}

async function firstFile(folder: string): Promise<string> {
  for (const name of CONTAINERFILES) {
    const path = join(folder, name);
    if ((await stat(path).catch(() => null))?.isFile()) return path;
  }
  throw cliErrors.UNREADABLE(join(folder, 'Dockerfile'), 'there is no such file');
}

/** `NAME=VALUE`, or `NAME` for what the environment has. */
function buildArgs(given: readonly string[], env: Context['terminal']['env']): Record<string, string> {
  return Object.fromEntries(
    given.flatMap((text) => {
      const [, name = '', value] = /^([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?$/s.exec(text) ?? [];
      if (name === '') throw cliErrors.BAD_FLAG('--build-arg', `${text} must be NAME=VALUE`);
      const said = value ?? env[name];
      return said === undefined ? [] : [[name, said]];
    }),
  );
}

/** Whole seconds (https://reproducible-builds.org/specs/source-date-epoch/). */
function epochOf(text: string | undefined): number | null {
  if (text === undefined || text === '') return null;
  if (!/^\d{1,12}$/.test(text)) throw cliErrors.BAD_FLAG('SOURCE_DATE_EPOCH', `${text} is no number of seconds`);
  return Number(text);
}

/** `id=ID,src=FILE`, as docker has it; `src` is the id when it is left out. */
async function secretsOf(given: readonly string[]): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  for (const text of given) {
    const parts = new Map(text.split(',').map((part) => part.split(/=(.*)/s) as [string, string]));
    const id = parts.get('id');
    if (!id) throw cliErrors.BAD_FLAG('--secret', `${text} must be id=ID[,src=FILE]`);
    const path = parts.get('src') ?? parts.get('source') ?? id;
    secrets[id] = await readFile(path, 'utf8').catch((error: Error) => {
      throw unreadable(path, error);
    });
  }
  return secrets;
}
