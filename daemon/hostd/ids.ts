/**
 * Users of the host that stand for those of containers. Above what systemd gives to its own (524288 to 1879048191,
 * https://systemd.io/UIDS-GIDS/), below 2^31, which some file systems do not pass.
 */
import type { IdRange } from '../../images/layers/index.ts';

const FIRST = 0x7000_0000;
/** Ids of one container. */
const COUNT = 0x1_0000;
/** Containers at once. */
export const MOST_CONTAINERS = 4000;

/** Owners of unpacked layers on the disk: nobody's but theirs. */
export const LAYER_IDS: IdRange = { base: FIRST, count: COUNT };

/** The ids of the container with this number, from 0 on. */
export function containerIds(slot: number): IdRange {
  return { base: FIRST + COUNT * (slot + 1), count: COUNT };
}

/** Users of builds from Dockerfiles: of no container. */
export const BUILD_IDS: IdRange = containerIds(MOST_CONTAINERS);

/** Machines at once. */
export const MOST_MACHINES = 4000;

/** The user, and group, of the monitor of the machine with this number, from 0 on. */
export function monitorUser(slot: number): number {
  return BUILD_IDS.base + BUILD_IDS.count + slot;
}
