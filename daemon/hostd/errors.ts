import { defineErrors } from '../../errors/skerry-error.ts';

export const hostErrors = defineErrors({
  CONTAINER_NOT_STARTED: {
    status: 503,
    what: (id: string, why: string) => `the container ${id} could not be started: ${why}`,
    fix: 'see `skerry doctor` for what this machine lacks, and the log of the node',
    retryAfter: 5,
  },
  OUTBOUND_UNAVAILABLE: {
    status: 503,
    what: (why: string) => `the kernel does not give the node what a container with an allow-list sends out: ${why}`,
    fix: 'use Linux 5.9 or newer with CONFIG_BPF_SYSCALL and start the node with all rights of root, or deploy without --allow',
    retryAfter: 60,
  },
  COMMAND_MISSING: {
    status: 422,
    what: (command: string) => `the image has no program ${command} that can be run`,
    fix: "correct the image's entrypoint, or give a command",
  },
  CONTAINER_EXISTS: {
    status: 409,
    what: (id: string) => `there is a container ${id} already`,
    fix: 'stop it first',
  },
  CONTAINER_GONE: {
    status: 503,
    what: (id: string) => `there is no container ${id}`,
    fix: 'send the request again: another one is started',
    retryAfter: 1,
  },
  HOSTD_CALL_INVALID: {
    status: 500,
    what: (call: string, why: string) => `the privileged helper refuses the call ${call}: ${why}`,
    fix: 'report it: the node asks what it must not',
  },
  HOSTD_GONE: {
    status: 503,
    what: () => 'the privileged helper of the node has ended',
    fix: 'start the node again, and report what its log says',
    retryAfter: 5,
  },
  LAYER_NOT_HERE: {
    status: 503,
    what: (diffId: string) => `the layer ${diffId} is not unpacked`,
    fix: 'deploy the image again',
    retryAfter: 5,
  },
  TOO_MANY_CONTAINERS: {
    status: 503,
    what: (most: number) => `the node runs ${most} containers already`,
    fix: 'stop some of them',
    retryAfter: 10,
  },
});
