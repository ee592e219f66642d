/** Manifests and indexes: JSON of strangers, read strictly. */
import * as z from 'zod';
import { digestOf, isDigest, splitDigest } from '../store/index.ts';
import { ociErrors } from './errors.ts';
import { isIndexType, isManifestType } from './media-types.ts';
import type { Platform } from './platform.ts';

/** Of a manifest, an index or a configuration, in bytes: what registries take at most. */
export const MAX_DOCUMENT_BYTES = 4 * 2 ** 20;
/** What Docker allows; overlayfs takes 500. */
const MAX_LAYERS = 127;
const MAX_MANIFESTS = 1000;

const descriptorSchema = z.object({
  mediaType: z.string().max(255),
  digest: z.string().refine(isDigest, { error: 'is not a digest of sha256 or sha512' }),
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).optional(),
  artifactType: z.string().max(255).optional(),
  platform: z
    .object({ os: z.string().max(100), architecture: z.string().max(100), variant: z.string().max(100).optional() })
    .optional(),
});

/** What names a blob: its digest, its size in bytes, and what it is. */
export type Descriptor = z.infer<typeof descriptorSchema>;

const indexSchema = z.object({ manifests: z.array(descriptorSchema).max(MAX_MANIFESTS) });
const manifestSchema = z.object({ config: descriptorSchema, layers: z.array(descriptorSchema).max(MAX_LAYERS) });
const kindSchema = z.object({
  schemaVersion: z.int(),
  mediaType: z.string().max(255).optional(),
  manifests: z.unknown().optional(),
  layers: z.unknown().optional(),
});

export interface Index {
  readonly kind: 'index';
  readonly manifests: readonly Descriptor[];
}

export interface Manifest {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  /** The lowest first. */
  readonly layers: readonly Descriptor[];
}

/**
 * @param image what the user calls it
 * @param what what the document is to its reader: `its manifest`
 * @param mediaType what whoever names the document says that it is; empty when nothing is said
 * Throws IMAGE_MALFORMED, IMAGE_MEDIA_TYPE.
 */
export function parseDocument(bytes: Uint8Array, image: string, what: string, mediaType = ''): Index | Manifest {
  const json = parseJson(bytes, image, what);
  const kind = check(kindSchema, json, image, what);
  const type = kind.mediaType ?? mediaType;
  if (kind.schemaVersion !== 2) {
    const written = kind.schemaVersion === 1 ? 'application/vnd.docker.distribution.manifest.v1+json' : type;
    throw ociErrors.IMAGE_MEDIA_TYPE(image, what, written);
  }
  if (kind.mediaType !== undefined && mediaType !== '' && kind.mediaType !== mediaType)
    throw ociErrors.IMAGE_MALFORMED(image, `${what} says that it is ${kind.mediaType}, and is named as ${mediaType}`);
  // One document must not be an index to one reader and a manifest to another (CVE-2021-41190).
  if (kind.manifests !== undefined && kind.layers !== undefined)
    throw ociErrors.IMAGE_MALFORMED(image, `${what} is a manifest and an index at once`);
  const isIndex = type === '' ? kind.manifests !== undefined : isIndexType(type);
  if (isIndex) return { kind: 'index', ...check(indexSchema, json, image, what) };
  if (type !== '' && !isManifestType(type)) throw ociErrors.IMAGE_MEDIA_TYPE(image, what, type);
  return { kind: 'manifest', ...check(manifestSchema, json, image, what) };
}

/** Throws IMAGE_MALFORMED. */
export function parseJson(bytes: Uint8Array, image: string, what: string): unknown {
  if (bytes.length > MAX_DOCUMENT_BYTES)
    throw ociErrors.IMAGE_MALFORMED(image, `${what} has more than ${MAX_DOCUMENT_BYTES} bytes`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw ociErrors.IMAGE_MALFORMED(image, `${what} is not JSON`).because(error);
  }
}

/** Throws IMAGE_MALFORMED with the first thing that is wrong. */
export function check<T>(schema: z.ZodType<T>, json: unknown, image: string, what: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  const where = path.length > 0 ? `${path.join('.').slice(0, 100)} of ${what}` : what;
  throw ociErrors.IMAGE_MALFORMED(image, `${where}: ${message.slice(0, 200)}`);
}

export function platformOf(descriptor: Descriptor): Platform | null {
  const { platform } = descriptor;
  return platform ? { ...platform, variant: platform.variant || null } : null;
}

/** Throws IMAGE_BLOB_MISMATCH. */
export function checkBlob(image: string, { digest, size }: Descriptor, bytes: Uint8Array): void {
  if (bytes.length !== size)
    throw ociErrors.IMAGE_BLOB_MISMATCH(image, digest, `has ${bytes.length} bytes, and was said to have ${size}`);
  if (digestOf(bytes, splitDigest(digest).algorithm) !== digest)
    throw ociErrors.IMAGE_BLOB_MISMATCH(image, digest, 'has other bytes than its digest says');
}
