/** What `skerry deploy` and `skerry apply` are given to run: a file or a folder, and what its `skerry.toml` says. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import type { WorkloadSettings } from '../runtime/workload/settings.ts';
import { ProjectFile } from '../runtime/workload/settings.ts';
import { cliErrors } from './errors.ts';
import { checkDocument, parseDocument, place, type SettingsDocument } from './settings-document.ts';

export interface Source {
  readonly kind: 'javascript' | 'component' | 'image' | 'dockerfile';
  /** The file to bundle or to upload, as a path from the current folder; the reference of an image. */
  readonly file: string;
  /** What the user calls it. */
  readonly label: string;
  /** From `skerry.toml`, else made from the file's or folder's name; throws NO_NAME where none can be made. */
  readonly name: () => string;
  /** What `skerry.toml` says, beside name and main. */
  readonly settings: WorkloadSettings;
  /** Files that say what is deployed, beside what the bundler finds. */
  readonly inputs: readonly string[];
}

const JAVASCRIPT = new Set(['.ts', '.mts', '.cts', '.tsx', '.js', '.mjs', '.cjs', '.jsx']);
const MAINS = ['index.ts', 'index.js', 'main.ts', 'main.js'];
/** In a folder without a main: what builds an image. */
export const CONTAINERFILES = ['Dockerfile', 'Containerfile'];
const PROJECT = 'skerry.toml';
const IMAGE_SCHEME = /^(oci|docker-archive|docker):/;

/** Throws NO_SUCH_SOURCE, NOT_A_SOURCE, REFERENCE, and what is wrong with a `skerry.toml`. */
export async function findSource(path: string): Promise<Source> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) {
    if (found.code !== 'ENOENT' && found.code !== 'ENOTDIR') throw unreadable(path, found);
    if (looksLikePath(path)) throw cliErrors.NO_SUCH_SOURCE(path);
    return { kind: 'image', file: path, label: path, name: () => nameFromImage(path), settings: {}, inputs: [] };
  }
  if (found.isDirectory()) return findProject(path);
  const kind = kindOf(path);
  if (!kind || !found.isFile()) throw cliErrors.NOT_A_SOURCE(path);
  return { kind, file: path, label: path, name: () => nameFromFile(path), settings: {}, inputs: [path] };
}

function looksLikePath(path: string): boolean {
  if (IMAGE_SCHEME.test(path)) return false;
  return /^[./~]/.test(path) || kindOf(path) !== null || path.endsWith('/');
}

function kindOf(path: string): Source['kind'] | null {
  const ending = extname(path).toLowerCase();
  if (ending === '.wasm') return 'component';
  return JAVASCRIPT.has(ending) ? 'javascript' : null;
}

async function findProject(folder: string): Promise<Source> {
  const document = await readProject(folder);
  const project = document ? checkDocument(document, ProjectFile) : {};
  const { name, main, ...settings } = project;
  const file = main === undefined ? await firstMain(folder) : join(folder, main);
  const kind = main === undefined && CONTAINERFILES.includes(basename(file)) ? 'dockerfile' : kindOf(file);
  const mainFault = (problem: string) =>
    cliErrors.SETTING(
      place(document as SettingsDocument, ['main'], 'value'),
      `main: ${problem}`,
      'name a .ts, .js or .wasm file',
    );
  if (!kind) throw mainFault(`${main} is neither JavaScript, TypeScript nor a component`);
  if (main !== undefined && !(await isFile(file))) throw mainFault(`there is no file ${main}`);
  return {
    kind,
    file,
    label: file,
    name: () => name ?? nameFrom(basename(resolve(folder))),
    settings,
    inputs: [file, join(folder, PROJECT)],
  };
}

async function readProject(folder: string): Promise<SettingsDocument | undefined> {
  const file = join(folder, PROJECT);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(file, error as Error);
  }
  return parseDocument(file, text, 'toml');
}

async function firstMain(folder: string): Promise<string> {
  for (const name of MAINS) if (await isFile(join(folder, name))) return join(folder, name);
  for (const name of CONTAINERFILES) if (await isFile(join(folder, name))) return join(folder, name);
  throw cliErrors.NO_MAIN(folder, MAINS.join(', '));
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/** The last part of its repository, or the folder's or file's name. */
export function nameFromImage(reference: string): string {
  const [, scheme, rest = ''] = /^(oci|docker-archive|docker):(.*)$/.exec(reference) ?? [null, '', reference];
  const path = scheme === 'docker-archive' ? basename(rest, extname(rest)) : rest.replace(/@.*$/, '');
  return nameFrom(basename(path).replace(/:[^:]*$/, ''));
}

function nameFromFile(path: string): string {
  const stem = basename(path, extname(path));
  return nameFrom(stem === 'index' ? basename(dirname(resolve(path))) : stem);
}

/** A DNS label from a file's or folder's name: `My API_v2` → `my-api-v2`. */
function nameFrom(text: string): string {
  const label = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-|-$/g, '');
  if (label === '') throw cliErrors.NO_NAME(text);
  return label;
}

/** UNREADABLE, with what the system says. */
export function unreadable(path: string, error: Error): Error {
  const code = (error as NodeJS.ErrnoException).code;
  const why: Record<string, string> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of the path is not a folder',
  };
  return cliErrors.UNREADABLE(path, why[code ?? ''] ?? code ?? error.message).because(error);
}
