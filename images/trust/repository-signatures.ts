/** Signatures in the repositories of the node's own registry: found there, and put there. */
import { readFile } from 'node:fs/promises';
import { imageErrors } from '../errors.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Repositories } from '../registry/index.ts';
import { type ContentStore, digestOf } from '../store/index.ts';
import { trustErrors } from './errors.ts';
import { signatureTag } from './media-types.ts';
import { Refusal, type Signature, type Subject } from './signature.ts';
import { ReadBudget, signaturesIn, withSignature } from './signature-manifest.ts';
import { checkPayload, decodeBase64 } from './simple-signing.ts';

const MAX_PAYLOAD = 64 * 1024;

export class RepositorySignatures {
  readonly #repositories: Repositories;
  readonly #blobs: ContentStore;
  /** One change at a time: each begins with what is there. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(repositories: Repositories, blobs: ContentStore) {
    this.#repositories = repositories;
    this.#blobs = blobs;
  }

  /**
   * Under cosign's tag, then of the manifests that are about this one. Who floods an image gets it refused at worst, not the
   * node busy. Throws BLOB_CORRUPT, STATE_CORRUPT.
   */
  async find(repository: string, digest: string): Promise<Signature[]> {
    const repositories = this.#repositories;
    const tagged = repositories.manifest(repository, signatureTag(digest));
    const about = repositories.manifests(repository).filter(({ subject }) => subject === digest);
    const found: Signature[] = [];
    const budget = new ReadBudget();
    for (const manifest of [...(tagged ? [tagged] : []), ...about]) {
      if (!budget.takeManifest(manifest.size)) continue;
      const bytes = await repositories.read(manifest.digest);
      found.push(...(await signaturesIn(bytes, (blob) => this.#read(repository, blob), budget)));
    }
    return found;
  }

  /** Puts a signature of a manifest under cosign's tag, beside those that are there. Throws SIGNATURE_INVALID. */
  add(payload: Uint8Array, signature: string, subject: Subject): Promise<void> {
    try {
      if (payload.length > MAX_PAYLOAD) throw new Refusal(`it signs more than ${MAX_PAYLOAD} bytes`);
      decodeBase64(signature);
      checkPayload(payload, subject);
    } catch (error) {
      if (error instanceof Refusal) throw trustErrors.SIGNATURE_INVALID(error.message);
      throw error;
    }
    const added = this.#last.then(() => this.#add(payload, signature, subject));
    this.#last = added.catch(() => {});
    return added;
  }

  async #add(payload: Uint8Array, signature: string, { repository, digest }: Subject): Promise<void> {
    const tag = signatureTag(digest);
    const repositories = this.#repositories;
    const before = repositories.manifest(repository, tag);
    const made = withSignature(before && (await repositories.read(before.digest)), payload, signature);
    for (const blob of [payload, made.config]) {
      const stored = await this.#blobs.putBytes(blob);
      await repositories.link(repository, stored.digest, blob.length);
    }
    await repositories.put(repository, made.manifest, {
      contentType: '',
      digest: digestOf(made.manifest),
      tags: [tag],
    });
  }

  /** Of this repository alone: what another one has is none of its business. Its size is not what a manifest says. */
  async #read(repository: string, { digest, size }: Descriptor): Promise<Uint8Array> {
    if (this.#repositories.blob(repository, digest)?.size !== size) throw imageErrors.BLOB_MISSING(digest);
    return readFile((await this.#blobs.open(digest)).path);
  }
}
