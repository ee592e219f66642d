import { defineErrors } from '../errors/skerry-error.ts';

export const gatewayErrors = defineErrors({
  // Data plane.
  NO_ROUTE: {
    status: 404,
    what: () => 'no workload has a route for this host and path',
    fix: 'check the URL; `skerry ls` lists the routes of this node',
  },
  LOOP_DETECTED: {
    status: 508,
    what: (hops: number) => `the request has gone from workload to workload ${hops} times`,
    fix: 'look whether the workloads call each other in a circle',
  },
  BAD_REQUEST: {
    status: 400,
    what: (why: string) => `the request is not valid HTTP: ${why}`,
    fix: 'correct the request',
  },
  HEADERS_TOO_LARGE: {
    status: 431,
    what: (limit: string) => `the request's head is larger than ${limit}`,
    fix: 'send fewer or shorter headers',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    what: () => 'the request did not arrive in time',
    fix: 'send it faster, or in smaller parts',
  },
  EXPECTATION_FAILED: {
    status: 417,
    what: (expectation: string) => `the gateway cannot meet the expectation "${expectation}"`,
    fix: 'leave the Expect header out, or send `Expect: 100-continue`',
  },
  REQUEST_TOO_LARGE: {
    status: 413,
    what: (limit: string) => `the request's body is larger than ${limit}, the most that this workload takes`,
    fix: 'send less, or deploy the workload with a higher --max-request',
  },
  RESPONSE_TOO_LARGE: {
    status: 500,
    what: (limit: string) => `the workload's answer is larger than ${limit}, the most that it may send`,
    fix: 'deploy it with a higher --max-response, or make it answer less',
  },
  METHOD_NOT_OFFERED: {
    status: 501,
    what: (method: string) => `the gateway does not offer ${method}`,
    fix: 'use an ordinary HTTP method',
  },
  PARKED: {
    status: 503,
    what: (name: string) => `${name} is scaled to at most 0 instances`,
    fix: 'scale it up: `skerry scale NAME --max 10`',
    // Somebody has to do it first.
    retryAfter: 60,
  },
  NOT_STARTABLE: {
    status: 503,
    what: (name: string, why: string) => `${name} cannot be started: ${why}`,
    fix: 'see `skerry inspect NAME`, then deploy it again or roll back',
    retryAfter: 5,
  },
  NODE_STOPPING: {
    status: 503,
    what: () => 'the node is stopping',
    fix: 'try again in a moment',
    retryAfter: 5,
  },
  DEADLINE: {
    status: 504,
    what: () => 'the workload did not answer by the deadline',
    fix: 'raise --timeout, or make it faster',
  },
  CODING_NOT_OFFERED: {
    status: 501,
    what: (coding: string) => `the gateway does not know the transfer coding "${coding}"`,
    fix: 'send the body plain or chunked',
  },
  // The gateway's certificate.
  TLS_UNREADABLE: {
    status: 500,
    what: (file: string, why: string) => `${file} cannot be read (${why})`,
    fix: 'check the paths given with --tls-cert and --tls-key, and that the user that runs the node may read them',
  },
  TLS_INVALID: {
    status: 500,
    what: (file: string, why: string) => `${file} holds no usable PEM: ${why}`,
    fix: 'give the certificate (with its chain) and its private key, both as PEM and without a passphrase',
  },
  TLS_MISMATCH: {
    status: 500,
    what: (cert: string, key: string) => `the private key in ${key} is not that of the certificate in ${cert}`,
    fix: 'give the two files that belong together',
  },
  TLS_EXPIRED: {
    status: 500,
    what: (cert: string, since: string) => `the certificate in ${cert} has expired (${since})`,
    fix: 'renew it; and check the clock of this machine',
  },
  // Admin API.
  INVALID_REQUEST: {
    status: 400,
    what: (why: string) => `the request is not valid: ${why}`,
    fix: 'correct it; the API is described at /openapi.json',
  },
  UNAUTHORIZED: {
    status: 401,
    what: () => 'the admin API over TCP needs the token of the node',
    fix: 'send Authorization: Bearer TOKEN (the CLI takes it from SKERRY_ADMIN_TOKEN)',
  },
  FORBIDDEN_HOST: {
    status: 403,
    what: (why: string) => `the admin API refuses this request: ${why}`,
    fix: 'call it by the address it listens on, and not from a web page of another origin',
  },
  NOT_FOUND: {
    status: 404,
    what: (what: string) => `there is no ${what}`,
    fix: '`skerry ls` lists what there is',
  },
  REMOVING: {
    status: 503,
    what: (name: string) => `${name} is removed, but requests that it had still run`,
    fix: 'ask again: they end by their deadline',
    retryAfter: 1,
  },
  IMAGES_NOT_RUN: {
    status: 422,
    what: (reference: string) => `${reference} is an image, and this node has no driver that runs images`,
    fix: 'see `skerry doctor` for what it takes; or give a .ts, .js or .wasm file, or a folder that holds one',
  },
  NO_VOLUME: {
    status: 404,
    what: (name: string) => `there is no volume ${name}`,
    fix: '`skerry volume ls` lists what there is',
  },
  VOLUME_WANTED: {
    status: 409,
    what: (name: string, who: string) =>
      `a revision of ${who} that is kept, or a process of that name, has the volume ${name}`,
    fix: 'remove that first',
  },
  NOT_RUNNING: {
    status: 409,
    what: (name: string) => `nothing of ${name} runs`,
    fix: '`skerry ps -a` and `skerry ls` say how it is; start it first',
  },
  ARTIFACT_MISSING: {
    status: 400,
    what: (what: string, digest: string) => `this node does not have the component of ${what} (${digest})`,
    fix: 'deploy it here from its source once: a file of `skerry export` names components, it does not hold them',
  },
  TOO_LARGE: {
    status: 413,
    what: (limit: string) => `the upload is larger than ${limit}`,
    fix: 'make it smaller',
  },
});
