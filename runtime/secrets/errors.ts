import { defineErrors } from '../../errors/skerry-error.ts';

/** None of these says anything of a secret's value. */
export const secretErrors = defineErrors({
  SECRET_MISSING: {
    status: 400,
    what: (workload: string, name: string) => `${workload} is to get the secret ${name}, and there is none`,
    fix: (_workload: string, name: string) => `set it with \`skerry secret set ${name}\`, its value on stdin`,
  },
  NO_SECRET: {
    status: 404,
    what: (name: string) => `there is no secret ${name}`,
    fix: '`skerry secret ls` lists what there is',
  },
  SECRET_IN_USE: {
    status: 409,
    what: (name: string, users: readonly string[]) => `the secret ${name} is used by ${users.join(', ')}`,
    fix: 'deploy them without it first, or remove it all the same with --force',
  },
  SECRET_INVALID: {
    status: 400,
    what: (name: string, why: string) => `the value of ${name} cannot be a secret: ${why}`,
    fix: 'give 1 byte to 64 KiB of UTF-8 text without NUL',
  },
  SECRET_UNREADABLE: {
    status: 500,
    what: (name: string) => `the secret ${name} cannot be opened with the key of this node`,
    fix: (name: string) => `set it again with \`skerry secret set ${name}\``,
  },
  SECRET_NOT_TAKEN: {
    status: 503,
    what: (name: string, workload: string, why: string) =>
      `the secret ${name} is set, and ${workload} goes on with the value it had: ${why}`,
    fix: (name: string) => `see \`skerry doctor\` and the log of the node, then set ${name} again`,
    retryAfter: 60,
  },
});
