/** Images made ready for sandboxes that run them: their layers unpacked, their users looked up. */
import { open } from 'node:fs/promises';
import { isManifestType, readStoredImage, type StoredImage } from '../../../images/oci/index.ts';
import type { ContentStore } from '../../../images/store/index.ts';
import type { Revision } from '../../workload/revision.ts';
import type { HostLayers } from '../container/host.ts';
import { type ImageUser, imageUser } from './user.ts';

/** All of an image that its sandboxes are made from. */
export interface PreparedImage {
  readonly image: StoredImage;
  /** Diff ids, the topmost first; all unpacked. */
  readonly layers: readonly string[];
  readonly user: ImageUser;
}

export class PreparedImages {
  readonly #blobs: ContentStore;
  readonly #layers: HostLayers;
  /** By artifact: revisions of the same image share it. */
  readonly #prepared = new Map<string, Promise<PreparedImage>>();

  constructor(blobs: ContentStore, layers: HostLayers) {
    this.#blobs = blobs;
    this.#layers = layers;
  }

  read({ artifact }: Revision, label: string): Promise<StoredImage> {
    if (!isManifestType(artifact.mediaType)) throw new TypeError(`${artifact.mediaType} is no image`);
    return readStoredImage(this.#blobs, artifact.digest, label);
  }

  /** Once for all revisions of it. */
  of(revision: Revision): Promise<PreparedImage> {
    const { digest } = revision.artifact;
    const found = this.#prepared.get(digest);
    if (found) return found;
    const preparing = this.read(revision, revision.workload).then((image) => this.unpack(image, revision.workload));
    this.#prepared.set(digest, preparing);
    preparing.catch(() => this.#prepared.delete(digest));
    return preparing;
  }

  /** The next one that wants it looks again whether all of it is there. */
  forget(digest: string): void {
    this.#prepared.delete(digest);
  }

  async unpack(image: StoredImage, label: string): Promise<PreparedImage> {
    const diffIds: string[] = [];
    for (const { digest, diffId } of image.layers) {
      // To open a blob is to read all of it.
      if (!(await this.#layers.has(diffId))) {
        const blob = await open((await this.#blobs.open(digest)).path);
        try {
          await this.#layers.unpack(diffId, blob.fd);
        } finally {
          await blob.close();
        }
      }
      diffIds.unshift(diffId);
    }
    const user = imageUser(label, image.config.user, await this.#layers.accounts(diffIds));
    return { image, layers: diffIds, user };
  }
}
