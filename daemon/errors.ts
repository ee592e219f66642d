import { defineErrors } from '../errors/skerry-error.ts';

export const daemonErrors = defineErrors({
  IMAGE_NOT_HERE: {
    status: 404,
    what: (reference: string) => `this node has no image ${reference}`,
    fix: 'push it to this node (`skerry images` lists what is here), name its registry (REGISTRY/REPOSITORY:TAG), or give oci:DIR or docker-archive:FILE',
  },
  IMAGE_IN_USE: {
    status: 409,
    what: (digest: string, users: readonly string[]) => `${digest} is what ${users.join(', ')} is made from`,
    fix: (_digest: string, users: readonly string[]) =>
      `remove ${users.length > 1 ? 'these' : 'that'} first (\`skerry rm\`)`,
  },
  IMAGE_NOT_SENT: {
    status: 400,
    what: (reference: string) => `the request names ${reference}, which is the client's, and does not bring it`,
    fix: 'send it as a tar archive in the body',
  },
  NO_REGISTRY_NAMED: {
    status: 400,
    what: (reference: string) => `${reference} does not say which other registry it is in`,
    fix: 'write REGISTRY/REPOSITORY:TAG, such as registry.example/team/app:1.0',
  },
  NOTHING_TO_PUSH: {
    status: 404,
    what: (name: string, workload: string) =>
      `this node has nothing that is called ${name}: no image that was pulled or pushed, and no workload ${workload}`,
    fix: 'name what `skerry images` or `skerry ls` lists, behind the registry that it is for: REGISTRY/NAME[:TAG]',
  },
  PUSH_DIGEST: {
    status: 400,
    what: (name: string, digest: string) => `what this node has of ${name} is ${digest}`,
    fix: 'push it by a tag, or by that digest',
  },
  DATA_IN_USE: {
    status: 500,
    what: (folder: string, pid: number | null) =>
      `the data folder ${folder} is in use by another node${pid === null ? '' : ` (process ${pid})`}`,
    fix: 'stop that node, or give this one a folder of its own with --data',
  },
  DATA_NOT_A_FOLDER: {
    status: 500,
    what: (folder: string) => `${folder} is not a folder, so it cannot be the data folder`,
    fix: 'move it away, or choose another folder with --data',
  },
  DATA_NOT_WRITABLE: {
    status: 500,
    what: (folder: string, why: string) => `the data folder ${folder} cannot be written (${why})`,
    fix: 'give the user that runs the node the right to write there, or choose another folder with --data',
  },
  DATA_OPEN_TO_OTHERS: {
    status: 500,
    what: (folder: string) =>
      `${folder} holds other things and is open to other users, so it cannot be the data folder`,
    fix: 'choose a folder of its own with --data (it is made if missing), or close this one with `chmod 700`',
  },
  DATA_NOT_OURS: {
    status: 500,
    what: (folder: string, owner: number, user: number) =>
      `the data folder ${folder} belongs to user ${owner}, and the node runs as user ${user}`,
    fix: 'start the node as the owner, `chown` the folder, or choose another folder with --data',
  },
  DATA_OTHERS_IN_IT: {
    status: 500,
    what: (folder: string, name: string) => `the folder ${folder} holds other things than a node's (${name})`,
    fix: 'choose an empty folder, or one of a node, with --data: it is given to the user that the node runs as',
  },
  NODE_CANNOT_READ: {
    status: 500,
    what: (folder: string, user: number, why: string) =>
      `the node runs as the unprivileged user ${user}, who cannot read ${folder} (${why})`,
    fix: (folder: string) => `let others read it: chmod -R o+rX '${folder}'`,
  },
  DATA_NEWER: {
    status: 500,
    what: (folder: string, found: number, known: number) =>
      `the data folder ${folder} was written by a newer Skerry (version ${found}; this one knows up to ${known})`,
    fix: 'start the newer Skerry, or choose another folder with --data',
  },
  DATA_DAMAGED: {
    status: 500,
    what: (file: string, why: string) => `${file} is damaged: ${why}`,
    fix: 'put it back from a copy, or choose another folder with --data',
  },
  DATA_DISK_FULL: {
    status: 507,
    what: (folder: string) => `no room on the disk of the data folder ${folder}`,
    fix: 'make room and start the node again',
  },
  UP_USAGE: {
    status: 400,
    what: (why: string) => why,
    fix: 'see `skerry up --help`',
    exit: 2,
  },
  CONFIG_UNREADABLE: {
    status: 400,
    what: (file: string, why: string) => `the configuration file ${file} cannot be read (${why})`,
    fix: 'check the path given with --config',
  },
  CONFIG_INVALID: {
    status: 400,
    what: (where: string, why: string) => `${where}: ${why}`,
    fix: 'correct it; docs/reference/configuration.md lists the settings',
  },
  TLS_INCOMPLETE: {
    status: 400,
    what: (given: string, missing: string) => `${given} is given without ${missing}`,
    fix: 'give both for TLS, or neither',
  },
  PORT_IN_USE: {
    status: 500,
    what: (what: string, address: string) => `the ${what} cannot listen on ${address}: the port is in use`,
    fix: 'stop what listens there, or choose another address',
  },
  CANNOT_LISTEN: {
    status: 500,
    what: (what: string, address: string, why: string) => `the ${what} cannot listen on ${address} (${why})`,
    fix: 'choose another address',
  },
  REGISTRY_NOT_LOOPBACK: {
    status: 500,
    what: (address: string) => `the registry would be open to the network on ${address}, unencrypted`,
    fix: 'give it a certificate (--registry-tls-cert, --registry-tls-key), a loopback address, or --registry off',
  },
  UPSTREAM_AUTH: {
    status: 500,
    what: (file: string, why: string) =>
      `the credentials of the upstream registries in ${file} cannot be read (${why})`,
    fix: 'give a file as `docker login` or `skopeo login` write it, with auths in it, as --registry-upstream-auth',
  },
  ADMIN_NEEDS_TOKEN: {
    status: 500,
    what: () => 'the admin API over TCP needs a token of at least 16 characters, and SKERRY_ADMIN_TOKEN has none',
    fix: 'set SKERRY_ADMIN_TOKEN (for example to the output of `openssl rand -hex 32`), or leave --admin out',
  },
  ADMIN_NOT_LOOPBACK: {
    status: 500,
    what: (address: string) => `the admin API would be open to the network on ${address}, unencrypted`,
    fix: 'give a loopback address such as 127.0.0.1:9090, and reach it through SSH from elsewhere',
  },
});
