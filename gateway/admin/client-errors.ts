/** Why the admin API could not be used, seen from its client. */
import { defineErrors } from '../../errors/skerry-error.ts';

export const clientErrors = defineErrors({
  NODE_NOT_RUNNING: {
    status: 503,
    what: (where: string) => `no node is running at ${where}`,
    fix: 'start one with `skerry up` or `npm start`, or say where it is with --data or --node',
    retryAfter: 5,
  },
  NODE_DENIED: {
    status: 403,
    what: (where: string) => `no permission to use ${where}`,
    fix: 'run this as the user who started the node, or use --node with a token',
  },
  NODE_UNREACHABLE: {
    status: 503,
    what: (where: string, why: string) => `the node at ${where} cannot be reached: ${why}`,
    fix: 'check --data or --node and the network',
    retryAfter: 5,
  },
  CONNECTION_LOST: {
    status: 503,
    what: (where: string, doing: string) => `the connection to the node at ${where} broke during ${doing}`,
    fix: 'check with `skerry doctor` that the node runs, then try again',
    retryAfter: 5,
  },
  API_MISMATCH: {
    status: 502,
    what: (where: string, problem: string) => `${where} does not speak this command's admin API: ${problem}`,
    fix: 'use the `skerry` command of the version that the node runs',
  },
  BAD_NODE_URL: {
    status: 400,
    what: (url: string) => `${url} is no URL of a node`,
    fix: 'give --node (SKERRY_NODE) as http://HOST:PORT or https://HOST:PORT',
    exit: 2,
  },
});
