// Stages native/wasm for cargo with patched dependencies: a folder with the crate's sources (links), its lock file, and a
// manifest that takes each crate named in native/wasm/patches/CRATE-*.patch from a patched copy. Cargo fetched and
// verified what is copied, by the lock file; a patch that no longer applies stops the build.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** Paths of the patches within the crate, in order. */
export function patchesOf(crate) {
  const names = readdirSync(join(crate, 'patches')).filter((name) => name.endsWith('.patch'));
  return names.sort().map((name) => `patches/${name}`);
}

function run(command, args, options) {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 2 ** 20, ...options });
  if (done.error) throw new Error(`${command} cannot be run: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`\`${command} ${args.join(' ')}\` failed:\n${done.stderr}`);
  return done.stdout;
}

/** Where cargo keeps the sources of the dependencies, by name. */
function dependencies(crate) {
  run('cargo', ['fetch', '--locked', '--quiet'], { cwd: crate, stdio: ['ignore', 'ignore', 'pipe'] });
  const metadata = run('cargo', ['metadata', '--format-version=1', '--locked', '--offline'], { cwd: crate });
  return new Map(JSON.parse(metadata).packages.map((each) => [each.name, each]));
}

/** A copy of a dependency with its patches, made once for each version and set of patches. */
function patchedCopy(dependency, patches, target) {
  const digest = createHash('sha256');
  for (const patch of patches) digest.update(readFileSync(patch));
  const name = `${dependency.name}-${dependency.version}-${digest.digest('hex').slice(0, 12)}`;
  const final = join(target, 'patched', name);
  if (existsSync(final)) return final;
  mkdirSync(dirname(final), { recursive: true });
  const part = mkdtempSync(join(target, 'patched', '.part-'));
  cpSync(dirname(dependency.manifest_path), part, { recursive: true });
  // As if the copy stood alone: inside a repository git would look for the files from its top.
  const env = { ...process.env, GIT_CEILING_DIRECTORIES: dirname(part) };
  for (const patch of patches) run('git', ['apply', patch], { cwd: part, env });
  try {
    renameSync(part, final);
  } catch (error) {
    rmSync(part, { recursive: true, force: true });
    // Another build was quicker.
    if (!existsSync(final)) throw error;
  }
  return final;
}

/** The section of a manifest that takes the patched crates from their copies. */
function patchSection(crate, target) {
  const known = dependencies(crate);
  const byName = new Map();
  for (const patch of patchesOf(crate)) {
    const file = patch.slice('patches/'.length);
    const name = [...known.keys()].filter((each) => file.startsWith(`${each}-`)).sort((a, b) => b.length - a.length)[0];
    if (name === undefined) throw new Error(`${patch} names no dependency of the lock file`);
    byName.set(name, [...(byName.get(name) ?? []), join(crate, patch)]);
  }
  let section = '[patch.crates-io]\n';
  for (const [name, patches] of byName) {
    const folder = patchedCopy(known.get(name), patches, target);
    section += `${name} = { path = ${JSON.stringify(folder)} }\n`;
  }
  return section;
}

/** An empty folder `name` below `crate`/target, with links to the crate's own files and its lock file. */
function newStage(crate, name) {
  const stage = join(crate, 'target', name);
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  // Cargo marks in it what is patched; everything else stays as locked, since it may not look elsewhere.
  copyFileSync(join(crate, 'Cargo.lock'), join(stage, 'Cargo.lock'));
  for (const { name } of readdirSync(crate, { withFileTypes: true })) {
    if (['src', 'wit', 'build.rs', 'rustfmt.toml'].includes(name)) symlinkSync(join(crate, name), join(stage, name));
  }
  return stage;
}

/** Makes the staged crate below `crate`/target and returns its folder; cargo works in it offline. */
export function stageCrate(crate, target) {
  const section = patchSection(crate, target);
  const stage = newStage(crate, 'stage');
  writeFileSync(join(stage, 'Cargo.toml'), `${readFileSync(join(crate, 'Cargo.toml'), 'utf8')}\n${section}`);
  // The corpora of fuzz/, which the unit tests run.
  symlinkSync(join(crate, 'fuzz'), join(stage, 'fuzz'));
  return stage;
}

/** Makes the staged fuzz targets, with the crate above them as a library to link, and returns their folder. */
export function stageFuzz(crate, target) {
  const section = patchSection(crate, target);
  const stage = newStage(crate, 'fuzz-stage');
  const manifest = readFileSync(join(crate, 'Cargo.toml'), 'utf8');
  writeFileSync(join(stage, 'Cargo.toml'), manifest.replace('crate-type = ["cdylib"]', 'crate-type = ["rlib"]'));
  const fuzz = join(stage, 'fuzz');
  mkdirSync(fuzz);
  writeFileSync(join(fuzz, 'Cargo.toml'), `${readFileSync(join(crate, 'fuzz', 'Cargo.toml'), 'utf8')}\n${section}`);
  // Its own dependencies are added to it; what the crate has locked stays.
  copyFileSync(join(crate, 'Cargo.lock'), join(fuzz, 'Cargo.lock'));
  symlinkSync(join(crate, 'fuzz', 'fuzz_targets'), join(fuzz, 'fuzz_targets'));
  return fuzz;
}
