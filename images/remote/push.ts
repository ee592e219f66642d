/** Sends an image to another registry: what it is made from first, what names that last. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { canUseDeltas, makeDelta, mayDiffer } from '../delta/index.ts';
import { type Descriptor, parseDocument } from '../oci/documents.ts';
import { ociErrors } from '../oci/errors.ts';
import { transferEach } from '../oci/transfer.ts';
import type { ContentStore } from '../store/index.ts';
import type { RemoteManifest, RemoteRepository } from './repository.ts';

export interface PushSource {
  /** As its user names it. */
  readonly image: string;
  /** Of an index or a manifest in the content store. */
  readonly root: { readonly digest: string; readonly mediaType: string };
  readonly blobs: ContentStore;
}

export interface PushOptions {
  readonly signal: AbortSignal;
  /** Blobs of the content store that may have much in common with this one; see `images/delta`. */
  readonly bases?: (blob: Descriptor) => Promise<readonly string[]>;
  /** What the registry has, of how many bytes. */
  readonly progress?: (bytes: number, total: number) => void;
}

/** As many as an index may name, and some levels of them. */
const MAX_MANIFESTS = 4096;
const MAX_DEPTH = 4;

/** Layers that may not be passed on need not be here. */
const elsewhere = /\.nondistributable\.|\.foreign\./;

interface Tree {
  /** What a manifest names stands before it. */
  readonly manifests: (RemoteManifest & { readonly digest: string })[];
  /** By digest. */
  readonly blobs: Map<string, Descriptor>;
}

/**
 * Gives the image this name in the repository: a tag, or its digest. Returns the bytes of its blobs. Throws
 * IMAGE_BLOB_MISSING, IMAGE_MALFORMED, PUSH_CHANGED, and what the repository throws.
 */
export async function pushImage(
  repository: RemoteRepository,
  source: PushSource,
  reference: string,
  { signal, bases = async () => [], progress = () => {} }: PushOptions,
): Promise<number> {
  const tree: Tree = { manifests: [], blobs: new Map() };
  await collect(source, source.root, tree, 0);
  const blobs = [...tree.blobs.values()];
  const toSend = new Map(blobs.map(({ digest, size }) => [digest, size]));
  const sent = new Map<string, number>();
  // Of a delta it is what goes over the network that counts.
  const tell = (digest: string, bytes: number, size: number) => {
    sent.set(digest, bytes);
    toSend.set(digest, size);
    progress(sum(sent.values()), sum(toSend.values()));
  };
  await transferEach(blobs, signal, async (blob, both) => {
    const { digest, size } = blob;
    const { path } = await openBlob(source, digest);
    const read = (from: number) =>
      Readable.from(
        counted(path, from, (bytes) => tell(digest, bytes, size)),
        { objectMode: false },
      );
    const make = (base: string) => makeDelta(source.blobs, digest, base);
    const delta = { bases: canUseDeltas() && mayDiffer(blob) ? await bases(blob) : [], make };
    const came = await repository.putBlob({ digest, size, delta }, read, both, (...done) => tell(digest, ...done));
    if (!came) tell(digest, size, size);
  });
  for (const manifest of tree.manifests) {
    const isRoot = manifest.digest === source.root.digest;
    await repository.putManifest(isRoot ? reference : manifest.digest, manifest, signal);
  }
  return sum(blobs.map(({ size }) => size));
}

async function collect(
  source: PushSource,
  { digest, mediaType }: PushSource['root'],
  tree: Tree,
  depth: number,
): Promise<void> {
  const { image } = source;
  if (tree.manifests.some((known) => known.digest === digest)) return;
  if (depth > MAX_DEPTH || tree.manifests.length > MAX_MANIFESTS)
    throw ociErrors.IMAGE_MALFORMED(image, 'its indexes are too many, or nested too deep');
  const bytes = await readFile((await openBlob(source, digest)).path);
  const document = parseDocument(bytes, image, 'its manifest', mediaType);
  if (document.kind === 'index') {
    for (const each of document.manifests) await collect(source, each, tree, depth + 1);
  } else {
    for (const blob of [document.config, ...document.layers]) {
      if (elsewhere.test(blob.mediaType) && !(await source.blobs.has(blob.digest))) continue;
      tree.blobs.set(blob.digest, blob);
    }
  }
  tree.manifests.push({ digest, mediaType, bytes });
}

async function openBlob({ blobs, image }: PushSource, digest: string): Promise<{ readonly path: string }> {
  if (!(await blobs.has(digest))) throw ociErrors.IMAGE_BLOB_MISSING(image, digest);
  return blobs.open(digest);
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((total, each) => total + each, 0);
}

async function* counted(path: string, from: number, tell: (bytes: number) => void): AsyncGenerator<Buffer> {
  let position = from;
  for await (const piece of createReadStream(path, { start: from, highWaterMark: 256 * 1024 })) {
    yield piece;
    position += piece.length;
    tell(position);
  }
}
