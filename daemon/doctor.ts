/** What this machine can run, how well, and what would help. */
import type { Doctor } from '../gateway/admin/schemas.ts';
import type { Driver } from '../runtime/driver.ts';
import { wasmtimeAvailable } from '../runtime/drivers/wasm/wasmtime/index.ts';
import type { Isolation } from '../runtime/workload/revision.ts';
import { describeKvm, probeCgroups, probeDisk, probeMachine, probeMemory } from './machine.ts';
import type { Privileges } from './privileges.ts';

type ProbeView = Doctor['probes'][number];

const KINDS: readonly Isolation[] = ['wasm', 'container', 'vm'];

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

/** Why a driver could not be opened, and what would help. */
export interface Missing {
  readonly why: string;
  readonly advice: readonly string[];
}

const UNKNOWN: Missing = { why: 'this version of Skerry has no driver for it', advice: [] };

async function probeDriver(kind: Isolation, driver: Driver | undefined, missing = UNKNOWN): Promise<ProbeView> {
  if (!driver) {
    return { part: kind, available: false, provider: 'none', quality: missing.why, advice: [...missing.advice] };
  }
  const { isolation, advice, offers, ...probe } = await driver.probe();
  return { part: isolation, ...probe, advice: [...advice], ...(offers && { offers: [...offers] }) };
}

/** `drivers` are those that could be opened; what is in the way of a node is told in `problems`. */
export async function examine(
  drivers: ReadonlyMap<Isolation, Driver>,
  missing: ReadonlyMap<Isolation, Missing>,
  dataFolder: string,
  privileges: Privileges,
): Promise<Doctor> {
  const sandboxes = await Promise.all(KINDS.map((kind) => probeDriver(kind, drivers.get(kind), missing.get(kind))));
  const disk = await probeDisk(dataFolder);
  const machine = [probeMachine(), probeMemory(), disk, await probeCgroups(), describeKvm(await privileges.whyNoKvm())];
  const problems: string[] = [];
  if (!sandboxes.some((probe) => probe.available)) problems.push('no kind of sandbox is available');
  if (!disk.available) problems.push(`the disk of ${dataFolder} is full`);
  return { healthy: problems.length === 0, problems, probes: [...sandboxes, probeNative(), ...machine] };
}
