/** Whom certificates, timestamps and logs are believed from: sigstore's trusted_root.json. */
import type { TrustedRoot } from '@sigstore/protobuf-specs';
import { trustErrors } from './errors.ts';

const MAX_BYTES = 1024 * 1024;

/** Throws POLICY_INVALID. The library is loaded when it is needed first: most nodes never do. */
export async function parseTrustRoot(json: string): Promise<TrustedRoot> {
  if (Buffer.byteLength(json) > MAX_BYTES)
    throw trustErrors.POLICY_INVALID(`the trust root has more than ${MAX_BYTES} bytes`);
  const { TrustedRoot: form } = await import('@sigstore/protobuf-specs');
  let root: TrustedRoot;
  try {
    root = form.fromJSON(JSON.parse(json));
  } catch (error) {
    throw trustErrors.POLICY_INVALID('the trust root is not a trusted_root.json').because(error);
  }
  if (!root.mediaType.startsWith('application/vnd.dev.sigstore.trustedroot'))
    throw trustErrors.POLICY_INVALID('the trust root is not a trusted_root.json');
  if (root.certificateAuthorities.length === 0)
    throw trustErrors.POLICY_INVALID('the trust root has no certificate authority');
  // A certificate is valid for minutes: without a witness of when it was used nothing could be verified.
  if (root.tlogs.length === 0 && root.timestampAuthorities.length === 0)
    throw trustErrors.POLICY_INVALID('the trust root has neither a transparency log nor a timestamp authority');
  return root;
}
