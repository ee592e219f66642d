/** Signatures of an image in another registry: under cosign's tag there, and in bundles that are attached to it. */
import { SkerryError } from '../../errors/skerry-error.ts';
import type { Descriptor } from '../oci/documents.ts';
import { isBundleType, SIGN_PREDICATE, signatureTag } from './media-types.ts';
import type { Signature } from './signature.ts';
import { ReadBudget, signaturesIn } from './signature-manifest.ts';

/** What a repository elsewhere is asked for; `images/remote/` does it. */
export interface SignedRepository {
  manifest(reference: string, signal: AbortSignal): Promise<{ readonly bytes: Uint8Array }>;
  referrers(digest: string, signal: AbortSignal): Promise<readonly Descriptor[]>;
  blob(blob: { digest: string; size: number }, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** Where cosign says what a bundle states, so that none has to be fetched in vain. */
const PREDICATE_ANNOTATION = 'dev.sigstore.bundle.predicateType';

/** Throws when the registry does not answer. What is there and cannot be read counts for nothing. */
export async function remoteSignatures(
  repository: SignedRepository,
  digest: string,
  signal: AbortSignal,
): Promise<Signature[]> {
  const budget = new ReadBudget();
  const read = (blob: Descriptor) => readBlob(repository, blob, signal);
  const found: Signature[] = [];
  const attached = (await unlessBad(() => repository.referrers(digest, signal))) ?? [];
  for (const reference of [signatureTag(digest), ...bundlesOf(attached)]) {
    const manifest = await unlessBad(() => repository.manifest(reference, signal));
    if (manifest === null || !budget.takeManifest(manifest.bytes.length)) continue;
    found.push(...(await signaturesIn(manifest.bytes, read, budget)));
  }
  return found;
}

/** Digests of manifests that may hold a bundle, those that say that it is a signature first. */
function bundlesOf(referrers: readonly Descriptor[]): string[] {
  const bundles = referrers.filter(({ artifactType }) => artifactType === undefined || isBundleType(artifactType));
  const says = ({ annotations }: Descriptor) => annotations?.[PREDICATE_ANNOTATION] === SIGN_PREDICATE;
  return [...bundles.filter(says), ...bundles.filter((each) => !says(each))]
    .map(({ digest }) => digest)
    .slice(0, ReadBudget.MANIFESTS);
}

async function readBlob(repository: SignedRepository, blob: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of repository.blob(blob, signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Null where there is none, or none that can be read. */
async function unlessBad<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof SkerryError && error.code.startsWith('IMAGE_')) return null;
    throw error;
  }
}
