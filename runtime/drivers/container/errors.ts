import { defineErrors } from '../../../errors/skerry-error.ts';

/** What crun says of a program that is not there or cannot be run, and of nothing else that it misses. */
export const PROGRAM_MISSING =
  /executable file .* not found|(?:open executable|exec container process).*: No such file/;

export const containerErrors = defineErrors({
  COMMAND_MISSING: {
    status: 422,
    what: (command: string) => `the image has no program ${command} that can be run`,
    fix: "correct the image's entrypoint, or give a command",
  },
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
  CONTAINER_ENDED: {
    status: 503,
    what: (name: string, why: string, last: string) =>
      `${name} ended before it was ready: ${why}${last === '' ? '' : `; the last it said: ${last}`}`,
    fix: 'see `skerry logs`',
    retryAfter: 5,
  },
  CONTAINER_NOT_LISTENING: {
    status: 503,
    what: (name: string, port: number, ms: number) => `${name} did not listen on port ${port} within ${ms} ms`,
    fix: 'make it listen on that port on 127.0.0.1 or all addresses, say which with --port, or raise --start-timeout',
    retryAfter: 5,
  },
  CONTAINER_STOPPED: {
    status: 503,
    what: (name: string) => `the instance of ${name} was stopped`,
    fix: 'try again',
    retryAfter: 1,
  },
});
