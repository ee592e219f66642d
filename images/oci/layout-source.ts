/** https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md, in a folder or in a tar archive. */
import * as z from 'zod';
import { check, checkBlob, type Descriptor, parseDocument, parseJson } from './documents.ts';
import { ociErrors } from './errors.ts';
import { type ImageFiles, readDocument } from './files.ts';
import { OCI_INDEX } from './media-types.ts';
import type { ImageSource, RootDocument } from './source.ts';

const REF_NAME = 'org.opencontainers.image.ref.name';
const versionSchema = z.object({ imageLayoutVersion: z.literal('1.0.0') });

export class LayoutSource implements ImageSource {
  readonly label: string;
  readonly #files: ImageFiles;
  readonly #tag: string | null;

  constructor(label: string, files: ImageFiles, tag: string | null) {
    this.label = label;
    this.#files = files;
    this.#tag = tag;
  }

  async root(signal: AbortSignal): Promise<RootDocument> {
    const version = await this.#document('oci-layout', 'its file oci-layout', signal);
    check(versionSchema, parseJson(version, this.label, 'its file oci-layout'), this.label, 'its file oci-layout');
    const named = await this.#document('index.json', 'its index.json', signal);
    const index = parseDocument(named, this.label, 'its index.json', OCI_INDEX);
    if (index.kind !== 'index') throw ociErrors.IMAGE_MALFORMED(this.label, 'its index.json is not an index');
    const chosen = this.#choose(index.manifests);
    if (chosen === null) return { bytes: named, mediaType: OCI_INDEX };
    const bytes = await this.manifest(chosen, signal);
    checkBlob(this.label, chosen, bytes);
    return { bytes: bytes, mediaType: chosen.mediaType };
  }

  /** Null: all of it is one image for several platforms. */
  #choose(manifests: readonly Descriptor[]): Descriptor | null {
    const tags = manifests.flatMap(({ annotations }) => annotations?.[REF_NAME] ?? []);
    if (this.#tag !== null) {
      const tagged = manifests.find(({ annotations }) => annotations?.[REF_NAME] === this.#tag);
      if (!tagged) throw ociErrors.IMAGE_NOT_FOUND(this.label, tags);
      return tagged;
    }
    if (manifests.length === 1) return manifests[0]!;
    if (manifests.length === 0) throw ociErrors.IMAGE_NOT_FOUND(this.label, []);
    const isOneImage = manifests.every(({ platform }) => platform) && new Set(tags).size <= 1;
    if (!isOneImage)
      throw ociErrors.IMAGE_AMBIGUOUS(
        this.label,
        manifests.map(({ annotations, digest }) => annotations?.[REF_NAME] ?? digest),
      );
    return null;
  }

  async #document(path: string, what: string, signal: AbortSignal): Promise<Uint8Array> {
    const file = await this.#files.find(path);
    if (!file) throw ociErrors.IMAGE_SOURCE_UNREADABLE(this.label, `${path} is missing in it`);
    return readDocument(file, this.label, what, signal);
  }

  async manifest(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    return readDocument(await this.#blob(descriptor), this.label, descriptor.digest, signal);
  }

  config(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    return this.manifest(descriptor, signal);
  }

  async *layer(descriptor: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array> {
    yield* (await this.#blob(descriptor)).stream(signal);
  }

  async #blob({ digest }: Descriptor) {
    const file = await this.#files.find(`blobs/${digest.replace(':', '/')}`);
    if (!file) throw ociErrors.IMAGE_BLOB_MISSING(this.label, digest);
    return file;
  }

  close(): Promise<void> {
    return this.#files.close();
  }
}
