/** Facts of this machine that bear on what it can run, each cheap to see. */
import { constants } from 'node:fs';
import { access, readFile, stat, statfs } from 'node:fs/promises';
import { arch, availableParallelism, freemem, release, totalmem, type } from 'node:os';
import { dirname } from 'node:path';
import type { Doctor } from '../gateway/admin/schemas.ts';
import type { Machine } from '../runtime/scheduler/allocation/machine.ts';
import { formatBytes, parseBytes } from '../runtime/workload/units.ts';

type ProbeView = Doctor['probes'][number];

/** Below this much free disk a node is in danger, in bytes. */
const LOW_DISK_BYTES = 512 * 2 ** 20;

export function probeMachine(): ProbeView {
  const cores = availableParallelism();
  return {
    part: 'machine',
    available: true,
    provider: `${type()} ${release()} ${arch()}`,
    quality: `${cores} CPU${cores === 1 ? '' : 's'}, Node.js ${process.version}`,
    advice: [],
  };
}

/** What a cgroup leaves of the machine's memory, in bytes; null when none holds it. */
function allowedMemory(): number | null {
  // 0 or a huge number when there is no limit.
  const allowed = process.constrainedMemory();
  return allowed > 0 && allowed < totalmem() ? allowed : null;
}

/** Of the memory, for workloads when nothing is said: the rest is the node's and the system's. */
const FOR_WORKLOADS = 0.9;

/** What workloads may have; `memory` as the configuration says it. */
export function machineFor(memory: string | undefined): Machine {
  const given = memory === undefined ? null : parseBytes(memory);
  const memoryBytes = given ?? Math.floor((allowedMemory() ?? totalmem()) * FOR_WORKLOADS);
  return { memoryBytes, cpuMillicores: availableParallelism() * 1000 };
}

export function probeMemory(): ProbeView {
  const allowed = allowedMemory();
  return {
    part: 'memory',
    available: true,
    provider: allowed !== null ? `${formatBytes(allowed)} by its cgroup` : formatBytes(totalmem()),
    quality: `${formatBytes(freemem())} free`,
    advice: [],
  };
}

/** `folder`, or what there is of the way to it. */
async function nearestFolder(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => null);
  return found || dirname(folder) === folder ? folder : nearestFolder(dirname(folder));
}

/** Of the disk that the data folder is on, or will be. */
export async function probeDisk(dataFolder: string): Promise<ProbeView> {
  const found = await statfs(await nearestFolder(dataFolder));
  const free = found.bavail * found.bsize;
  return {
    part: 'disk',
    available: free > 0,
    provider: dataFolder,
    quality: `${formatBytes(free)} free`,
    advice: free < LOW_DISK_BYTES ? ['make room: deploys fail when the disk is full; what is deployed goes on'] : [],
  };
}

/** Of a data folder that no node has open. */
export async function probeDataFolder(dataFolder: string): Promise<ProbeView> {
  const nearest = await nearestFolder(dataFolder);
  const writable = await access(nearest, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  return {
    part: 'data folder',
    available: writable,
    provider: dataFolder,
    quality: writable ? (nearest === dataFolder ? 'writable' : 'will be made') : `${nearest} cannot be written`,
    advice: writable ? [] : ['run this as the user of the node, or choose another folder with --data'],
  };
}

const KVM = '/dev/kvm';

/** Whether this process may use hardware virtualization: null, or the system's code of why not. */
export async function whyNoKvm(): Promise<string | null> {
  return access(KVM, constants.R_OK | constants.W_OK).then(
    () => null,
    (error: NodeJS.ErrnoException) => error.code ?? 'EIO',
  );
}

/** Hardware virtualization, which microVMs need. `why`: what `whyNoKvm` says. */
export function describeKvm(why: string | null): ProbeView {
  const probe = (available: boolean, quality: string, ...advice: string[]): ProbeView => {
    return { part: 'KVM', available, provider: KVM, quality, advice };
  };
  if (why === null) return probe(true, 'hardware virtualization');
  if (why === 'ENOENT') {
    return probe(false, 'not there', 'turn virtualization on in the firmware, or nested virtualization in the host');
  }
  return probe(false, 'no permission to open it', 'add the user of the node to the group of /dev/kvm');
}

/** What holds containers and VMs to their limits. */
const CONTROLLERS = ['cpu', 'memory', 'pids'];

export async function probeCgroups(): Promise<ProbeView> {
  const unified = await readFile('/sys/fs/cgroup/cgroup.controllers', 'utf8').catch(() => null);
  const enabled = unified === null ? await controllersOfV1() : unified.trim().split(' ');
  const missing = CONTROLLERS.filter((name) => !enabled.includes(name));
  return {
    part: 'cgroups',
    available: missing.length === 0,
    provider: enabled.length === 0 ? 'none' : `version ${unified === null ? 1 : 2}`,
    quality: missing.length === 0 ? CONTROLLERS.join(', ') : `without ${missing.join(', ')}`,
    advice: missing.length === 0 ? [] : ['containers and VMs need these to be held to their limits'],
  };
}

/** From /proc/cgroups: name, hierarchy, number of groups, enabled. Hierarchy 0 is one that is not mounted. */
async function controllersOfV1(): Promise<string[]> {
  const text = await readFile('/proc/cgroups', 'utf8').catch(() => '');
  return text
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([name, hierarchy, , on]) => name && !name.startsWith('#') && hierarchy !== '0' && on === '1')
    .map(([name]) => name as string);
}
