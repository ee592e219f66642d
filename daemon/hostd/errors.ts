import { defineErrors } from '../../errors/skerry-error.ts';
import { formatBytes } from '../../runtime/workload/units.ts';

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
  TOO_MANY_EXECUTIONS: {
    status: 429,
    what: (id: string, most: number) => `${most} further processes run in the container ${id} already`,
    fix: 'wait until some of them have ended',
    retryAfter: 5,
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
  VOLUME_SIZE: {
    status: 409,
    what: (name: string, found: number, wanted: number) =>
      `the volume ${name} has ${formatBytes(found)}, not ${formatBytes(wanted)}`,
    fix: 'say its size, or none, or take another volume; `skerry volume ls` lists them',
  },
  VOLUME_NO_ROOM: {
    status: 507,
    what: (name: string, bytes: number, free: number, promised: number) =>
      `there is no room for the volume ${name} of ${formatBytes(bytes)}: ${formatBytes(free)} of the disk are free, and ${formatBytes(promised)} of them are promised to other volumes`,
    fix: 'say a smaller size, make room, or remove volumes; `skerry volume ls` lists them',
  },
  VOLUME_NOT_MADE: {
    status: 503,
    what: (name: string, why: string) => `the volume ${name} could not be made: ${why}`,
    fix: 'see `skerry doctor` for the disk; mke2fs (e2fsprogs) is needed',
    retryAfter: 10,
  },
  VOLUME_IN_USE: {
    status: 409,
    what: (name: string, who: string) => `the volume ${name} is in use by ${who}`,
    fix: 'stop what uses it first',
  },
  LAYER_NOT_HERE: {
    status: 503,
    what: (diffId: string) => `the layer ${diffId} is not unpacked`,
    fix: 'deploy the image again',
    retryAfter: 5,
  },
  MACHINE_NOT_STARTED: {
    status: 503,
    what: (id: string, why: string) => `the machine ${id} could not be started: ${why}`,
    fix: 'see `skerry doctor` for what this machine lacks, and the log of the node',
    retryAfter: 5,
  },
  MACHINE_EXISTS: {
    status: 409,
    what: (id: string) => `there is a machine ${id} already`,
    fix: 'stop it first',
  },
  MACHINE_GONE: {
    status: 503,
    what: (id: string) => `there is no machine ${id}`,
    fix: 'send the request again: another one is started',
    retryAfter: 1,
  },
  TOO_MANY_MACHINES: {
    status: 503,
    what: (most: number) => `the node runs ${most} machines already`,
    fix: 'stop some of them',
    retryAfter: 10,
  },
  MACHINE_FILE_MISSING: {
    status: 503,
    what: (digest: string) => `the kernel or initial file system ${digest} is not here`,
    fix: 'deploy again',
    retryAfter: 5,
  },
  MACHINE_FILE_CORRUPT: {
    status: 500,
    what: (digest: string) => `what was given as ${digest} is something else, or too large`,
    fix: 'deploy again; if that does not help, check the disk',
  },
  DISK_NOT_MADE: {
    status: 503,
    what: (why: string) => `the root disk of the image could not be made: ${why}`,
    fix: 'see `skerry doctor` for the disk; mkfs.erofs (erofs-utils) is needed',
    retryAfter: 10,
  },
  TEMPLATE_MISSING: {
    status: 503,
    what: (key: string) => `there is no template ${key}`,
    fix: 'try again: it is made anew',
    retryAfter: 1,
  },
  TEMPLATE_INCOMPLETE: {
    status: 503,
    what: (why: string) => `the template of a machine could not be kept: ${why}`,
    fix: 'see the log of the node; `--snapshot none` starts without one',
    retryAfter: 5,
  },
  TOO_MANY_CONTAINERS: {
    status: 503,
    what: (most: number) => `the node runs ${most} containers already`,
    fix: 'stop some of them',
    retryAfter: 10,
  },
});
