/**
 * What the registry answers, by the codes of https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes.
 * Some of them happen in several ways, with a status and words of their own: `registryCode` says which is which.
 */
import { defineErrors, type SkerryError } from '../../errors/skerry-error.ts';

export const registryErrors = defineErrors({
  BLOB_UNKNOWN: {
    status: 404,
    what: (repository: string, digest: string) => `${repository} has no blob ${digest}`,
    fix: 'check the digest, or push the blob',
  },
  RANGE_UNSATISFIABLE: {
    status: 416,
    what: (range: string, size: number) => `"${range.slice(0, 100)}" is not a part of the ${size} bytes`,
    fix: 'ask for bytes that are there: bytes=FIRST-LAST',
  },
  BLOB_UPLOAD_INVALID: {
    status: 400,
    what: (why: string) => `the upload cannot go on: ${why}`,
    fix: 'ask for the state of the upload (GET on its URL), or begin a new one',
  },
  UPLOAD_OUT_OF_ORDER: {
    status: 416,
    what: (offered: string, size: number) =>
      `the chunk ${offered.slice(0, 100)} does not follow the ${size} bytes that came`,
    fix: 'send the next one: the Range header of this answer says what is there',
  },
  BLOB_UPLOAD_UNKNOWN: {
    status: 404,
    what: () => 'there is no such upload: it is finished, was given up, or has expired',
    fix: 'begin a new one',
  },
  DIGEST_INVALID: {
    status: 400,
    what: (digest: string, why: string) => `"${digest.slice(0, 200)}" ${why}`,
    fix: 'give sha256: and 64 lower-case hex digits (or sha512: and 128) of the very bytes that are sent',
  },
  MANIFEST_BLOB_UNKNOWN: {
    status: 404,
    what: (repository: string, digest: string) => `the manifest names ${digest}, and ${repository} does not have it`,
    fix: 'push what a manifest names before the manifest',
  },
  MANIFEST_INVALID: {
    status: 400,
    what: (why: string) => `the manifest is not valid: ${why}`,
    fix: 'push an OCI image manifest or index, or a Docker manifest (schema 2) or list',
  },
  MANIFEST_TOO_LARGE: {
    status: 413,
    what: (limit: number) => `the manifest has more than ${limit} bytes`,
    fix: 'make it smaller: large annotations belong into a blob',
  },
  MANIFEST_UNKNOWN: {
    status: 404,
    what: (repository: string, reference: string) => `${repository} has no manifest ${reference.slice(0, 200)}`,
    fix: 'check the tag or the digest',
  },
  NAME_INVALID: {
    status: 400,
    what: (name: string) => `"${name.slice(0, 300)}" is not the name of a repository`,
    fix: 'name it by lower-case letters and digits, with one of . _ - between them and / between its parts; 255 at most',
  },
  TAG_INVALID: {
    status: 400,
    what: (tag: string) => `"${tag.slice(0, 200)}" is not a tag`,
    fix: 'a tag has up to 128 letters, digits, _ . and -, and begins with none of the last two',
  },
  NAME_UNKNOWN: {
    status: 404,
    what: (name: string) => `there is no repository ${name}`,
    fix: 'check the name, or push to it',
  },
  SIZE_INVALID: {
    status: 400,
    what: (why: string) => why,
    fix: 'send as many bytes as the head of the request says',
  },
  PAGE_INVALID: {
    status: 400,
    what: (n: string) => `n=${n.slice(0, 50)} is not a number of entries`,
    fix: 'give a whole number, or leave n out',
  },
  UNAUTHORIZED: {
    status: 401,
    what: (why: string) => why,
    fix: 'log in with the name of a token as the user and the token as the password (`skerry token create`)',
  },
  DENIED: {
    status: 403,
    what: (what: string) => `the token does not allow ${what}`,
    fix: 'make one that does: `skerry token create --name N --scope repository:PATTERN:ACTIONS`',
  },
  UNSIGNED: {
    status: 403,
    what: (why: string) => why,
    fix: 'push it by its digest, sign that, then give it the tag',
  },
  UNSUPPORTED: {
    status: 405,
    what: (what: string) => `${what} is not supported`,
    fix: 'see docs/registry.md for what is',
  },
  NOT_AN_ENDPOINT: {
    status: 404,
    what: (path: string) => `${path.slice(0, 300)} is no path of the registry's API`,
    fix: 'the API is under /v2/',
  },
  UPSTREAM_FAILED: {
    status: 502,
    what: (registry: string, why: string) => `the upstream ${registry} did not give it: ${why}`,
    fix: 'try again; what came whole is kept',
  },
  TOOMANYREQUESTS: {
    status: 429,
    what: (limit: number) => `there are ${limit} uploads under way, the most that there may be`,
    fix: 'try again when some of them are finished',
    retryAfter: 30,
  },
});

const codes: Record<string, string> = {
  RANGE_UNSATISFIABLE: 'SIZE_INVALID',
  UPLOAD_OUT_OF_ORDER: 'BLOB_UPLOAD_INVALID',
  MANIFEST_TOO_LARGE: 'MANIFEST_INVALID',
  TAG_INVALID: 'NAME_INVALID',
  UNSIGNED: 'DENIED',
  PAGE_INVALID: 'UNSUPPORTED',
  NOT_AN_ENDPOINT: 'UNSUPPORTED',
  // Of the content store.
  DIGEST_MISMATCH: 'DIGEST_INVALID',
  BLOB_TOO_LARGE: 'SIZE_INVALID',
  BLOB_MISSING: 'BLOB_UNKNOWN',
  BLOB_CORRUPT: 'BLOB_UNKNOWN',
  STORE_FULL: 'DENIED',
  // Of deltas.
  DELTA_INVALID: 'BLOB_UPLOAD_INVALID',
  DELTA_UNAVAILABLE: 'TOOMANYREQUESTS',
};

/** A blob that was damaged is one that is not there: it can be pushed again. */
export function registryStatus({ code, status }: SkerryError): number {
  return code === 'BLOB_CORRUPT' ? 404 : status;
}

/** One of the specification's codes for all that is the client's to mend; the node's own troubles keep theirs. */
export function registryCode({ code }: SkerryError): string {
  return codes[code] ?? code;
}
