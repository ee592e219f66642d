/** The images that a node has, by name: small documents in a store of documents that the node keeps anyway. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import { COMPONENT } from './media-types.ts';
import type { Platform } from './platform.ts';

export interface ImageLayer {
  readonly mediaType: string;
  /** Of the blob. */
  readonly digest: string;
  /** Of the blob, in bytes. */
  readonly size: number;
  /** Digest of the uncompressed archive; of a component its own. */
  readonly diffId: string;
}

/** What an imported image is made of; all of it is in the content store. */
export interface ImageRecord {
  readonly manifest: { readonly mediaType: string; readonly digest: string; readonly size: number };
  /** Digest of what the reference named: an index, or the manifest's own. */
  readonly root: string;
  readonly config: { readonly digest: string; readonly size: number };
  /** The lowest first. */
  readonly layers: readonly ImageLayer[];
  readonly platform: Platform;
  /** Digest of the component, where this is a Wasm artifact: its only layer, which is not unpacked. */
  readonly component?: string;
  /** In milliseconds since 1970. */
  readonly importedMs: number;
}

/** What is deployed of an image. */
export function artifactOf({ manifest, component }: ImageRecord): {
  readonly digest: string;
  readonly mediaType: string;
} {
  if (component !== undefined) return { digest: component, mediaType: COMPONENT };
  return { digest: manifest.digest, mediaType: manifest.mediaType };
}

export interface NamedImage {
  readonly name: string;
  readonly image: ImageRecord;
}

export interface RecordDocument<T> {
  readonly key: string;
  readonly generation: number;
  readonly value: T;
}

export type RecordWrite =
  | { readonly key: string; readonly expect: number; readonly value: unknown }
  | { readonly key: string; readonly expect: number; readonly delete: true };

/** What the catalog needs of the node's store of documents (`runtime/state/store.ts` is one). */
export interface RecordStore {
  get<T>(key: string): RecordDocument<T> | null;
  list<T>(prefix: string, onCorrupt?: (key: string, error: SkerryError) => void): RecordDocument<T>[];
  commit(writes: readonly RecordWrite[]): Promise<unknown>;
}

const IMAGES = 'image/';

export class ImageCatalog {
  readonly #records: RecordStore;
  /** One change at a time: each begins with what is there. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** Null when there is none. @param name as `formatReference` writes it, or a manifest's digest */
  get(name: string): ImageRecord | null {
    return this.#records.get<ImageRecord>(IMAGES + name)?.value ?? null;
  }

  /** In the order of their names. `onUnreadable` is told of damaged records; without it the first one is thrown. */
  list(onUnreadable?: (key: string, error: SkerryError) => void): NamedImage[] {
    const documents = this.#records.list<ImageRecord>(IMAGES, onUnreadable);
    return documents.map(({ key, value }) => ({ name: key.slice(IMAGES.length), image: value }));
  }

  /** Names the image, in the place of what had the name before. Resolves when it would survive a power cut. */
  put(name: string, image: ImageRecord): Promise<void> {
    return this.#change(name, (key, expect) => ({ key, expect, value: image }));
  }

  /** The blobs stay until they are swept. Nothing happens when there is none. */
  delete(name: string): Promise<void> {
    return this.#change(name, (key, expect) => (expect === 0 ? null : { key, expect, delete: true }));
  }

  /** Of all layers that images are made from: what a sweep of the unpacked layers must keep. */
  diffIds(onUnreadable: () => void): Set<string> {
    const images = this.list(onUnreadable).filter(({ image }) => image.component === undefined);
    return new Set(images.flatMap(({ image }) => image.layers.map(({ diffId }) => diffId)));
  }

  async #change(name: string, write: (key: string, expect: number) => RecordWrite | null): Promise<void> {
    const key = IMAGES + name;
    const change = this.#last.then(async () => {
      const found = write(key, this.#records.get(key)?.generation ?? 0);
      if (found) await this.#records.commit([found]);
    });
    this.#last = change.catch(() => {});
    return change;
  }
}
