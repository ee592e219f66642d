/**
 * Signatures of images from other registries, kept with the node: what is deployed is verified again, also while its
 * registry is away, and under the policy of the moment.
 */
import type { RecordStore } from '../oci/index.ts';
import type { Signature } from './signature.ts';

interface KeptRecord {
  readonly signatures: readonly (
    | { readonly kind: 'simple'; readonly from: string; readonly payload: string; readonly signature: string }
    | { readonly kind: 'bundle'; readonly from: string; readonly json: string }
  )[];
}

const SIGNATURES = 'signature/';
/** For each image; those that come first. */
const MAX_KEPT = 8;

export class KeptSignatures {
  readonly #records: RecordStore;

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** Empty when there are none. @param digest of what the image's name led to */
  get(digest: string): Signature[] {
    const kept = this.#records.get<KeptRecord>(SIGNATURES + digest)?.value.signatures ?? [];
    return kept.map((each) =>
      each.kind === 'simple' ? { ...each, payload: Buffer.from(each.payload, 'base64') } : each,
    );
  }

  /** In the place of those that are kept. */
  async put(digest: string, signatures: readonly Signature[]): Promise<void> {
    const key = SIGNATURES + digest;
    const value: KeptRecord = {
      signatures: signatures
        .slice(0, MAX_KEPT)
        .map((each) =>
          each.kind === 'simple' ? { ...each, payload: Buffer.from(each.payload).toString('base64') } : each,
        ),
    };
    await this.#records.commit([{ key, expect: this.#records.get(key)?.generation ?? 0, value }]);
  }

  /** Forgets those of all other images. */
  async keepOnly(digests: ReadonlySet<string>): Promise<void> {
    const gone = this.#records
      .list(SIGNATURES, () => {})
      .filter(({ key }) => !digests.has(key.slice(SIGNATURES.length)));
    if (gone.length === 0) return;
    await this.#records.commit(gone.map(({ key, generation }) => ({ key, expect: generation, delete: true })));
  }
}
