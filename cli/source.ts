/** What `skerry deploy` and `skerry apply` are given to run: a file or a folder, and what its `skerry.toml` says. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import type { BuildSettings } from '../runtime/workload/build-settings.ts';
import type { WorkloadSettings } from '../runtime/workload/settings.ts';
import { ProjectFile } from '../runtime/workload/settings.ts';
import { type Choice, chooseBuilder } from './builders/choose.ts';
import { SourceFolder } from './builders/source-folder.ts';
import { cliErrors } from './errors.ts';
import { checkDocument, parseDocument, place, type SettingsDocument } from './settings-document.ts';
import { unreadable } from './unreadable.ts';

export interface Source {
  readonly kind: 'javascript' | 'component' | 'image' | 'folder';
  /** The file to bundle or to upload, or the folder to build, as a path from the current folder; the reference of an image. */
  readonly file: string;
  /** What the user calls it. */
  readonly label: string;
  /** From `skerry.toml`, else made from the file's or folder's name; throws NO_NAME where none can be made. */
  readonly name: () => string;
  /** What `skerry.toml` says, beside name and main. */
  readonly settings: WorkloadSettings;
  /** Files that say what is deployed, beside what the bundler finds. */
  readonly inputs: readonly string[];
  /** How a folder is built. */
  readonly choice?: Choice;
  readonly build: BuildSettings;
}

const JAVASCRIPT = new Set(['.ts', '.mts', '.cts', '.tsx', '.js', '.mjs', '.cjs', '.jsx']);
const PROJECT = 'skerry.toml';
const IMAGE_SCHEME = /^(oci|docker-archive|docker):/;

/**
 * Throws NO_SUCH_SOURCE, NOT_A_SOURCE, REFERENCE, what is wrong with a `skerry.toml`, and what `chooseBuilder` throws.
 * @param build for a folder; over what its `skerry.toml` says
 */
export async function findSource(path: string, build: BuildSettings = {}): Promise<Source> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) {
    if (found.code !== 'ENOENT' && found.code !== 'ENOTDIR') throw unreadable(path, found);
    if (looksLikePath(path)) throw cliErrors.NO_SUCH_SOURCE(path);
    checkNoBuild(path, build);
    const name = () => nameFromImage(path);
    return { kind: 'image', file: path, label: path, name, settings: {}, inputs: [], build: {} };
  }
  if (found.isDirectory()) return findProject(path, build);
  checkNoBuild(path, build);
  const kind = kindOf(path);
  if (!kind || !found.isFile()) throw cliErrors.NOT_A_SOURCE(path);
  return { kind, file: path, label: path, name: () => nameFromFile(path), settings: {}, inputs: [path], build: {} };
}

/** What is no folder is not built in any way that could be said. */
function checkNoBuild(path: string, { builder = 'auto', base, network = false }: BuildSettings): void {
  if (builder === 'auto' && base === undefined && !network) return;
  throw cliErrors.USAGE(`${path} is no folder, and --builder, --base and --network are for folders`, 'leave them out');
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

async function findProject(path: string, given: BuildSettings): Promise<Source> {
  const document = await readProject(path);
  const project = document ? checkDocument(document, ProjectFile) : {};
  const { name, main, build: said, ...settings } = project;
  const build = { ...said, ...given };
  const { builder = 'auto' } = build;
  const common = { name: () => name ?? nameFrom(basename(resolve(path))), settings, build };
  const kind = main === undefined ? null : kindOf(main);
  if (main !== undefined && (builder === 'auto' || builder === kind)) {
    const mainFault = (problem: string) =>
      cliErrors.SETTING(
        place(document as SettingsDocument, ['main'], 'value'),
        `main: ${problem}`,
        'name a .ts, .js or .wasm file',
      );
    const file = join(path, main);
    if (!kind) throw mainFault(`${main} is neither JavaScript, TypeScript nor a component`);
    if (!(await isFile(file))) throw mainFault(`there is no file ${main}`);
    checkNoBuild(`${main}, the main of ${join(path, PROJECT)},`, { ...build, builder: 'auto' });
    return { ...common, kind, file, label: file, inputs: [file, join(path, PROJECT)] };
  }
  const folder = new SourceFolder(path);
  const choice = await chooseBuilder(folder, build);
  // Of what is compiled any file may be a part; what cannot be read is for the build to tell.
  const files = choice.file === undefined ? await folder.files().catch(() => []) : [choice.file];
  return {
    ...common,
    kind: 'folder',
    file: path,
    label: choice.file === undefined ? path : folder.at(choice.file),
    inputs: [...files, PROJECT].map((file) => join(path, file)),
    choice,
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
