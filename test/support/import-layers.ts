/** An image that a test makes, brought into a store. */
import { importImage, openImageSource } from '../../images/oci/index.ts';
import type { ContentStore } from '../../images/store/index.ts';
import { type BuiltLayer, LayoutBuilder } from './image-builder.ts';

/** Of these layers, the lowest first. `folder`: where its layout is made. */
export async function importLayers(
  blobs: ContentStore,
  folder: string,
  layers: readonly BuiltLayer[],
  config: Parameters<LayoutBuilder['image']>[2],
): Promise<{ digest: string; mediaType: string }> {
  const layout = new LayoutBuilder(folder);
  layout.image(layers, undefined, config);
  const source = await openImageSource({ kind: 'oci', path: layout.folder, tag: null });
  const { digest, mediaType } = (await importImage(source, blobs)).record.manifest;
  return { digest, mediaType };
}
