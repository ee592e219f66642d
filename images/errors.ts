import { defineErrors } from '../errors/skerry-error.ts';

export const imageErrors = defineErrors({
  DIGEST_INVALID: {
    status: 400,
    what: (digest: string) => `"${digest.slice(0, 100)}" is not a digest`,
    fix: 'give sha256: and 64 lower-case hex digits (or sha512: and 128)',
  },
  DIGEST_MISMATCH: {
    status: 400,
    what: (expected: string, found: string) => `the content has the digest ${found}, not ${expected}`,
    fix: 'send it again: it was changed or cut on the way',
  },
  BLOB_TOO_LARGE: {
    status: 413,
    what: (limit: number) => `the content is larger than the ${limit} bytes allowed`,
    fix: 'send less, or raise the limit',
  },
  BLOB_MISSING: {
    status: 404,
    what: (digest: string) => `there is no ${digest} in the content store of this node`,
    fix: 'deploy, push or pull it again',
  },
  BLOB_CORRUPT: {
    status: 500,
    what: (digest: string) => `the stored copy of ${digest} was damaged; it has been put aside and will not be served`,
    fix: 'deploy, push or pull it again, and check the disk',
  },
  STORE_DISK_FULL: {
    status: 507,
    what: (folder: string) => `no room on the disk of ${folder}: nothing was stored`,
    fix: 'make room and try again; what is stored already is whole',
  },
  STORE_FULL: {
    status: 507,
    what: (limit: number) =>
      `the content store may have ${limit} bytes (--store-size), and nothing in it can go: nothing was stored`,
    fix: 'remove what is not needed (`skerry images`, `skerry image rm`, `skerry image prune`), or allow more',
  },
  STORE_NOT_WRITABLE: {
    status: 500,
    what: (folder: string, why: string) => `the content store ${folder} cannot be written (${why})`,
    fix: 'give the user that runs the node the right to write there, or choose another folder with --data',
  },
  STORE_FAILED: {
    status: 500,
    what: (folder: string, why: string) => `the content store ${folder} failed: ${why}`,
    fix: 'look at the disk (`dmesg`), then try again',
  },
});
