import { defineErrors } from '../../../errors/skerry-error.ts';

/** Of those who make tokens. What those who show them are told is in the registry's own table. */
export const tokenErrors = defineErrors({
  TOKEN_INVALID: {
    status: 400,
    what: (why: string) => `the token cannot be made: ${why}`,
    fix: 'give --name (up to 64 letters, digits, _ . -) and --scope repository:PATTERN:ACTIONS, with pull, push, delete as actions',
  },
  TOKEN_EXISTS: {
    status: 409,
    what: (name: string) => `there is a token ${name} already`,
    fix: (name: string) => `choose another name, or remove that one first with \`skerry token rm ${name}\``,
  },
  NO_TOKEN: {
    status: 404,
    what: (name: string) => `there is no token ${name.slice(0, 100)}`,
    fix: '`skerry token ls` lists what there is',
  },
});
