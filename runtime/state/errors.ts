import { defineErrors } from '../../errors/skerry-error.ts';

export const stateErrors = defineErrors({
  STATE_CONFLICT: {
    status: 409,
    what: (key: string, expected: number, found: number) =>
      `${key} was changed by someone else (generation ${expected} was expected, ${found} was found)`,
    fix: 'read it again and repeat the change',
  },
  STATE_KEY_INVALID: {
    status: 400,
    what: (key: string, why: string) => `the state key "${key}" ${why}`,
    fix: 'use 1 to 511 printable ASCII characters without spaces, each key once in a commit',
  },
  STATE_VALUE_INVALID: {
    status: 400,
    what: (key: string, why: string) => `the value of ${key} cannot be stored: ${why}`,
    fix: 'store what JSON can express, at most 16 MiB of it',
  },
  STATE_CORRUPT: {
    status: 500,
    what: (key: string, why: string) => `the state of this node is damaged at ${key}: ${why}`,
    fix: 'stop the node, put the state folder back from a copy or move it aside, then start it and apply your workloads again',
  },
  STATE_NEWER: {
    status: 500,
    what: (folder: string, found: number, known: number) =>
      `${folder} was written by a newer Skerry (schema version ${found}; this one knows up to ${known})`,
    fix: 'start the newer Skerry, or use another data folder',
  },
  STATE_TOO_OLD: {
    status: 500,
    what: (folder: string, found: number, known: number) =>
      `${folder} has schema version ${found}, and this Skerry (${known}) has no way to bring it forward`,
    fix: 'start an older Skerry once, which brings it forward, or use another data folder',
  },
  STATE_MIGRATION_FAILED: {
    status: 500,
    what: (folder: string, from: number, to: number, why: string) =>
      `${folder} could not be brought from schema version ${from} to ${to}: ${why}`,
    fix: 'nothing was changed: go on with the older Skerry, and report this',
  },
  STATE_DISK_FULL: {
    status: 507,
    what: (folder: string) => `no room on the disk of ${folder}: the change was not made`,
    fix: 'make room and try again; what is deployed goes on running',
  },
  STATE_NOT_WRITABLE: {
    status: 500,
    what: (folder: string, why: string) => `the state folder ${folder} cannot be written (${why})`,
    fix: 'give the user that runs the node the right to write there, or choose another folder with --data',
  },
  STATE_WRITE_FAILED: {
    status: 500,
    what: (folder: string, why: string) => `a change could not be written to ${folder}: ${why}`,
    fix: 'look at the disk (`dmesg`), then try again or restart the node',
  },
  STATE_CLOSED: {
    status: 503,
    what: () => 'the state store is closed, since the node is stopping',
    fix: 'try again when the node is up',
    retryAfter: 5,
  },
});
