/** `skerry deploy --watch`: a deploy on each save of a file that went into the last one. */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { SkerryError } from '../errors/skerry-error.ts';
import { clientErrors } from '../gateway/admin/client-errors.ts';
import { type DeployFlags, deployOnce, mainRevision } from './commands/deploy.ts';
import type { Context } from './context.ts';
import { warningLines } from './describe.ts';
import { asFailure } from './failure.ts';
import { printable } from './printable.ts';
import { showProgress } from './progress.ts';
import { palette, writeLine } from './terminal.ts';

/** Editors write a file in several steps; this long without another one (milliseconds), and it is saved. */
const QUIET_MS = 80;

/** Not any file at all: our own output may be written to one in the same folder, and would set us off for ever. */
const MAY_BE_IMPORTED = /\.(?:[cm]?[jt]sx?|json|toml|wasm)$/;

/**
 * Watches the folders of files, not the files: editors replace a file by renaming another over it, and a file that an
 * import names may yet be made.
 */
class InputWatch {
  readonly #folders = new Map<string, FSWatcher>();
  readonly #changed: () => void;
  #files = new Set<string>();
  /** How the folder was built the last time. */
  choice = '';
  /** After a failure any file beside the inputs may be the one that was missing. */
  anyFile = false;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  follow(files: readonly string[]): void {
    this.#files = new Set(files.map((file) => resolve(file)));
    const wanted = new Set([...this.#files].map((file) => dirname(file)));
    for (const [folder, watcher] of this.#folders) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.#folders.delete(folder);
    }
    for (const folder of wanted) {
      if (!this.#folders.has(folder)) this.#watchFolder(folder);
    }
  }

  #watchFolder(folder: string): void {
    try {
      const watcher = watch(folder, (_event, name) => {
        const maybeMissing = this.anyFile && (name === null || MAY_BE_IMPORTED.test(name));
        if (maybeMissing || name === null || this.#files.has(resolve(folder, name))) this.#changed();
      });
      // The folder itself went away: whatever is there next is deployed by hand.
      watcher.on('error', () => watcher.close());
      this.#folders.set(folder, watcher);
    } catch {
      // A folder that is not there yet can't be watched.
    }
  }

  /** Whether an input was written after `time` (milliseconds since 1970). */
  async newerThan(time: number): Promise<boolean> {
    for (const file of this.#files) {
      const found = await stat(file).catch(() => null);
      if (found && found.mtimeMs > time) return true;
    }
    return false;
  }

  close(): void {
    for (const watcher of this.#folders.values()) watcher.close();
  }
}

/** Deploys, and again on each save, one at a time, until Ctrl-C; the workload stays deployed. */
export async function watchAndDeploy(context: Context, path: string, flags: DeployFlags): Promise<void> {
  const { terminal } = context;
  const interrupted = terminal.interrupted();
  const { dim } = palette(terminal.stdout, terminal.env);
  let wake = () => {};
  let saved = false;
  let quiet: NodeJS.Timeout | undefined;
  const inputs = new InputWatch(() => {
    clearTimeout(quiet);
    quiet = setTimeout(() => {
      saved = true;
      wake();
    }, QUIET_MS);
  });
  const stopped = new Promise<void>((done) => interrupted.addEventListener('abort', () => done(), { once: true }));
  try {
    let last: string | null = null;
    for (let round = 0; !interrupted.aborted; round++) {
      clearTimeout(quiet);
      saved = false;
      const started = Date.now();
      const deployed = deployRound(context, path, flags, inputs, round === 0 ? null : { last });
      // What a deploy that Ctrl-C leaves behind still says is of no use to anyone.
      deployed.catch(() => {});
      last = (await Promise.race([deployed, stopped.then(() => last)])) ?? last;
      if (interrupted.aborted) break;
      if (round === 0) writeLine(terminal.stdout, dim('Watching for changes; Ctrl-C ends it'));
      // A save between the reading of a file and the watching of its folder.
      if (await inputs.newerThan(started)) continue;
      const next = new Promise<void>((done) => {
        wake = done;
        if (saved) done();
      });
      await Promise.race([next, stopped]);
    }
  } finally {
    clearTimeout(quiet);
    inputs.close();
  }
}

/** Faults that no save can mend: they end the command when its first deploy has them. */
const LASTING = new Set(['NO_SUCH_SOURCE', 'NOT_A_SOURCE', 'IMAGE_NOT_RUNNABLE', 'NO_NAME']);
const lasting = (error: SkerryError) => error.exit === 2 || error.code in clientErrors || LASTING.has(error.code);

/** One deploy, told in a line; null when it failed. */
async function deployRound(
  context: Context,
  path: string,
  flags: DeployFlags,
  inputs: InputWatch,
  before: { last: string | null } | null,
): Promise<string | null> {
  const { stdout, stderr, env } = context.terminal;
  const progress = showProgress(context.terminal);
  const started = performance.now();
  try {
    const view = await deployOnce(context, path, flags, progress, {
      onInputs: (files) => inputs.follow(files),
      onChoice(text) {
        if (text !== inputs.choice) writeLine(stderr, printable(text));
        inputs.choice = text;
      },
    });
    progress.done();
    inputs.anyFile = false;
    const { good, dim, warn } = palette(stdout, env);
    const revision = mainRevision(view);
    const seconds = dim(`(${((performance.now() - started) / 1000).toFixed(1)} s)`);
    const state = revision === before?.last ? dim('unchanged') : good(view.status.phase);
    writeLine(stdout, `${time()} ${view.name} revision ${revision} ${state} ${seconds}`);
    if (!before?.last) for (const url of view.urls) writeLine(stdout, `  ${printable(url)}`);
    if (revision !== before?.last) for (const line of warningLines(view, warn)) writeLine(stdout, `  ${line}`);
    return revision;
  } catch (thrown) {
    progress.done();
    const error = asFailure(thrown);
    if (!before && lasting(error)) throw error;
    inputs.anyFile = true;
    writeLine(stderr, `${time()} ${palette(stderr, env).bad('failed')} ${printable(error.message)}`);
    return null;
  }
}

function time(): string {
  return new Date().toTimeString().slice(0, 8);
}
