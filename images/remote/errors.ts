import { defineErrors } from '../../errors/skerry-error.ts';

/** Of other registries than the node's own. `image` is the image as its user named it. */
export const remoteErrors = defineErrors({
  REGISTRY_UNREACHABLE: {
    status: 502,
    what: (registry: string, why: string) => `the registry ${registry} cannot be reached (${why})`,
    fix: 'check its name, the network and DNS',
  },
  REGISTRY_DENIED: {
    status: 403,
    what: (image: string, doing: string) =>
      `its registry does not let this node ${doing} ${image}, or has no such image`,
    fix: 'check the name, and log in (`skopeo login`, `docker login`): the credentials of who calls `skerry` are used',
  },
  REGISTRY_TLS: {
    status: 502,
    what: (registry: string, why: string) => `no secure connection with the registry ${registry} (${why})`,
    fix: (registry: string) =>
      `give it a certificate that this machine trusts, or pull with --insecure-registry ${registry}`,
  },
  REGISTRY_TIMEOUT: {
    status: 504,
    what: (registry: string, seconds: number) => `the registry ${registry} did not answer within ${seconds} s`,
    fix: 'try again: what came whole is kept',
  },
  REGISTRY_REDIRECT: {
    status: 502,
    what: (registry: string, to: string, why: string) =>
      `the registry ${registry} sends this node to ${to.slice(0, 200)}, ${why}`,
    fix: 'ask who runs the registry',
  },
  REGISTRY_FAILED: {
    status: 502,
    what: (image: string, why: string) => `the registry of ${image} failed: ${why.slice(0, 300)}`,
    fix: 'try again; what came whole is kept',
  },
  PUSH_CHANGED: {
    status: 502,
    what: (image: string, sent: string, found: string) =>
      `the registry says that ${image} is ${found.slice(0, 100)}, and ${sent} was sent`,
    fix: 'push it again, and ask who runs the registry what changes it',
  },
});
