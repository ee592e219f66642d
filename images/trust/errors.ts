import { defineErrors } from '../../errors/skerry-error.ts';

export const trustErrors = defineErrors({
  POLICY_INVALID: {
    status: 400,
    what: (why: string) => `the policy is not valid: ${why}`,
    fix: 'give a pattern of repositories, and --key F, or --identity I, --issuer U and --trust-root F',
  },
  NO_POLICY: {
    status: 404,
    what: (pattern: string) => `there is no policy for ${pattern.slice(0, 300)}`,
    fix: 'see `skerry policy ls`',
  },
  POLICY_UNREADABLE: {
    status: 500,
    what: (why: string) => `a policy cannot be read, so that nothing is known to be allowed: ${why.slice(0, 300)}`,
    fix: 'set that policy again, or put the state folder back from a copy; until then no image is deployed',
  },
  NOT_SIGNED: {
    status: 403,
    what: (image: string, policy: string) => `${image} has no signature, and the policy ${policy} requires one`,
    fix: 'sign it (`skerry sign REF --key F`, or cosign), or change the policy',
  },
  SIGNATURE_REFUSED: {
    status: 403,
    what: (image: string, policy: string, why: string) =>
      `no signature of ${image} is one that the policy ${policy} requires: ${why}`,
    fix: 'sign it with what the policy names (`skerry policy ls`), or change the policy',
  },
  SIGNATURE_INVALID: {
    status: 400,
    what: (why: string) => `this signature cannot be attached: ${why}`,
    fix: 'sign it again with `skerry sign`',
  },
  NOT_OF_THIS_REGISTRY: {
    status: 400,
    what: (image: string) => `${image} is not in the registry of this node, where its signature would be kept`,
    fix: 'sign it in its own registry with cosign, or push it to this node first',
  },
});
