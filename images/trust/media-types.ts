/** https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and https://docs.sigstore.dev/about/bundle/ */

export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
export const SIGNATURE_ANNOTATION = 'dev.cosignproject.cosign/signature';
/** Of a statement that an image is signed; other statements about it (an SBOM) say no such thing. */
export const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
export const IN_TOTO = 'application/vnd.in-toto+json';

const bundle = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.[3-9]\+json|\+json;version=0\.[1-3])$/;
export const isBundleType = (mediaType: string): boolean => bundle.test(mediaType);

/** The tag under which cosign looks for signatures of what has this digest. */
export function signatureTag(digest: string): string {
  return `${digest.replace(':', '-')}.sig`;
}
