import { defineErrors } from '../../errors/skerry-error.ts';

export const buildErrors = defineErrors({
  /** `problem` begins with `function.js:LINE:COLUMN: ` of the uploaded source where a place is known, else with what the user calls it. */
  BUILD_FAILED: {
    status: 400,
    what: (problem: string) => problem,
    fix: 'correct the source and deploy it again',
  },
  BUILD_NO_HANDLER: {
    status: 400,
    what: (label: string) =>
      `${label} has no HTTP handler: neither a default export with fetch nor a listener for "fetch"`,
    fix: 'add `export default { fetch(request) { return new Response("hello") } }`',
  },
  BUILD_TIMEOUT: {
    status: 400,
    what: (label: string, seconds: number) => `the top level of ${label} did not finish within ${seconds} s`,
    fix: 'move what takes long into the handler: the top level runs once, while the function is built',
  },
  BUILD_MEMORY: {
    status: 400,
    what: (label: string, mebibytes: number) => `the top level of ${label} needs more than ${mebibytes} MiB of memory`,
    fix: 'move what takes much memory into the handler: the top level runs once, while the function is built',
  },
  BUILD_TOO_LARGE: {
    status: 400,
    what: (label: string, mebibytes: number, limit: number) =>
      `the component built from ${label} has ${mebibytes} MiB, more than the ${limit} allowed`,
    fix: 'keep less data at the top level of the source: all of it becomes part of the component',
  },
  BUILD_QUEUE_FULL: {
    status: 503,
    what: (waiting: number) => `${waiting} builds are waiting on this node already`,
    fix: 'try again when some of them are done',
    retryAfter: 5,
  },
  BUILD_CANCELLED: {
    status: 503,
    what: () => 'the build was cancelled',
    fix: 'deploy it again',
    retryAfter: 1,
  },
  BUILDER_BROKEN: {
    status: 500,
    what: (why: string) => `the builder of this node failed: ${why}`,
    fix: 'look in the log of the node; `npm install` sets up what the builder needs',
  },
});
