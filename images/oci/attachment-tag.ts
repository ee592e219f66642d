/** Tags that tell of another manifest by its digest. */

const grammar = /^sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$/;

/**
 * Digest of what it is about; null when it is a tag as any other. Cosign's have an ending
 * (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#discovery); the one without is that of registries that know
 * no referrers.
 */
export function attachedTo(tag: string): string | null {
  const hex = grammar.exec(tag)?.[1];
  return hex === undefined ? null : `sha256:${hex}`;
}
