import { defineErrors } from '../../errors/skerry-error.ts';

export const buildErrors = defineErrors({
  DOCKERFILE_INVALID: {
    status: 400,
    what: (place: string, why: string) => `${place}: ${why}`,
    fix: 'correct the Dockerfile',
  },
  IMAGE_BUILD_STEP_FAILED: {
    status: 400,
    what: (place: string, step: string, why: string) => `${place}: ${step}: ${why}`,
    fix: 'see what it wrote above, and correct the step',
  },
  IMAGE_BUILD_FAILED: {
    status: 400,
    what: (file: string, why: string) => `the image could not be built from ${file}: ${why}`,
    fix: 'see what was written above',
  },
  IMAGE_NAME_NEEDED: {
    status: 400,
    what: (given: string) => `${given} is no name that an image can be given`,
    fix: 'name it as NAME[:TAG] or REGISTRY/NAME[:TAG], in lower case',
  },
  IMAGE_BUILD_TIMEOUT: {
    status: 400,
    what: (minutes: number) => `the build did not end within ${minutes} minutes`,
    fix: 'split it into smaller images',
  },
  IMAGE_BUILDS_BUSY: {
    status: 503,
    what: (most: number) => `${most} builds run already`,
    fix: 'wait until one of them has ended',
    retryAfter: 30,
  },
  NO_IMAGE_BUILDER: {
    status: 422,
    what: (why: string) => `this node cannot build from a Dockerfile: ${why}`,
    fix: 'start it as root on a Linux machine with buildah: apt-get install buildah',
  },
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
