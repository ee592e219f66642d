import type { ImageCatalog } from '../images/oci/index.ts';
import type { HostLayers } from '../runtime/drivers/container/host.ts';

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
