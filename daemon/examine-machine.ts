/** What a node on this machine could run, found out without one: for `skerry doctor`. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { asSkerryError } from '../errors/skerry-error.ts';
import type { Doctor } from '../gateway/admin/schemas.ts';
import { GatewayNeighbours } from '../gateway/neighbours.ts';
import type { Driver } from '../runtime/driver.ts';
import type { Isolation } from '../runtime/workload/revision.ts';
import type { Settings } from './config.ts';
import { examine, type Missing } from './doctor.ts';
import { probeDataFolder } from './machine.ts';
import { openDrivers, openStores } from './node.ts';
import { ownPrivileges } from './privileges.ts';
import { Undo } from './undo.ts';

/**
 * Opens what a node with these settings would open, but over a folder of its own that is removed again: the data folder
 * is only looked at, and no port is taken.
 */
export async function examineMachine(settings: Settings): Promise<Doctor> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-doctor-'));
  const undo = new Undo();
  const log = pino({ level: 'silent' });
  const problems: string[] = [];
  let drivers: ReadonlyMap<Isolation, Driver> = new Map();
  let missing: ReadonlyMap<Isolation, Missing> = new Map();
  try {
    const stores = await openStores({ ...settings, data: folder }, log, undo, []);
    ({ drivers, missing } = await openDrivers(settings, stores, log, ownPrivileges, undo, [], new GatewayNeighbours()));
  } catch (error) {
    problems.push(asSkerryError(error).what);
  }
  try {
    const report = await examine(drivers, missing, settings.data, ownPrivileges);
    const dataFolder = await probeDataFolder(settings.data);
    if (!dataFolder.available) problems.push(`the data folder ${settings.data} cannot be written`);
    problems.push(...report.problems);
    return { healthy: problems.length === 0, problems, probes: [...report.probes, dataFolder] };
  } finally {
    await undo.run(false, () => {});
    await rm(folder, { recursive: true, force: true });
  }
}
