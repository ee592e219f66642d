/** What is attached to an image of the registry: bills of materials, provenance, signatures; by what it says of itself. */
import { readFile } from 'node:fs/promises';
import { SkerryError } from '../errors/skerry-error.ts';
import type { ImageInspection } from '../gateway/admin/schemas.ts';
import { type Descriptor, parseDocument } from '../images/oci/documents.ts';
import type { Repositories, StoredManifest } from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import { attachmentKind, predicateOf } from '../images/trust/index.ts';

type AttachmentView = ImageInspection['attachments'][number];

interface Stores {
  readonly repositories: Repositories;
  readonly blobs: ContentStore;
}

/** Attachments that are shown, and the longest statement that is read to learn what it is about, in bytes. */
const MAX_ATTACHMENTS = 100;
const MAX_STATEMENT = 2 ** 20;

/** Referrers of the image and of its parts, what stands under cosign's tags, and what buildkit puts into the index. */
export async function attachmentsOf(
  stores: Stores,
  repository: string,
  digest: string,
  parts: readonly Descriptor[],
): Promise<AttachmentView[]> {
  const { repositories } = stores;
  const subjects = new Set([digest, ...parts.map((part) => part.digest)]);
  const tagged = [...subjects].flatMap((each) =>
    ['sig', 'att', 'sbom'].flatMap(
      (suffix) => repositories.manifest(repository, `${each.replace(':', '-')}.${suffix}`) ?? [],
    ),
  );
  const inside = parts
    .filter(({ annotations }) => annotations?.['vnd.docker.reference.type'] === 'attestation-manifest')
    .flatMap((part) => repositories.manifest(repository, part.digest) ?? []);
  const about = repositories.manifests(repository).filter(({ subject }) => subject !== null && subjects.has(subject));
  const all = new Map([...tagged, ...inside, ...about].map((manifest) => [manifest.digest, manifest]));
  const views: AttachmentView[] = [];
  for (const manifest of all.values()) {
    if (views.length >= MAX_ATTACHMENTS) break;
    views.push(...(await viewsOf(stores, repository, manifest)));
  }
  return views.slice(0, MAX_ATTACHMENTS);
}

/** One a layer: each is a document of its own. */
async function viewsOf(stores: Stores, repository: string, manifest: StoredManifest): Promise<AttachmentView[]> {
  const { digest, artifactType, mediaType } = manifest;
  const whole = {
    manifest: digest,
    digest,
    mediaType: artifactType ?? mediaType,
    size: manifest.size,
    predicate: null,
  };
  const layers = await stores.repositories.read(digest).then((bytes) => layersOf(bytes), none);
  if (layers.length === 0) return [{ ...whole, kind: attachmentKind(whole.mediaType, null) }];
  const views: AttachmentView[] = [];
  for (const { mediaType, digest, size, annotations } of layers) {
    const said = annotations?.['in-toto.io/predicate-type'] ?? annotations?.predicateType;
    const read = said === undefined && /json/.test(mediaType);
    const predicate = said?.slice(0, 200) ?? (read ? await readPredicate(stores, repository, digest) : null);
    // A blob of no type of its own is what the manifest says that it is.
    const generic = /^(?:application\/octet-stream|application\/vnd\.oci\.image\.layer\.v1\.tar.*)$/.test(mediaType);
    const type = generic ? (artifactType ?? mediaType) : mediaType;
    const kind = attachmentKind(type, predicate);
    views.push({ manifest: whole.manifest, digest, mediaType: type, size, predicate, kind });
  }
  return views;
}

/** Null also of one that is too long to be read. What its manifest says of its size need not be true. */
async function readPredicate({ repositories, blobs }: Stores, repository: string, digest: string) {
  const blob = repositories.blob(repository, digest);
  if (!blob || blob.size > MAX_STATEMENT) return null;
  return blobs.open(digest).then(
    async ({ path }) => predicateOf(await readFile(path, 'utf8')),
    () => null,
  );
}

function layersOf(bytes: Uint8Array): readonly Descriptor[] {
  const document = parseDocument(bytes, 'an attachment', 'its manifest');
  return document.kind === 'manifest' ? document.layers : [];
}

/** What cannot be read is shown as a whole. */
function none(error: unknown): readonly Descriptor[] {
  if (error instanceof SkerryError) return [];
  throw error;
}
