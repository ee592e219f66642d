/**
 * What a registry must know of a manifest: what it is, what it names, what it refers to. More is allowed in it than what
 * a node can run: artifacts of any kind, fields of others. https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md
 */
import * as z from 'zod';
import { isIndexType, isManifestType, MAX_DOCUMENT_BYTES } from '../oci/index.ts';
import { isDigest } from '../store/index.ts';
import { registryErrors } from './errors.ts';

const digest = z.string().refine(isDigest, { error: 'is not a digest' });
const mediaType = z.string().min(1).max(255);
const descriptorSchema = z.object({ mediaType, digest, size: z.int().min(0) });

const fields = {
  schemaVersion: z.literal(2),
  mediaType: mediaType.optional(),
  artifactType: mediaType.optional(),
  subject: descriptorSchema.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
};
const manifestSchema = z.object({
  ...fields,
  config: descriptorSchema,
  // Go writes an empty list as null.
  layers: z.array(descriptorSchema).nullable(),
  manifests: z.undefined({ error: 'it is a manifest and an index at once' }).optional(),
});
const indexSchema = z.object({
  ...fields,
  manifests: z.array(descriptorSchema).nullable(),
  layers: z.undefined({ error: 'it is a manifest and an index at once' }).optional(),
});

/** Layers that may not be passed on: they are fetched from elsewhere and need not be here. */
const elsewhere = /^application\/vnd\.(?:oci\.image\.layer\.nondistributable\.|docker\.image\.rootfs\.foreign\.diff\.)/;

export interface ManifestDocument {
  readonly mediaType: string;
  /** Blobs that must be there, each once. */
  readonly blobs: readonly string[];
  /** Manifests that must be there, each once. */
  readonly manifests: readonly string[];
  /** Digest of the manifest that this one is about; it need not be there. */
  readonly subject: string | null;
  /** As referrers are told of it; null where there is none. */
  readonly artifactType: string | null;
  readonly annotations: Readonly<Record<string, string>>;
}

/** `contentType` is what its sender calls it; empty: as the document says itself. Throws MANIFEST_INVALID, MANIFEST_TOO_LARGE. */
export function parseManifest(bytes: Uint8Array, contentType: string): ManifestDocument {
  if (bytes.length > MAX_DOCUMENT_BYTES) throw registryErrors.MANIFEST_TOO_LARGE(MAX_DOCUMENT_BYTES);
  const json = parseJson(bytes);
  const type = typeOf(json, contentType.split(';')[0]!.trim().toLowerCase());
  if (isIndexType(type)) {
    const index = check(indexSchema, json);
    const { artifactType = null } = index;
    return { ...common(index), mediaType: type, artifactType, blobs: [], manifests: unique(index.manifests ?? []) };
  }
  const manifest = check(manifestSchema, json);
  const { config, layers } = manifest;
  const needed = (layers ?? []).filter((layer) => !elsewhere.test(layer.mediaType));
  const artifactType = manifest.artifactType ?? config.mediaType;
  return { ...common(manifest), mediaType: type, artifactType, blobs: unique([config, ...needed]), manifests: [] };
}

/** A blob as a manifest names it. */
export interface NamedBlob {
  readonly mediaType: string;
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** As a manifest that was accepted says; null when it does not name the blob. */
export function namedBlob(manifest: Uint8Array, digest: string): NamedBlob | null {
  const { config, layers } = check(manifestSchema, parseJson(manifest));
  return [config, ...(layers ?? [])].find((blob) => blob.digest === digest) ?? null;
}

function common({ subject, annotations = {} }: z.infer<typeof manifestSchema> | z.infer<typeof indexSchema>) {
  return { subject: subject?.digest ?? null, annotations };
}

function unique(descriptors: readonly { digest: string }[]): string[] {
  return [...new Set(descriptors.map((descriptor) => descriptor.digest))];
}

/** One document must not be an index to one reader and a manifest to another (CVE-2021-41190). */
function typeOf(json: unknown, contentType: string): string {
  const said = (json as { mediaType?: unknown } | null)?.mediaType;
  const inside = typeof said === 'string' ? said : '';
  if (inside !== '' && contentType !== '' && inside !== contentType)
    throw registryErrors.MANIFEST_INVALID(
      `it says that it is ${inside.slice(0, 100)}, and was sent as ${contentType.slice(0, 100)}`,
    );
  const type = inside || contentType;
  if (type === '') throw registryErrors.MANIFEST_INVALID('neither it nor its Content-Type says what it is');
  if (!isIndexType(type) && !isManifestType(type))
    throw registryErrors.MANIFEST_INVALID(`its media type "${type.slice(0, 100)}" is not known here`);
  return type;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw registryErrors.MANIFEST_INVALID('it is not JSON').because(error);
  }
}

function check<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw registryErrors.MANIFEST_INVALID(`${path.join('.').slice(0, 100) || 'it'}: ${message.slice(0, 200)}`);
}
