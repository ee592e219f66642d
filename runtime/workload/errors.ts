import { defineErrors } from '../../errors/skerry-error.ts';

export const workloadErrors = defineErrors({
  INVALID_SETTING: {
    status: 400,
    what: (key: string, why: string) => `${key}: ${why}`,
    fix: 'correct the setting',
  },
  ROUTE_CLASH: {
    status: 409,
    what: (route: string, owner: string) => `the route ${route} belongs to ${owner} already`,
    fix: 'choose another route or name, or remove the other workload',
  },
  GENERATION_CONFLICT: {
    status: 409,
    what: (name: string, expected: number, found: number) =>
      `${name} was changed meanwhile (generation ${found}, not ${expected})`,
    fix: 'look at it again with `skerry inspect`, then repeat the change',
  },
  NO_WORKLOAD: {
    status: 404,
    what: (name: string) => `there is no workload ${name}`,
    fix: '`skerry ls` lists what there is',
  },
  NAME_TAKEN: {
    status: 409,
    what: (name: string, kind: 'workload' | 'process') => `there is a ${kind} ${name} already`,
    fix: 'choose another name, or remove it with `skerry rm`',
  },
  NO_REVISION: {
    status: 404,
    what: (name: string, revision: string) => `${name} has no revision ${revision}`,
    fix: '`skerry revisions NAME` lists them',
  },
  NO_PREVIOUS_REVISION: {
    status: 409,
    what: (name: string) => `${name} has no earlier revision to go back to`,
    fix: 'name one of `skerry revisions NAME`, or deploy again',
  },
  TRAFFIC_SUM: {
    status: 400,
    what: (sum: number) => `the traffic shares sum to ${sum} percent`,
    fix: 'make them sum to 100',
  },
  REVISION_TWICE: {
    status: 400,
    what: (name: string, revision: string) =>
      `the revision ${revision} of ${name} is given more than one share of the traffic`,
    fix: 'give it once, with the sum of its shares',
  },
  SCALE_ORDER: {
    status: 400,
    what: (min: number, max: number) => `min ${min} is above max ${max}`,
    fix: 'make min at most max',
  },
  ISOLATION_UNFIT: {
    status: 400,
    what: (isolation: string, why: string) => `it cannot run as ${isolation}: ${why}`,
    fix: 'leave --isolation out, or choose another; `skerry doctor` says what this node can run',
  },
});
