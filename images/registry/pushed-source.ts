/** An image that was pushed to the node's own registry, as a source of images to run. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import { ociErrors } from '../oci/errors.ts';
import { formatReference, type ImageSource, type OwnReference, type RootDocument } from '../oci/index.ts';
import type { ContentStore } from '../store/index.ts';
import type { Repositories } from './repositories.ts';

interface Named {
  readonly digest: string;
}

export class PushedSource implements ImageSource {
  readonly label: string;
  readonly #reference: OwnReference;
  readonly #repositories: Repositories;
  readonly #blobs: ContentStore;

  constructor(reference: OwnReference, repositories: Repositories, blobs: ContentStore) {
    this.label = formatReference(reference);
    this.#reference = reference;
    this.#repositories = repositories;
    this.#blobs = blobs;
  }

  /** Throws IMAGE_NOT_FOUND with the tags that there are. */
  async root(): Promise<RootDocument> {
    const { repository, tag, digest } = this.#reference;
    const found = this.#repositories.manifest(repository, digest ?? (tag as string));
    if (!found) {
      const tags = this.#repositories.tags(repository).map((each) => `${repository}:${each.tag}`);
      throw ociErrors.IMAGE_NOT_FOUND(this.label, tags);
    }
    return { bytes: await this.#read(found), mediaType: found.mediaType };
  }

  manifest(descriptor: Named): Promise<Uint8Array> {
    return this.#read(descriptor);
  }

  config(descriptor: Named): Promise<Uint8Array> {
    return this.#read(descriptor);
  }

  /** Is asked for only what the content store does not have whole. */
  async *layer({ digest }: Named, signal: AbortSignal): AsyncIterable<Uint8Array> {
    yield* createReadStream(await this.#path(digest), { signal });
  }

  async close(): Promise<void> {}

  async #read({ digest }: Named): Promise<Uint8Array> {
    return readFile(await this.#path(digest));
  }

  async #path(digest: string): Promise<string> {
    try {
      return (await this.#blobs.open(digest)).path;
    } catch (error) {
      if (error instanceof SkerryError && error.code === 'BLOB_MISSING')
        throw ociErrors.IMAGE_BLOB_MISSING(this.label, digest).because(error);
      throw error;
    }
  }
}
