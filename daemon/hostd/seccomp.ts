/**
 * The system calls that a container may make: the profile that container engines ship (of the package
 * golang-github-containers-common, moby's format), with its conditions resolved for one container, and stricter.
 */
import { z } from 'zod';

const Argument = z.object({
  index: z.number().int(),
  value: z.number(),
  valueTwo: z.number().optional(),
  op: z.string(),
});

const Condition = z.object({
  arches: z.array(z.string()).optional(),
  caps: z.array(z.string()).optional(),
});

const Rule = z.object({
  names: z.array(z.string()),
  action: z.string(),
  errnoRet: z.number().int().optional(),
  args: z.array(Argument).nullish(),
  includes: Condition.optional(),
  excludes: Condition.optional(),
});

export const SeccompProfile = z.object({
  defaultAction: z.string(),
  defaultErrnoRet: z.number().int().optional(),
  archMap: z.array(z.object({ architecture: z.string(), subArchitectures: z.array(z.string()).nullish() })),
  syscalls: z.array(Rule),
});
export type SeccompProfile = z.infer<typeof SeccompProfile>;

export interface SeccompFilter {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly errnoRet?: number;
    readonly args?: readonly z.infer<typeof Argument>[];
  }[];
}

const EPERM = 1;
const ENOSYS = 38;
const ALLOW = 'SCMP_ACT_ALLOW';
const REFUSE = 'SCMP_ACT_ERRNO';

/**
 * Never, whatever the profile says: doors to parts of the kernel that a workload behind HTTP has no use for, and that most
 * ways out of containers led through.
 */
const NEVER = new Set([
  ...['add_key', 'keyctl', 'request_key'],
  ...['bpf', 'perf_event_open', 'userfaultfd', 'fanotify_init', 'lookup_dcookie', 'quotactl', 'quotactl_fd'],
  ...['io_uring_setup', 'io_uring_enter', 'io_uring_register'],
  ...[
    'mount',
    'umount',
    'umount2',
    'mount_setattr',
    'move_mount',
    'fsopen',
    'fsmount',
    'fsconfig',
    'fspick',
    'open_tree',
  ],
  ...['pivot_root', 'chroot', 'setns', 'unshare', 'open_by_handle_at', 'name_to_handle_at', 'syslog', 'sethostname'],
  ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'process_madvise', 'kcmp', 'pidfd_getfd'],
  ...['personality', 'modify_ldt', 'vhangup', 'acct', 'swapon', 'swapoff', 'reboot', 'ioperm', 'iopl'],
]);

/** Whose arguments are looked at: the profile's own rules for them are left out. */
const OURS = new Set(['clone', 'clone3', 'socket', 'socketpair']);

/** Flags of clone(2) that make namespaces. */
const NAMESPACE_FLAGS = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x80];
/** AF_UNIX, AF_INET, AF_INET6. */
const FAMILIES = [1, 2, 10];

/** Names of `process.arch` in the profile. */
const ARCHES: Record<string, { readonly scmp: string; readonly name: string }> = {
  x64: { scmp: 'SCMP_ARCH_X86_64', name: 'amd64' },
  arm64: { scmp: 'SCMP_ARCH_AARCH64', name: 'arm64' },
};

function applies(rule: z.infer<typeof Rule>, arch: string, capabilities: ReadonlySet<string>): boolean {
  const { includes = {}, excludes = {} } = rule;
  if (includes.arches?.length && !includes.arches.includes(arch)) return false;
  if (excludes.arches?.includes(arch)) return false;
  if (includes.caps?.length && !includes.caps.every((name) => capabilities.has(name))) return false;
  return !excludes.caps?.some((name) => capabilities.has(name));
}

/**
 * The filter for a container with these capabilities. Of the architectures only the machine's own: a second set of system
 * calls, such as that of 32 bits, would double what can be attacked. Throws when the machine's is not known.
 */
export function seccompFilter(
  profile: SeccompProfile,
  capabilities: readonly string[],
  arch: string = process.arch,
): SeccompFilter {
  const here = ARCHES[arch];
  if (!here) throw new RangeError(`no system calls are known for ${arch}`);
  const held = new Set(capabilities);
  const kept = profile.syscalls
    .filter((rule) => rule.action === ALLOW && applies(rule, here.name, held))
    .flatMap(({ names, args }) => {
      const left = names.filter((name) => !NEVER.has(name) && !OURS.has(name));
      if (left.length === 0) return [];
      return [{ names: left, action: ALLOW, ...(args?.length ? { args } : {}) }];
    });
  return {
    defaultAction: REFUSE,
    // As for a kernel that does not know it: libraries have another way then.
    defaultErrnoRet: ENOSYS,
    architectures: [here.scmp],
    syscalls: [
      ...kept,
      { names: [...NEVER], action: REFUSE, errnoRet: EPERM },
      // Its flags are behind a pointer: libraries fall back to clone.
      { names: ['clone3'], action: REFUSE, errnoRet: ENOSYS },
      {
        names: ['clone'],
        action: ALLOW,
        args: [
          {
            index: 0,
            value: NAMESPACE_FLAGS.reduce((all, flag) => all + flag, 0),
            valueTwo: 0,
            op: 'SCMP_CMP_MASKED_EQ',
          },
        ],
      },
      ...FAMILIES.map((value) => ({
        names: ['socket', 'socketpair'],
        action: ALLOW,
        args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
      })),
    ],
  };
}
