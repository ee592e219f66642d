import { SkerryError } from '../errors/skerry-error.ts';
import type { AdminClient } from '../gateway/admin/client.ts';
import type { ImageInspection, ProcessView, WorkloadView } from '../gateway/admin/schemas.ts';
import { WorkloadName } from '../runtime/workload/settings.ts';

/** The workload or the process of this name: they have one space of names. Throws NO_WORKLOAD when there is neither. */
export async function named(client: AdminClient, name: string): Promise<WorkloadView | ProcessView> {
  if (!WorkloadName.safeParse(name).success) return client.process(name);
  try {
    return await client.workload(name);
  } catch (missing) {
    if (!(missing instanceof SkerryError) || missing.code !== 'NO_WORKLOAD') throw missing;
    try {
      return await client.process(name);
    } catch (error) {
      throw error instanceof SkerryError && error.code === 'NO_PROCESS' ? missing : error;
    }
  }
}

/** What `find` finds, and where that is nothing, the image of this name. Throws what `find` does when there is neither. */
export async function imageOr<T>(
  client: AdminClient,
  name: string,
  find: () => Promise<T>,
): Promise<T | ImageInspection> {
  // No workload and no process has such a name.
  if (/[/:@]/.test(name)) return client.inspectImage(name);
  try {
    return await find();
  } catch (missing) {
    if (!(missing instanceof SkerryError) || !/^NO_(?:WORKLOAD|PROCESS)$/.test(missing.code)) throw missing;
    return client.inspectImage(name).catch(() => {
      throw missing;
    });
  }
}
