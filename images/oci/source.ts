/** Where an image comes from. One is made for each import, and closed behind it. */
import type { Descriptor } from './documents.ts';

export interface RootDocument {
  readonly bytes: Uint8Array;
  /** As whoever names it says; empty when nothing is said. */
  readonly mediaType: string;
}

/**
 * The bytes that a source gives for a descriptor are not trusted: whoever reads them compares digest and size. Only `root`
 * compares by itself, where what it gives was named by a digest. Each method throws the errors of `errors.ts`, and what
 * `signal` aborts with.
 */
export interface ImageSource {
  /** The image as its user named it. */
  readonly label: string;
  /** The index or the manifest that the reference names. */
  root(signal: AbortSignal): Promise<RootDocument>;
  /** An index or a manifest that another one names. At most as many bytes as its descriptor says. */
  manifest(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array>;
  /** The configuration of the manifest that was given last, or chosen as the root. */
  config(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array>;
  layer(descriptor: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** The layer as a delta (`images/delta`) from one of these blobs, where the source can do that; else its bytes. */
  layerOrDelta?(
    descriptor: Descriptor,
    bases: readonly string[],
    signal: AbortSignal,
  ): Promise<Buffer | AsyncIterable<Uint8Array>>;
  /** Removes what was kept for the import. Idempotent. */
  close(): Promise<void>;
}
