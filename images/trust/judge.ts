/** Whether an image may be used under the policies that hold for it. */
import { trustErrors } from './errors.ts';
import { describeRequirement, type Policy, verifySignature } from './policy.ts';
import { Refusal, type Signature, type Subject } from './signature.ts';

export interface Verdict {
  /** Digest of the manifest that the signature stands in. */
  readonly from: string;
  readonly kind: Signature['kind'];
  /** Null: it does not verify, and `why` says why. */
  readonly by: string | null;
  readonly why: string | null;
}

/** Of each signature, in their order. */
export async function judge(signatures: readonly Signature[], policy: Policy, subject: Subject): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const signature of signatures) {
    const { from, kind } = signature;
    try {
      verdicts.push({ from, kind, by: await verifySignature(signature, policy.requires, subject), why: null });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      verdicts.push({ from, kind, by: null, why: error.message });
    }
  }
  return verdicts;
}

/**
 * Those that count, first: each that a policy has. Throws NOT_SIGNED, SIGNATURE_REFUSED, unless each policy has a signature that
 * it requires. @param image as its user calls it
 */
export async function requireSignatures(
  image: string,
  policies: readonly Policy[],
  signatures: readonly Signature[],
  subject: Subject,
): Promise<readonly Signature[]> {
  const counting = new Set<Signature>();
  for (const policy of policies) {
    const said = `${policy.pattern} (${describeRequirement(policy.requires)})`;
    if (signatures.length === 0) throw trustErrors.NOT_SIGNED(image, said);
    const verdicts = await judge(signatures, policy, subject);
    const good = signatures.filter((_, i) => verdicts[i]?.by !== null);
    for (const signature of good) counting.add(signature);
    if (good.length > 0) continue;
    const reasons = [...new Set(verdicts.map(({ why }) => why))].slice(0, 3).join('; ');
    throw trustErrors.SIGNATURE_REFUSED(image, said, reasons);
  }
  return [...new Set([...counting, ...signatures])];
}
