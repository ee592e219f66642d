import { defineErrors } from '../../../errors/skerry-error.ts';

/** What crun and runc say of a program that is not there, and of nothing else that they miss. */
export const PROGRAM_MISSING =
  /executable file .*not found|(?:open executable|exec container process).*: No such file|exec: .*: no such file/;

export const containerErrors = defineErrors({
  PROCESS_NOT_STARTED: {
    status: 503,
    what: (name: string, why: string) => `${name} could not be started: ${why}`,
    fix: 'see `skerry doctor` for what this machine lacks, and the log of the node',
    retryAfter: 5,
  },
  TOO_MANY_ADDRESSES: {
    status: 422,
    what: (name: string, most: number) => `${name} is allowed more than ${most} addresses, which a container is not`,
    fix: 'allow hosts by their names',
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
  CONTAINER_NOT_READY: {
    status: 503,
    what: (name: string, check: string, ms: number, why: string) =>
      `${name} was not ready within ${ms} ms: its ready-check ${check} failed: ${why}`,
    fix: 'see `skerry logs`, correct --ready-check, or raise --start-timeout',
    retryAfter: 5,
  },
});
