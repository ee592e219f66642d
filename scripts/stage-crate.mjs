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

/**
 * A folder `name` below `crate`/target with this manifest, the crate's lock file and links to its own files; `add` puts in
 * more. One that is as it should be is left alone: cargo builds anew what has a new time.
 */
function stageFolder(crate, name, manifest, add) {
  const stage = join(crate, 'target', name);
  const stamp = join(stage, '.stamp');
  const lock = readFileSync(join(crate, 'Cargo.lock'), 'utf8');
  const links = readdirSync(crate).filter((each) => ['src', 'wit', 'build.rs', 'rustfmt.toml'].includes(each));
  const made = JSON.stringify([manifest, lock, links]);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === made) return stage;
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  writeFileSync(join(stage, 'Cargo.toml'), manifest);
  // Cargo marks in it what is patched; everything else stays as locked, since it may not look elsewhere.
  writeFileSync(join(stage, 'Cargo.lock'), lock);
  for (const link of links) symlinkSync(join(crate, link), join(stage, link));
  add(stage);
  writeFileSync(stamp, made);
  return stage;
}

/** Makes the staged crate below `crate`/target and returns its folder; cargo works in it offline. */
export function stageCrate(crate, target) {
  const manifest = `${readFileSync(join(crate, 'Cargo.toml'), 'utf8')}\n${patchSection(crate, target)}`;
  return stageFolder(crate, 'stage', manifest, (stage) => {
    // The corpora of fuzz/, which the unit tests run.
    symlinkSync(join(crate, 'fuzz'), join(stage, 'fuzz'));
  });
}

/** Makes the staged fuzz targets, with the crate above them as a library to link, and returns their folder. */
export function stageFuzz(crate, target) {
  const library = readFileSync(join(crate, 'Cargo.toml'), 'utf8').replace('["cdylib"]', '["rlib"]');
  const targets = `${readFileSync(join(crate, 'fuzz', 'Cargo.toml'), 'utf8')}\n${patchSection(crate, target)}`;
  const stage = stageFolder(crate, 'fuzz-stage', library, () => {});
  const fuzz = join(stage, 'fuzz');
  mkdirSync(fuzz, { recursive: true });
  writeFileSync(join(fuzz, 'Cargo.toml'), targets);
  // Its own dependencies are added to it; what the crate has locked stays.
  if (!existsSync(join(fuzz, 'Cargo.lock'))) copyFileSync(join(crate, 'Cargo.lock'), join(fuzz, 'Cargo.lock'));
  if (!existsSync(join(fuzz, 'fuzz_targets')))
    symlinkSync(join(crate, 'fuzz', 'fuzz_targets'), join(fuzz, 'fuzz_targets'));
  return fuzz;
}
