import { defineErrors } from '../../../errors/skerry-error.ts';

/** Of what runs images, in whatever sandbox. */
export const imageErrors = defineErrors({
  NO_HTTP: {
    status: 409,
    what: (name: string) => `${name} is a process that was run, not a workload that answers requests`,
    fix: 'deploy its image to give it a URL',
  },
  IMAGE_NO_COMMAND: {
    status: 422,
    what: (name: string) => `${name} does not say what to run: its image has no entrypoint and no command`,
    fix: 'set ENTRYPOINT or CMD in the image',
  },
  IMAGE_USER_UNKNOWN: {
    status: 422,
    what: (name: string, user: string) =>
      `${name} runs as "${user}", which its image has no entry for in /etc/passwd or /etc/group`,
    fix: 'name a user that the image has, or give numbers',
  },
  INSTANCE_UNWELL: {
    status: 503,
    what: (name: string, why: string) => `the instance of ${name} is being ended: ${why}`,
    fix: 'try again',
    retryAfter: 1,
  },
  INSTANCE_STOPPED: {
    status: 503,
    what: (name: string) => `the instance of ${name} was stopped`,
    fix: 'try again',
    retryAfter: 1,
  },
  COMMAND_MISSING: {
    status: 422,
    what: (command: string) => `the image has no program ${command} that can be run`,
    fix: "correct the image's entrypoint, or give a command",
  },
});
