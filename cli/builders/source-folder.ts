/** The folder that is built: what builders read of it to tell what it is, and copies of it that are alike everywhere. */
import { chmod, copyFile, mkdir, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { parseDocument } from '../settings-document.ts';
import { unreadable } from '../unreadable.ts';
import { builderErrors } from './errors.ts';

/** What no build takes: what is made again, the history, and files that hold secrets by custom. */
const LEFT_OUT = new Set([
  '.git',
  '.hg',
  '.svn',
  '.DS_Store',
  'node_modules',
  '__pycache__',
  '.venv',
  'venv',
  'target',
]);
const isSecret = (name: string) => name === '.env' || name.startsWith('.env.') || name === '.npmrc';
const MOST_FILES = 50_000;

export class SourceFolder {
  /** As the user calls it. */
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  at(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  async has(file: string): Promise<boolean> {
    return stat(this.at(file)).then(
      (found) => found.isFile(),
      () => false,
    );
  }

  /** The first of these that is a file. */
  async first(files: readonly string[]): Promise<string | undefined> {
    for (const file of files) if (await this.has(file)) return file;
    return undefined;
  }

  /** Null where there is none; throws UNREADABLE. */
  async text(file: string): Promise<string | null> {
    if (!(await this.has(file))) return null;
    return readFile(this.at(file), 'utf8').catch((error: Error) => {
      throw unreadable(this.at(file), error);
    });
  }

  /** A TOML or JSON file; null where there is none. Throws UNREADABLE and SYNTAX. */
  async table(file: string): Promise<Readonly<Record<string, unknown>> | null> {
    const text = await this.text(file);
    if (text === null) return null;
    const { value } = await parseDocument(this.at(file), text, file.endsWith('.toml') ? 'toml' : 'json');
    return tableOf(value);
  }

  /** Names of what is in a folder of it, sorted; none where it is not there. */
  async names(folder = '.'): Promise<string[]> {
    return (await readdir(this.at(folder)).catch(() => [])).sort();
  }

  /**
   * Paths of all files below `folder`, from there, in one order on every machine. Links are taken for what they lead to
   * inside of the folder; throws SOURCE_LINK for others, and SOURCE_TOO_LARGE. Builds leave out what `leftOut` says.
   */
  async files(folder = '.', leftOut: (name: string) => boolean = leftOutOfBuilds): Promise<string[]> {
    const root = await realpath(this.path);
    const found: string[] = [];
    const walk = async (below: string): Promise<void> => {
      const entries = await readdir(this.at(folder, below), { withFileTypes: true }).catch((error: Error) => {
        throw unreadable(this.at(folder, below), error);
      });
      for (const entry of entries) {
        if (leftOut(entry.name)) continue;
        const path = join(below, entry.name);
        if (entry.isDirectory()) await walk(path);
        else if (entry.isFile() || (entry.isSymbolicLink() && (await this.#leadsToFile(root, join(folder, path))))) {
          found.push(path);
        }
        if (found.length > MOST_FILES) {
          throw builderErrors.SOURCE_TOO_LARGE(this.path, `over ${MOST_FILES} files`, `${MOST_FILES}`);
        }
      }
    };
    await walk('.');
    return found.sort();
  }

  async #leadsToFile(root: string, path: string): Promise<boolean> {
    const target = await realpath(this.at(path)).catch(() => null);
    if (target === null) return false;
    if (!target.startsWith(root + sep)) throw builderErrors.SOURCE_LINK(this.at(path));
    return (await stat(target)).isFile();
  }

  /** Copies files of `folder` below `to`, with the modes that they have on every machine: 644, or 755 for programs. */
  async copy(files: readonly string[], to: string, folder = '.'): Promise<void> {
    for (const file of files) {
      const target = join(to, file);
      await mkdir(dirname(target), { recursive: true, mode: 0o755 });
      const source = this.at(folder, file);
      await copyFile(source, target).catch((error: Error) => {
        throw unreadable(source, error);
      });
      await chmod(target, (await stat(source)).mode & 0o100 ? 0o755 : 0o644);
    }
  }
}

export function leftOutOfBuilds(name: string): boolean {
  return LEFT_OUT.has(name) || isSecret(name);
}

/** An object as it is; an empty one for anything else. */
export function tableOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
