/** An image that is in the content store, found by the digest of its manifest. */
import { readFile } from 'node:fs/promises';
import type { ContentStore } from '../store/index.ts';
import { type ImageConfig, parseConfig } from './config.ts';
import { type Descriptor, parseDocument } from './documents.ts';
import { ociErrors } from './errors.ts';

export interface StoredLayer {
  /** Of the blob. */
  readonly digest: string;
  /** Digest of the uncompressed archive. */
  readonly diffId: string;
}

export interface StoredImage {
  readonly config: ImageConfig;
  /** The lowest first. */
  readonly layers: readonly StoredLayer[];
}

/** Throws BLOB_MISSING, BLOB_CORRUPT, IMAGE_MALFORMED. @param image what the user calls it */
export async function readStoredImage(
  blobs: ContentStore,
  manifestDigest: string,
  image: string,
): Promise<StoredImage> {
  const read = async (digest: string) => readFile((await blobs.open(digest)).path);
  const manifest = parseDocument(await read(manifestDigest), image, 'its manifest');
  if (manifest.kind !== 'manifest') throw ociErrors.IMAGE_MALFORMED(image, 'its manifest is an index');
  const config = parseConfig(await read(manifest.config.digest), image);
  const { diffIds } = config;
  if (diffIds.length !== manifest.layers.length) {
    const counts = `${diffIds.length} layers, its manifest ${manifest.layers.length}`;
    throw ociErrors.IMAGE_MALFORMED(image, `its configuration has ${counts}`);
  }
  const layers = manifest.layers.map(({ digest }: Descriptor, i) => ({ digest, diffId: diffIds[i] as string }));
  return { config, layers };
}
