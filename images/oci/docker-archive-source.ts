/**
 * What `docker save` and skopeo's docker-archive write: `manifest.json` names configuration and layers by their paths.
 * There is no manifest in it; one is made, the same for the same archive.
 */
import * as z from 'zod';
import { digestOf, digestOfStream } from '../store/index.ts';
import { parseConfig } from './config.ts';
import { check, type Descriptor, parseJson } from './documents.ts';
import { ociErrors } from './errors.ts';
import { type ImageFile, type ImageFiles, readDocument } from './files.ts';
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from './media-types.ts';
import type { ImageSource, RootDocument } from './source.ts';

const schema = z.array(
  z.object({
    Config: z.string(),
    RepoTags: z.array(z.string()).nullish(),
    Layers: z.array(z.string()).max(1000),
  }),
);

const WHAT = 'its manifest.json';

export class DockerArchiveSource implements ImageSource {
  readonly label: string;
  readonly #files: ImageFiles;
  readonly #layers = new Map<string, ImageFile>();
  #config: Uint8Array = new Uint8Array();

  constructor(label: string, files: ImageFiles) {
    this.label = label;
    this.#files = files;
  }

  async root(signal: AbortSignal): Promise<RootDocument> {
    const bytes = await readDocument(await this.#file('manifest.json'), this.label, WHAT, signal);
    const images = check(schema, parseJson(bytes, this.label, WHAT), this.label, WHAT);
    if (images.length > 1)
      throw ociErrors.IMAGE_AMBIGUOUS(
        this.label,
        images.map(({ RepoTags, Config }) => RepoTags?.[0] ?? Config),
      );
    const [image] = images;
    if (!image) throw ociErrors.IMAGE_NOT_FOUND(this.label, []);
    this.#config = await readDocument(await this.#file(image.Config), this.label, 'its configuration', signal);
    const { diffIds } = parseConfig(this.#config, this.label);
    if (diffIds.length !== image.Layers.length)
      throw ociErrors.IMAGE_MALFORMED(
        this.label,
        `its configuration has ${diffIds.length} layers, and ${WHAT} ${image.Layers.length}`,
      );
    const layers: Descriptor[] = [];
    for (const [number, path] of image.Layers.entries())
      layers.push(await this.#describe(await this.#file(path), diffIds[number]!, signal));
    const config = { mediaType: OCI_CONFIG, digest: digestOf(this.#config), size: this.#config.length };
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
    return { bytes: Buffer.from(JSON.stringify(manifest)), mediaType: OCI_MANIFEST };
  }

  /** A layer that is not compressed has the digest that the configuration says; it is compared when it is stored. */
  async #describe(file: ImageFile, diffId: string, signal: AbortSignal): Promise<Descriptor> {
    const start: Uint8Array[] = [];
    for await (const piece of file.stream(signal, Math.min(4, file.size))) start.push(piece);
    const magic = Buffer.concat(start).toString('hex');
    const suffix = magic.startsWith('1f8b') ? '+gzip' : magic === '28b52ffd' ? '+zstd' : '';
    const digest = suffix === '' ? diffId : await digestOfStream(file.stream(signal));
    this.#layers.set(digest, file);
    return { mediaType: `${OCI_LAYER}${suffix}`, digest, size: file.size };
  }

  async #file(path: string): Promise<ImageFile> {
    const file = await this.#files.find(path);
    if (file) return file;
    if (path === 'manifest.json')
      throw ociErrors.IMAGE_SOURCE_UNREADABLE(this.label, 'neither manifest.json nor oci-layout is in it');
    throw ociErrors.IMAGE_BLOB_MISSING(this.label, path);
  }

  async manifest({ digest }: Descriptor): Promise<Uint8Array> {
    throw ociErrors.IMAGE_BLOB_MISSING(this.label, digest);
  }

  async config(): Promise<Uint8Array> {
    return this.#config;
  }

  layer({ digest }: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const file = this.#layers.get(digest);
    if (!file) throw ociErrors.IMAGE_BLOB_MISSING(this.label, digest);
    return file.stream(signal);
  }

  close(): Promise<void> {
    return this.#files.close();
  }
}
