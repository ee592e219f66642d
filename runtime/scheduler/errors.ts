import { defineErrors } from '../../errors/skerry-error.ts';

export const schedulerErrors = defineErrors({
  QUEUE_FULL: {
    status: 429,
    what: (name: string) => `too many requests wait for ${name}`,
    fix: 'try again later; the operator can raise --concurrency or --queue',
    retryAfter: 1,
  },
  NODE_FULL: {
    status: 503,
    what: () => 'too many requests wait on this node',
    fix: 'try again later; the operator can raise --node-queue',
    retryAfter: 1,
  },
  DEADLINE_OUT_OF_REACH: {
    status: 503,
    what: (name: string) => `so many requests wait for ${name} that this one would be answered past its deadline`,
    fix: 'try again later; the operator can raise --concurrency or --timeout',
    retryAfter: 1,
  },
  SHED: {
    status: 503,
    what: (name: string) => `${name} has more to do than it can, and the request waited the longest`,
    fix: 'try again later; the operator can raise --concurrency or --max',
    retryAfter: 1,
  },
  TOO_LARGE: {
    status: 400,
    what: (name: string, wanted: string, has: string) => `${name} asks for ${wanted}, and this node ${has}`,
    fix: 'ask for less, or raise --node-memory where the machine has more',
  },
  MEMORY_CEILING: {
    status: 503,
    what: (name: string) => `the node has no memory left for a further instance of ${name}`,
    fix: 'try again later; the operator can raise --node-memory or --priority, or remove what is not needed',
    retryAfter: 5,
  },
  QUEUE_DEADLINE: {
    status: 504,
    what: (name: string) => `the request waited for a place in ${name} until its deadline`,
    fix: 'try again later; the operator can raise --concurrency or --timeout',
  },
});
