import { defineErrors } from '../../errors/skerry-error.ts';

/** A function is told these: none names a path or a value. */
export const keyvalueErrors = defineErrors({
  KEYVALUE_BUCKET_INVALID: {
    status: 400,
    what: (why: string) => `no bucket can have this name: ${why}`,
    fix: 'name it with at most 128 bytes of text without NUL',
  },
  KEYVALUE_KEY_INVALID: {
    status: 400,
    what: (why: string) => `the key ${why}`,
    fix: 'use keys of 1 to 1024 bytes of text',
  },
  KEYVALUE_VALUE_TOO_LARGE: {
    status: 413,
    what: (bytes: number) => `the value has ${bytes} bytes, and 1 MiB is the most`,
    fix: 'keep large content elsewhere, or in pieces',
  },
  KEYVALUE_BATCH_TOO_LARGE: {
    status: 413,
    what: (why: string) => `the batch is too large: ${why}`,
    fix: 'make several of at most 1000 keys and 16 MiB',
  },
  KEYVALUE_QUOTA: {
    status: 507,
    what: (quota: string) => `the storage of this workload is full: its quota is ${quota}`,
    fix: 'delete keys, or deploy with a larger --keyvalue-quota',
  },
  KEYVALUE_NOT_A_NUMBER: {
    status: 409,
    what: (why: string) => `the value cannot be incremented: ${why}`,
    fix: 'increment keys that only increment writes',
  },
  KEYVALUE_DAMAGED: {
    status: 500,
    what: () => 'the stored value is damaged',
    fix: 'set it again or delete it, and look at the disk of the node (`dmesg`)',
  },
  KEYVALUE_DISK_FULL: {
    status: 507,
    what: () => 'no room on the disk of the node: nothing was changed',
    fix: 'make room and try again',
  },
  KEYVALUE_FAILED: {
    status: 500,
    what: () => 'the node could not read or write its key-value storage',
    fix: 'look in the log of the node and at its disk (`dmesg`)',
  },
  KEYVALUE_CLOSED: {
    status: 503,
    what: () => 'the key-value storage is closed, since the node is stopping',
    fix: 'try again when the node is up',
    retryAfter: 5,
  },
  KEYVALUE_NEWER: {
    status: 500,
    what: (folder: string) => `${folder} was written by a newer Skerry`,
    fix: 'start the newer Skerry, or move the folder aside and lose what functions stored in it',
  },
});
