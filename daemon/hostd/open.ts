/** Looks whether this machine can run containers, and opens what runs them. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildErrors } from '../../images/build/errors.ts';
import { openLayerStore } from '../../images/layers/index.ts';
import { Cgroups, hostAvailable } from '../../native/host/index.ts';
import { CAPABILITIES } from './container-config.ts';
import { Containers } from './containers.ts';
import { StoredLayers } from './host-layers.ts';
import { LAYER_IDS } from './ids.ts';
import { ImageBuilder } from './image-builder.ts';
import { OciRuntime, RUNTIME_NAMES, type RuntimeName } from './oci-runtime.ts';
import { BUILDAH, CONMON, installCommand, missingOf, RUNTIMES, SECCOMP_PROFILE } from './packages.ts';
import { SeccompProfile, seccompFilter } from './seccomp.ts';
import { LAUNCHER } from './split.ts';
import { Volumes } from './volumes.ts';

const run = promisify(execFile);

/** What is in the way of containers, and what mends it. */
export class NoContainers extends Error {
  readonly advice: readonly string[];

  constructor(why: string, advice: readonly string[]) {
    super(why);
    this.advice = advice;
  }
}

/**
 * `dataFolder` names the node: two of them on one machine keep out of each other's way. `names`: runtimes that new
 * containers may run by, the best first. Throws NoContainers.
 */
export async function openContainers(
  dataFolder: string,
  log: (message: string, error?: unknown) => void,
  names: readonly RuntimeName[] = RUNTIME_NAMES,
): Promise<Containers> {
  if (process.platform !== 'linux') throw new NoContainers('containers need Linux', []);
  if (process.geteuid?.() !== 0) {
    throw new NoContainers('containers need root', ['start the node as root']);
  }
  const runtime = names.map((name) => new OciRuntime(name)).find(({ isHere }) => isHere);
  const needed = [...missingOf([CONMON]), ...(runtime ? [] : [RUNTIMES.crun]), ...missingOf([SECCOMP_PROFILE])];
  if (!runtime || needed.length > 0)
    throw new NoContainers(`${needed.join(', ')} is missing`, [installCommand(needed)]);
  if (!existsSync(LAUNCHER) || !hostAvailable().available) {
    throw new NoContainers('the native parts are not built', [
      'build them with `npm run build`, then start the node again',
    ]);
  }
  const name = createHash('sha256').update(dataFolder).digest('hex').slice(0, 12);
  try {
    const groups = await Cgroups.open();
    const profile = SeccompProfile.parse(JSON.parse(await readFile(SECCOMP_PROFILE, 'utf8')));
    const seccomp = seccompFilter(profile, CAPABILITIES);
    const version = await runtime.version();
    const folder = join('/run/skerry', name);
    const layers = new StoredLayers(await openLayerStore(join(dataFolder, 'layers'), { range: LAYER_IDS }));
    const volumes = await Volumes.open(join(dataFolder, 'volumes'));
    const programs = { conmon: CONMON, launcher: LAUNCHER };
    return new Containers({ folder, programs, runtime, version, seccomp, groups, layers, volumes, log });
  } catch (error) {
    throw new NoContainers((error as Error).message, ['build the native parts with `npm run build`']);
  }
}

/** Throws NO_IMAGE_BUILDER. */
export async function openImageBuilder(dataFolder: string): Promise<ImageBuilder> {
  if (process.platform !== 'linux' || process.geteuid?.() !== 0) throw buildErrors.NO_IMAGE_BUILDER('it is not root');
  const needed = [BUILDAH, RUNTIMES.crun, LAUNCHER].find((path) => !existsSync(path));
  if (needed !== undefined || !hostAvailable().available) {
    throw buildErrors.NO_IMAGE_BUILDER(`${needed ?? 'the host layer'} is missing`);
  }
  try {
    const { stdout } = await run(BUILDAH, ['--version']);
    const provider = /^buildah version (\S+)/.exec(stdout)?.[1] ?? '';
    const groups = await Cgroups.open();
    const folder = join(dataFolder, 'builds');
    return await ImageBuilder.open({ folder, groups, provider: `buildah ${provider}`.trim(), memoryBytes: totalmem() });
  } catch (error) {
    throw buildErrors.NO_IMAGE_BUILDER((error as Error).message).because(error);
  }
}
