/** What is attached to an image: which of it is a bill of materials, a provenance, a signature. */
import { IN_TOTO, isBundleType, SIGN_PREDICATE, SIMPLE_SIGNING } from './media-types.ts';

export type AttachmentKind = 'signature' | 'SBOM (SPDX)' | 'SBOM (CycloneDX)' | 'provenance' | 'attestation' | 'other';

/** @param type its media type @param predicate what a statement is about; null when it is none, or not known */
export function attachmentKind(type: string, predicate: string | null): AttachmentKind {
  if (type === SIMPLE_SIGNING || predicate === SIGN_PREDICATE) return 'signature';
  const about = predicate ?? type;
  if (/spdx/i.test(about)) return 'SBOM (SPDX)';
  if (/cyclonedx/i.test(about)) return 'SBOM (CycloneDX)';
  if (/slsa|provenance/i.test(about)) return 'provenance';
  return predicate !== null || type === IN_TOTO || isBundleType(type) || /dsse/.test(type) ? 'attestation' : 'other';
}

/** What a statement of in-toto is about, as it stands or in an envelope or a bundle; null when it is none. */
export function predicateOf(json: string): string | null {
  const document = parseJson(json);
  const envelope = (document?.dsseEnvelope ?? document) as Record<string, unknown> | null;
  const payload = envelope?.payload;
  const statement = typeof payload === 'string' ? parseJson(Buffer.from(payload, 'base64').toString()) : document;
  const predicate = statement?.predicateType;
  return typeof predicate === 'string' ? predicate.slice(0, 200) : null;
}

function parseJson(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}
