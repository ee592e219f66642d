import { defineErrors } from '../../errors/skerry-error.ts';

export const reconcilerErrors = defineErrors({
  REVISION_MISSING: {
    status: 503,
    what: (name: string, id: string) => `the state of the node has no revision ${id} of ${name}`,
    fix: 'deploy it again',
    retryAfter: 60,
  },
  DRIVER_MISSING: {
    status: 503,
    what: (name: string, isolation: string) => `${name} needs the ${isolation} driver, which this node does not have`,
    fix: 'see `skerry doctor`',
    retryAfter: 60,
  },
  START_TIMEOUT: {
    status: 503,
    what: (name: string, ms: number) => `${name} was not ready within its start timeout of ${ms} ms`,
    fix: 'raise --start-timeout, or make it start faster',
    retryAfter: 5,
  },
  EXITED: {
    status: 503,
    what: (name: string, why: string) => `an instance of ${name} ended by itself: ${why}`,
    fix: 'see `skerry logs`; it is started again, later each time it ends at once',
    retryAfter: 1,
  },
  REMOVED: {
    status: 503,
    what: (name: string) => `${name} was removed`,
    fix: 'deploy it again',
    retryAfter: 60,
  },
});
