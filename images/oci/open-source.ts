import { DockerArchiveSource } from './docker-archive-source.ts';
import { openImageFiles } from './files.ts';
import { LayoutSource } from './layout-source.ts';
import type { ArchiveReference, LayoutReference } from './reference.ts';
import type { ImageSource } from './source.ts';

/** Opens an image in a folder or a file. Throws IMAGE_NOT_FOUND, IMAGE_SOURCE_UNREADABLE. */
export async function openImageSource(reference: LayoutReference | ArchiveReference): Promise<ImageSource> {
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
