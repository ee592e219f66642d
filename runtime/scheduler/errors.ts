import { defineErrors } from '../../errors/skerry-error.ts';

export const schedulerErrors = defineErrors({
  QUEUE_FULL: {
    status: 429,
    what: (name: string) => `too many requests wait for ${name}`,
    fix: 'try again later; the operator can raise --concurrency or --queue',
    retryAfter: 1,
  },
  QUEUE_DEADLINE: {
    status: 504,
    what: (name: string) => `the request waited for a place in ${name} until its deadline`,
    fix: 'try again later; the operator can raise --concurrency or --timeout',
  },
});
