import { getSystemErrorName } from 'node:util';

/** What went wrong between Skerry and the kernel: which call, on what, and what to do about it. */
export class HostError extends Error {
  /** The name of the errno ("EPERM"), or a code of this folder: `HOST_NOT_BUILT`, `HOST_UNLOADABLE`. */
  readonly code: string;
  /** The system call, or what stands for it ("setns", "write"). */
  readonly syscall: string;
  /** The file or address that it was about, where there is one. */
  readonly path: string | undefined;
  /** What to do about it, in one sentence without a full stop. */
  readonly advice: string;

  constructor(init: { code: string; syscall: string; path?: string | undefined; advice?: string; cause?: unknown }) {
    const advice = init.advice ?? adviceFor(init.code, init.path);
    const where = init.path === undefined ? '' : ` ${init.path}`;
    super(`${init.syscall}${where} failed; ${advice} [${init.code}]`, { cause: init.cause });
    this.name = 'HostError';
    this.code = init.code;
    this.syscall = init.syscall;
    this.path = init.path;
    this.advice = advice;
  }
}

/** An error of the addon or of node:fs, as a HostError. Anything else passes through. */
export function asHostError(error: unknown, path?: string): unknown {
  if (error instanceof HostError || !(error instanceof Error)) return error;
  const { errno, code, syscall, path: its } = error as NodeJS.ErrnoException;
  if (errno === undefined || syscall === undefined) return error;
  return new HostError({ code: code ?? getSystemErrorName(errno), syscall, path: its ?? path, cause: error });
}

const ADVICE_BY_PATH: Record<string, Record<string, string>> = {
  '/dev/net/tun': {
    ENOENT: 'load the kernel module: modprobe tun',
    ENODEV: 'load the kernel module: modprobe tun',
  },
  '/dev/kvm': {
    ENOENT: 'turn on virtualisation in the firmware of the machine, then load kvm_intel or kvm_amd',
    EACCES: 'run as root or as a member of the group kvm',
  },
};

const ADVICE: Record<string, string> = {
  EPERM: 'run it as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN over what it concerns',
  EACCES: 'run it as root, or as a user who may open this',
  EROFS: 'mount it writable: containers often have it read-only',
  ENOENT: 'look whether it still exists, and whether this kernel has it',
  ENOSYS: 'use a newer kernel: this one does not know the call',
  EMFILE: 'raise the limit of open files (LimitNOFILE of the service, or ulimit -n)',
  ENFILE: 'raise the number of open files of the machine (sysctl fs.file-max)',
  ENOMEM: 'free memory on this machine',
  ENOSPC: 'make room: for namespaces and cgroups there are limits too (sysctl user.max_net_namespaces)',
  EAGAIN: 'try again; if it stays, raise the limit of threads or processes (LimitNPROC, pids.max)',
  EBADF: 'give a descriptor that is open',
  EINVAL: 'look at the arguments: the kernel does not take them',
  EEXIST: 'choose another name, or remove what has this one',
  EBUSY: 'wait until nobody uses it any more',
  ENOBUFS: 'send less until the other side has read what waits for it',
  EMSGSIZE: 'send at most 64 KiB in one message',
  E2BIG: 'send at most 16 descriptors in one message',
  ETOOMANYREFS: 'send at most 16 descriptors in one message, and see that the receiver has room for them (ulimit -n)',
  EPIPE: 'open a new channel: the other side has gone',
  ECONNRESET: 'open a new channel: the other side left without reading all that it was sent',
  EPROTOTYPE: 'give a socket of the right type (SOCK_SEQPACKET for a channel)',
  ECONNREFUSED: 'see that the workload listens on this port, on its loopback address or on all',
  ETIMEDOUT: 'see why the other side does not answer, or wait longer',
  EADDRINUSE: 'choose another port: something in this namespace has this one',
  EADDRNOTAVAIL: 'choose an address of an interface in this namespace',
  ENETUNREACH: 'choose an address that this namespace has a route to',
  ESRCH: 'nothing: the process has ended already',
  ECHILD: 'wait for a child of this process only',
  ENOTSUP: 'use a kernel that has it; see `skerry doctor`',
  EOPNOTSUPP: 'use a kernel that has it; see `skerry doctor`',
};

function adviceFor(code: string, path: string | undefined): string {
  return ADVICE_BY_PATH[path ?? '']?.[code] ?? ADVICE[code] ?? 'look up this error in the manual of the system call';
}
