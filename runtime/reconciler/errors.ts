import { defineErrors } from '../../errors/skerry-error.ts';

export const reconcilerErrors = defineErrors({
  REVISION_MISSING: {
    status: 503,
    what: (name: string, id: string) => `the state of the node has no revision ${id} of ${name}`,
    fix: 'deploy it again',
  },
  DRIVER_MISSING: {
    status: 503,
    what: (name: string, isolation: string) => `${name} needs the ${isolation} driver, which this node does not have`,
    fix: 'see `skerry doctor`',
  },
  REMOVED: {
    status: 503,
    what: (name: string) => `${name} was removed`,
    fix: 'deploy it again',
  },
});
