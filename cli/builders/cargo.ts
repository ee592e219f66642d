/** One build by the user's own cargo, that is the same on every machine. */
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Work } from './builder.ts';
import { builderErrors } from './errors.ts';
import type { SourceFolder } from './source-folder.ts';
import { runTool } from './toolchain.ts';

const INSTALL = 'install Rust from https://rustup.rs';

/** Of `cargo build --message-format json` (https://doc.rust-lang.org/cargo/reference/external-tools.html). */
interface Message {
  readonly reason: string;
  readonly manifest_path: string;
  readonly filenames: readonly string[];
  readonly executable: string | null;
  readonly target: { readonly kind: readonly string[] };
}

/**
 * The one program (or `cdylib`) that the folder's packages make for `target`, as a path. Throws TOOLCHAIN_MISSING for cargo and for
 * the target, TOOLCHAIN_FAILED, and PROJECT_INVALID when there is none or more than one.
 */
export async function buildWithCargo(
  folder: SourceFolder,
  target: string,
  builder: string,
  work: Work,
): Promise<string> {
  await checkTarget(folder, target, builder, work);
  work.step(`Compiling ${folder.path} with cargo`);
  const messages = await runTool(
    { command: 'cargo', builder, install: INSTALL },
    [
      ...['build', '--release', '--target', target, '--message-format', 'json-render-diagnostics'],
      ...['--config', `target.${target}.rustflags=${JSON.stringify(remap(folder, work))}`],
    ],
    folder.path,
    work,
  );
  const made = programs(messages, resolve(folder.path));
  const [file, another] = made;
  if (file !== undefined && another === undefined) return file;
  throw builderErrors.PROJECT_INVALID(
    folder.at('Cargo.toml'),
    file === undefined ? 'no program comes of it' : `${made.length} programs come of it: ${made.join(', ')}`,
    'give it one program (a component may be a library of crate-type cdylib), or name the .wasm as `main` in skerry.toml',
  );
}

async function checkTarget(folder: SourceFolder, target: string, builder: string, work: Work): Promise<void> {
  const rustc = { command: 'rustc', builder, install: INSTALL };
  const library = await runTool(rustc, ['--print', 'target-libdir', '--target', target], folder.path, work);
  if (await stat(library.trim()).catch(() => null)) return;
  throw builderErrors.TOOLCHAIN_MISSING(`Rust's target ${target}`, builder, `rustup target add ${target}`);
}

/** Messages of panics hold paths: those of this machine get a name that is the same on every other. */
function remap(folder: SourceFolder, { env }: Work): string[] {
  const home = env.CARGO_HOME ?? `${homedir()}/.cargo`;
  const rustup = env.RUSTUP_HOME ?? `${homedir()}/.rustup`;
  return [`${home}=/cargo`, `${rustup}=/rustup`, `${resolve(folder.path)}=/source`].map(
    (pair) => `--remap-path-prefix=${pair}`,
  );
}

/** What the compiler made of the folder's own packages. */
function programs(messages: string, folder: string): string[] {
  const found = new Set<string>();
  for (const line of messages.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { reason, manifest_path: manifest, filenames, executable, target } = JSON.parse(line) as Message;
    if (reason !== 'compiler-artifact' || !`${dirname(manifest)}/`.startsWith(`${folder}/`)) continue;
    if (executable !== null) found.add(executable);
    else if (target.kind.includes('cdylib')) for (const file of filenames) if (file.endsWith('.wasm')) found.add(file);
  }
  return [...found].sort();
}
