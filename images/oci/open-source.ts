import { DockerArchiveSource } from './docker-archive-source.ts';
import { openImageFiles } from './files.ts';
import { LayoutSource } from './layout-source.ts';
import type { OwnReference, Reference } from './reference.ts';
import { type RegistryOptions, RegistrySource } from './registry-source.ts';
import type { ImageSource } from './source.ts';

/**
 * Opens what a reference names, but for names in the node's own store, which the catalog answers. Throws IMAGE_NOT_FOUND,
 * IMAGE_SOURCE_UNREADABLE.
 */
export async function openImageSource(
  reference: Exclude<Reference, OwnReference>,
  options: RegistryOptions,
): Promise<ImageSource> {
  if (reference.kind === 'registry') return new RegistrySource(reference, options);
  const { kind, path } = reference;
  const tag = reference.kind === 'oci' ? reference.tag : null;
  const label = `${kind}:${path}${tag === null ? '' : `:${tag}`}`;
  const files = await openImageFiles(path);
  try {
    // Docker since version 25 writes both forms into one archive; the layout has the true manifest.
    const isLayout = kind === 'oci' || (await files.find('oci-layout')) !== null;
    return isLayout ? new LayoutSource(label, files, tag) : new DockerArchiveSource(label, files);
  } catch (error) {
    await files.close();
    throw error;
  }
}
