/** Looks whether this machine can run microVMs and how, and opens what runs them. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { openLayerStore } from '../../images/layers/index.ts';
import { Cgroups, calibrateKvm, type HostError, hostAvailable, probeKvm } from '../../native/host/index.ts';
import type { Acceleration } from '../../runtime/drivers/microvm/host.ts';
import { StoredLayers } from './host-layers.ts';
import { LAYER_IDS } from './ids.ts';
import { MKFS_EROFS, StoredMachineDisks } from './machine-disks.ts';
import { StoredMachineFiles } from './machine-files.ts';
import { LEAST_VERSION, openQemu, PRIVATE_MEMORY, qemuProgram } from './machine-program.ts';
import { StoredTemplates } from './machine-templates.ts';
import { Machines } from './machines.ts';
import { LAUNCHER } from './split.ts';

/** What is in the way of machines, and what mends it. */
export class NoMachines extends Error {
  readonly advice: readonly string[];

  constructor(why: string, advice: readonly string[]) {
    super(why);
    this.advice = advice;
  }
}

const TUN = '/dev/net/tun';
const KVM = '/dev/kvm';
const BUILD = ['build the native parts with `npm run build`, then start the node again'];

/**
 * `dataFolder` names the node. `layers`: those that the node has open already.
 * @throws NoMachines
 */
export async function openMachines(
  dataFolder: string,
  log: (message: string, error?: unknown) => void,
  layers?: StoredLayers,
): Promise<Machines> {
  if (process.platform !== 'linux') throw new NoMachines('microVMs need Linux', []);
  if (process.geteuid?.() !== 0) throw new NoMachines('microVMs need root', ['start the node as root']);
  const path = qemuProgram();
  if (path === null || process.arch !== 'x64') {
    throw new NoMachines(`microVMs are for x86-64, this is ${process.arch}`, []);
  }
  const needed = [path, MKFS_EROFS].filter((each) => !existsSync(each));
  if (needed.length > 0) {
    throw new NoMachines(`${needed.join(', ')} is missing`, ['apt-get install qemu-system-x86 erofs-utils']);
  }
  if (![LAUNCHER, PRIVATE_MEMORY].every((each) => existsSync(each)) || !hostAvailable().available) {
    throw new NoMachines('the native parts are not built', BUILD);
  }
  if (!existsSync(TUN)) throw new NoMachines(`${TUN} is missing`, ['load the kernel module tun: modprobe tun']);
  try {
    const program = await openQemu(path);
    if (!program.atLeast(...LEAST_VERSION)) {
      const advice = [`install QEMU ${LEAST_VERSION.join('.')} or newer`];
      throw new NoMachines(`QEMU ${program.version} is too old`, advice);
    }
    const groups = await Cgroups.open();
    const acceleration = await chooseAcceleration();
    const store = layers ?? new StoredLayers(await openLayerStore(join(dataFolder, 'layers'), { range: LAYER_IDS }));
    const folders = await openFolders(join(dataFolder, 'machines'));
    const machines = new Machines({
      folder: machinesFolder(dataFolder),
      launcher: LAUNCHER,
      program,
      acceleration,
      kvmGroup: acceleration.kind === 'kvm' ? (await stat(KVM)).gid : null,
      groups,
      files: new StoredMachineFiles(folders.files),
      layers: store,
      disks: new StoredMachineDisks(folders.disks, store),
      templates: new StoredTemplates(folders.templates, `QEMU ${program.version} ${acceleration.kind}`),
      memoryBytes: totalmem(),
      log,
    });
    await machines.clear();
    return machines;
  } catch (error) {
    if (error instanceof NoMachines) throw error;
    throw new NoMachines((error as Error).message, BUILD);
  }
}

/** Where machines of a node have their folders. */
export function machinesFolder(dataFolder: string): string {
  const name = createHash('sha256').update(dataFolder).digest('hex').slice(0, 12);
  return join('/run/skerry', `${name}.machines`);
}

/** Root's alone; what a crash left half made is removed. */
async function openFolders(folder: string): Promise<Record<'files' | 'disks' | 'templates', string>> {
  const folders = {
    files: join(folder, 'files'),
    disks: join(folder, 'disks'),
    templates: join(folder, 'templates'),
  };
  for (const each of Object.values(folders)) {
    await mkdir(each, { recursive: true, mode: 0o700 });
    for (const name of await readdir(each)) {
      if (/^(?:new|part)-/.test(name)) await rm(join(each, name), { recursive: true, force: true });
    }
  }
  return folders;
}

/** Hardware where guests really run in it, by measurement: a device that opens may be an emulation. */
export async function chooseAcceleration(): Promise<Acceleration> {
  const emulated = (why: string): Acceleration => ({ kind: 'tcg', why: `in software: ${why}` });
  try {
    await probeKvm();
    const { ratio, emulated: slow, cutOff, guestNs } = await calibrateKvm();
    const figure = `${cutOff ? 'more than ' : ''}${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)} times native`;
    if (!slow) return { kind: 'kvm', why: `in hardware: a loop takes ${figure} in a guest of ${KVM}` };
    return emulated(`a guest of ${KVM} is emulated, a loop takes ${figure} (${guestNs.toFixed(1)} ns)`);
  } catch (error) {
    const { code, message } = error as HostError;
    return emulated(code === 'ENOENT' ? `there is no ${KVM}` : message);
  }
}
