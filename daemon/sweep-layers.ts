import type { ImageCatalog } from '../images/oci/index.ts';
import type { HostLayers } from '../runtime/drivers/container/host.ts';
import type { MachineDisks } from '../runtime/drivers/microvm/host.ts';

/**
 * Removes unpacked layers that no image has and no container uses. An image is named in the catalog before its layers are
 * unpacked, so that none of them goes in between; they are unpacked again from the content store when they are needed.
 * @param inUse diff ids of the layers under containers that there are
 */
export async function sweepLayers(
  layers: Pick<HostLayers, 'list' | 'delete'>,
  images: Pick<ImageCatalog, 'diffIds'>,
  inUse: ReadonlySet<string>,
): Promise<void> {
  const listed = await layers.list();
  let readable = true;
  const kept = images.diffIds(() => {
    readable = false;
  });
  // An image that cannot be read may have any of them.
  if (!readable) return;
  for (const diffId of listed) if (!kept.has(diffId) && !inUse.has(diffId)) await layers.delete(diffId);
}

/** Removes root disks of machines whose images are gone; those that machines have now stay. */
export async function sweepDisks(disks: Pick<MachineDisks, 'keep'>, images: Pick<ImageCatalog, 'list'>): Promise<void> {
  let readable = true;
  const listed = images.list(() => {
    readable = false;
  });
  if (!readable) return;
  const containers = listed.filter(({ image }) => image.component === undefined);
  await disks.keep(containers.map(({ image }) => image.layers.map(({ diffId }) => diffId).reverse()));
}
