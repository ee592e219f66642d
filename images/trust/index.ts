export { trustErrors } from './errors.ts';
export { judge, requireSignatures, type Verdict } from './judge.ts';
export { isAttachmentTag, isBundleType, SIMPLE_SIGNING, signatureTag } from './media-types.ts';
export { Policies } from './policies.ts';
export { describeRequirement, type Policy, policyName, type Requirement } from './policy.ts';
export { RepositorySignatures } from './repository-signatures.ts';
export type { Signature, Subject } from './signature.ts';
export { signaturesIn } from './signature-manifest.ts';
