/** What this machine can run, how well, and what would help. */
import { statfs } from 'node:fs/promises';
import { freemem, release, totalmem } from 'node:os';
import type { Doctor } from '../gateway/admin/schemas.ts';
import type { Driver } from '../runtime/driver.ts';
import { wasmtimeAvailable } from '../runtime/drivers/wasm/wasmtime/index.ts';
import type { Isolation } from '../runtime/workload/revision.ts';
import { formatBytes } from '../runtime/workload/units.ts';

type ProbeView = Doctor['probes'][number];

/** Below this much free disk a node is in danger, in bytes. */
const LOW_DISK_BYTES = 512 * 2 ** 20;

async function probeDisk(folder: string): Promise<ProbeView> {
  const found = await statfs(folder);
  const free = found.bavail * found.bsize;
  const low = free < LOW_DISK_BYTES;
  return {
    part: 'disk',
    available: free > 0,
    provider: folder,
    quality: `${formatBytes(free)} free`,
    advice: low ? ['make room: deploys fail when the disk is full; what is deployed goes on'] : [],
  };
}

function probeMemory(): ProbeView {
  return {
    part: 'memory',
    available: true,
    provider: `Linux ${release()}`,
    quality: `${formatBytes(freemem())} of ${formatBytes(totalmem())} free`,
    advice: [],
  };
}

function probeNative(): ProbeView {
  const native = wasmtimeAvailable();
  return {
    part: 'native engine',
    available: native.available,
    provider: native.available ? native.version : 'none',
    quality: native.available ? 'built' : native.why,
    advice: native.available ? [] : ['install Rust (rustup), then `npm run build`'],
  };
}

function noDriver(isolation: Isolation): ProbeView {
  return {
    part: isolation,
    available: false,
    provider: 'none',
    quality: 'this version of Skerry has no driver for it',
    advice: [],
  };
}

export async function examine(drivers: ReadonlyMap<Isolation, Driver>, dataFolder: string): Promise<Doctor> {
  const kinds: Isolation[] = ['wasm', 'container', 'vm'];
  const probes = await Promise.all(
    kinds.map(async (kind): Promise<ProbeView> => {
      const driver = drivers.get(kind);
      if (!driver) return noDriver(kind);
      const { isolation, advice, ...probe } = await driver.probe();
      return { part: isolation, ...probe, advice: [...advice] };
    }),
  );
  const all = [...probes, probeNative(), await probeDisk(dataFolder), probeMemory()];
  const healthy = all.some((probe) => drivers.has(probe.part as Isolation) && probe.available);
  return { healthy: healthy && all.every((probe) => probe.part !== 'disk' || probe.available), probes: all };
}
