import { defineErrors } from '../../errors/skerry-error.ts';

export const proxyErrors = defineErrors({
  UPSTREAM_REFUSED: {
    status: 502,
    what: (name: string, why: string) => `${name} takes no connection: ${why}`,
    fix: 'see `skerry logs`; it has to listen on the port that it is asked at',
  },
  UPSTREAM_BROKE_OFF: {
    status: 502,
    what: (name: string, why: string) => `${name} broke off: ${why}`,
    fix: 'see `skerry logs`',
  },
  UPSTREAM_BAD_ANSWER: {
    status: 502,
    what: (name: string, why: string) => `${name} answered with what is no HTTP: ${why}`,
    fix: 'see `skerry logs`',
  },
  UPSTREAM_DEADLINE: {
    status: 504,
    what: (name: string) => `${name} had not answered at the deadline`,
    fix: 'make it answer sooner, or raise --timeout',
  },
  UPSTREAM_STOPPED: {
    status: 503,
    what: (name: string) => `${name} was stopped while it worked on the request`,
    fix: 'try again',
    retryAfter: 1,
  },
});
