import { defineErrors } from '../../errors/skerry-error.ts';

export const processErrors = defineErrors({
  NO_PROCESS: {
    status: 404,
    what: (name: string) => `there is no process ${name}`,
    fix: '`skerry ps -a` lists what there is',
  },
  PROCESS_NOT_FOR: {
    status: 422,
    what: (isolation: string) => `a process runs in a container, not as ${isolation}`,
    fix: 'run an image, and leave --isolation out or say container',
  },
  PROCESS_ENDED: {
    status: 409,
    what: (name: string) => `the process ${name} does not run any more`,
    fix: '`skerry ps -a` says how it ended; run it again under another name',
  },
  PROCESS_STARTING: {
    status: 409,
    what: (name: string) => `the process ${name} is being started`,
    fix: 'try again in a moment',
    retryAfter: 1,
  },
});
