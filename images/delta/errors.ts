import { defineErrors } from '../../errors/skerry-error.ts';

export const deltaErrors = defineErrors({
  DELTA_INVALID: {
    status: 400,
    what: (why: string) => `the delta does not give the blob: ${why}`,
    fix: 'send the whole blob',
  },
  DELTA_UNAVAILABLE: {
    status: 429,
    what: (why: string) => `a delta cannot be used now: ${why}`,
    fix: 'send the whole blob',
    retryAfter: 5,
  },
});
