import { defineErrors } from '../../../errors/skerry-error.ts';
import { formatBytes } from '../../workload/units.ts';

export const machineErrors = defineErrors({
  MONITOR_SILENT: {
    status: 503,
    what: (what: string) => `the monitor of the machine does not answer: ${what}`,
    fix: 'try again: another machine is started; see the log of the node',
    retryAfter: 1,
  },
  MONITOR_NONSENSE: {
    status: 503,
    what: (why: string) => `the monitor of the machine says what no monitor says: ${why}`,
    fix: 'try again: another machine is started; report it if it happens again',
    retryAfter: 1,
  },
  MONITOR_REFUSED: {
    status: 503,
    what: (why: string) => `the monitor of the machine refuses: ${why}`,
    fix: 'see the log of the node',
    retryAfter: 5,
  },
  MONITOR_GONE: {
    status: 503,
    what: () => 'the monitor of the machine has ended',
    fix: 'try again: another machine is started',
    retryAfter: 1,
  },
  NO_KERNEL: {
    status: 503,
    what: (why: string) => `there is no kernel for microVMs here: ${why}`,
    fix: 'build it, once and for some minutes, with `npm run build -- kernel`, or deploy with a kernel of your own (--kernel)',
    retryAfter: 60,
  },
  KERNEL_UNFIT: {
    status: 422,
    what: (name: string, why: string) => `${name} has no kernel that can be booted: ${why}`,
    fix: 'give an ELF vmlinux with CONFIG_PVH, or a bzImage, for this machine, with virtio over MMIO built in',
  },
  KERNEL_MISSING: {
    status: 409,
    what: (name: string, digest: string) => `the node does not have the kernel ${digest} that ${name} names`,
    fix: 'deploy again with --kernel FILE',
  },
  MACHINE_ENDED: {
    status: 503,
    what: (name: string, why: string, last: string) =>
      `${name} ended before it was ready: ${why}${last === '' ? '' : `; the last it said: ${last}`}`,
    fix: 'see `skerry logs`',
    retryAfter: 5,
  },
  MACHINE_NOT_BOOTED: {
    status: 503,
    what: (name: string, ms: number, last: string) =>
      `the machine of ${name} did not boot within ${ms} ms${last === '' ? '' : `; its kernel said last: ${last}`}`,
    fix: 'see that its kernel has virtio over MMIO and starts the initial file system, or raise --start-timeout',
    retryAfter: 5,
  },
  MACHINE_NOT_LISTENING: {
    status: 503,
    what: (name: string, port: number, ms: number) => `${name} did not listen on port ${port} within ${ms} ms`,
    fix: 'make it listen on that port on all addresses, say which with --port, or raise --start-timeout',
    retryAfter: 5,
  },
  MACHINE_NOT_READY: {
    status: 503,
    what: (name: string, check: string, ms: number, why: string) =>
      `${name} was not ready within ${ms} ms: its ready-check ${check} failed: ${why}`,
    fix: 'see `skerry logs`, correct --ready-check, or raise --start-timeout',
    retryAfter: 5,
  },
  MACHINE_UNWELL: {
    status: 503,
    what: (name: string, why: string) => `the instance of ${name} is being ended: ${why}`,
    fix: 'try again',
    retryAfter: 1,
  },
  MACHINE_STOPPED: {
    status: 503,
    what: (name: string) => `the instance of ${name} was stopped`,
    fix: 'try again',
    retryAfter: 1,
  },
  MACHINE_TOO_LARGE: {
    status: 422,
    what: (name: string, wanted: number, most: number) =>
      `${name} asks for ${formatBytes(wanted)} of memory; a machine here can have ${formatBytes(most)}`,
    fix: 'deploy it with less --memory',
  },
  MACHINE_TOO_SMALL: {
    status: 422,
    what: (name: string, least: number) =>
      `${name} needs at least ${formatBytes(least)} of memory to boot in a machine`,
    fix: 'deploy it with more --memory',
  },
});
