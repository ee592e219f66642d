/** Signatures of an image in another registry, under cosign's tag there. */
import { SkerryError } from '../../errors/skerry-error.ts';
import { parseDocument } from '../oci/documents.ts';
import type { ImageSource } from '../oci/index.ts';
import type { Signature } from './signature.ts';
import { signaturesIn } from './signature-manifest.ts';

/** Closes the source. None where there is no such tag; throws when the registry does not answer. @param source opened for `signatureTag` */
export async function remoteSignatures(source: ImageSource, signal: AbortSignal): Promise<Signature[]> {
  try {
    const { bytes, mediaType } = await source.root(signal);
    const manifest = parseDocument(bytes, source.label, 'its manifest', mediaType);
    if (manifest.kind !== 'manifest') return [];
    return await signaturesIn(bytes, async (layer) => {
      const pieces: Uint8Array[] = [];
      let size = 0;
      for await (const piece of source.layer(layer, signal)) {
        size += piece.length;
        if (size > layer.size) break;
        pieces.push(piece);
      }
      return Buffer.concat(pieces);
    });
  } catch (error) {
    if (error instanceof SkerryError && error.code === 'IMAGE_NOT_FOUND') return [];
    throw error;
  } finally {
    await source.close();
  }
}
