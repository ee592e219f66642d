/** Manifests that hold signatures: which of their layers are some, and how cosign's is made. */
import { SkerryError } from '../../errors/skerry-error.ts';
import { type Descriptor, parseDocument } from '../oci/documents.ts';
import { OCI_CONFIG, OCI_MANIFEST } from '../oci/media-types.ts';
import { digestOf } from '../store/index.ts';
import { trustErrors } from './errors.ts';
import { isBundleType, SIGNATURE_ANNOTATION, SIMPLE_SIGNING } from './media-types.ts';
import type { Signature } from './signature.ts';

/** Of a payload or a bundle, in bytes: a bundle with its certificates and proofs has some 10 KiB. */
const MAX_BLOB = 512 * 1024;
/** Of a signature in a manifest, in characters: enough to see that it is too long. */
const MAX_ANNOTATION = 5000;
/** Signatures that one manifest may get here. */
const MAX_SIGNATURES = 100;

/** What is read for one image: more than that is not looked at. */
export class ReadBudget {
  static readonly MANIFESTS = 100;
  #manifests = ReadBudget.MANIFESTS;
  #signatures = 200;
  #bytes = 16 * 2 ** 20;

  /** False when there is no room for so many bytes any more. */
  takeManifest(size: number): boolean {
    return this.#manifests-- > 0 && this.#take(size);
  }

  takeSignature(size: number): boolean {
    return this.#signatures-- > 0 && this.#take(size);
  }

  #take(size: number): boolean {
    if (size > this.#bytes) return false;
    this.#bytes -= size;
    return true;
  }
}

/** The signatures in a manifest. What is no manifest, or cannot be read, has none: nothing counts that was not verified. */
export async function signaturesIn(
  bytes: Uint8Array,
  read: (descriptor: Descriptor) => Promise<Uint8Array>,
  budget: ReadBudget = new ReadBudget(),
): Promise<Signature[]> {
  const from = digestOf(bytes);
  const signatures: Signature[] = [];
  for (const layer of layersOf(bytes)) {
    const signature = layer.annotations?.[SIGNATURE_ANNOTATION];
    const simple = layer.mediaType === SIMPLE_SIGNING && signature !== undefined;
    if (layer.size > MAX_BLOB || (!simple && !isBundleType(layer.mediaType))) continue;
    if (!budget.takeSignature(layer.size)) continue;
    const content = await read(layer).catch((error) => {
      if (error instanceof SkerryError) return null;
      throw error;
    });
    if (content === null || digestOf(content) !== layer.digest) continue;
    if (simple)
      signatures.push({ kind: 'simple', from, payload: content, signature: signature.slice(0, MAX_ANNOTATION) });
    else signatures.push({ kind: 'bundle', from, json: Buffer.from(content).toString() });
  }
  return signatures;
}

export interface SignatureManifest {
  readonly manifest: Buffer;
  readonly config: Buffer;
}

/** Cosign's manifest with one more signature. Throws SIGNATURE_INVALID. @param before what stands under the tag now */
export function withSignature(before: Uint8Array | null, payload: Uint8Array, signature: string): SignatureManifest {
  const kept = before === null ? [] : layersOf(before).filter(({ mediaType }) => mediaType === SIMPLE_SIGNING);
  if (kept.length >= MAX_SIGNATURES) throw trustErrors.SIGNATURE_INVALID(`the image has ${kept.length} already`);
  const added: Descriptor = {
    mediaType: SIMPLE_SIGNING,
    digest: digestOf(payload),
    size: payload.length,
    annotations: { [SIGNATURE_ANNOTATION]: signature },
  };
  const layers = [...kept, added];
  // Clients read it as an image, whose configuration names its layers.
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = Buffer.from(JSON.stringify({ architecture: '', os: '', config: {}, rootfs, history: [] }));
  const named = { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length };
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: named, layers };
  return { manifest: Buffer.from(JSON.stringify(manifest)), config };
}

function layersOf(bytes: Uint8Array): readonly Descriptor[] {
  try {
    const document = parseDocument(bytes, 'a signature', 'its manifest');
    return document.kind === 'manifest' ? document.layers : [];
  } catch (error) {
    if (error instanceof SkerryError) return [];
    throw error;
  }
}
