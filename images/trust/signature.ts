/** A signature as it was found, of which nothing is known yet. */
export type Signature =
  | {
      readonly kind: 'simple';
      /** Digest of the manifest that it stands in. */
      readonly from: string;
      readonly payload: Uint8Array;
      /** As the manifest says; base64. */
      readonly signature: string;
    }
  | { readonly kind: 'bundle'; readonly from: string; readonly json: string };

/** What a signature must be about. */
export interface Subject {
  /** Of the index or the manifest that the name leads to. */
  readonly digest: string;
  /** Its very bytes; null: they are not here. */
  readonly bytes: Uint8Array | null;
  /** Without its registry. */
  readonly repository: string;
}

/** Why a signature does not count, in words that follow a colon. */
export class Refusal extends Error {}
