/** Programs of the suite that are not run, and results that are not what they should be, each with the reason. */

/** By program. */
const HOOKS = 'hostd writes no hooks';
const NOT_WRITTEN = 'hostd writes nothing of it';
export const LEFT_OUT: Readonly<Record<string, string>> = {
  hooks: HOOKS,
  hooks_stdin: HOOKS,
  prestart: HOOKS,
  prestart_fail: HOOKS,
  poststart: HOOKS,
  poststart_fail: HOOKS,
  poststop: HOOKS,
  poststop_fail: HOOKS,
  linux_cgroups_blkio: NOT_WRITTEN,
  linux_cgroups_relative_blkio: NOT_WRITTEN,
  linux_cgroups_hugetlb: NOT_WRITTEN,
  linux_cgroups_relative_hugetlb: NOT_WRITTEN,
  linux_cgroups_network: NOT_WRITTEN,
  linux_cgroups_relative_network: NOT_WRITTEN,
  linux_process_apparmor_profile: NOT_WRITTEN,
  linux_rootfs_propagation: NOT_WRITTEN,
  process_capabilities:
    'it asks for every capability, which the machine may lack; those that hostd writes are held by runtimetest',
  process_capabilities_fail:
    'it asks for one that does not exist, which crun passes over; hostd writes none by name that it does not know',
};

export interface AcceptedResult {
  readonly program: string;
  readonly what: string;
  readonly why: string;
  /** It fails on some machines only. */
  readonly machine?: true;
}

const DELETE = 'crun deletes what was created and never started; hostd deletes with --force, after it has ended all';
const MEMORY = 'Linux has no limit of kernel memory of its own any more, and hostd writes none';

export const ACCEPTED: readonly AcceptedResult[] = [
  {
    program: 'delete',
    what: 'attempting to `delete` a container that is not `stopped` MUST generate an error',
    why: DELETE,
  },
  {
    program: 'delete',
    what: 'attempting to `delete` a container that is not `stopped` MUST have no effect on the container',
    why: DELETE,
  },
  { program: 'linux_cgroups_memory', what: 'memory kernel is set correctly', why: MEMORY, machine: true },
  { program: 'linux_cgroups_relative_memory', what: 'memory kernel is set correctly', why: MEMORY, machine: true },
  {
    program: 'linux_ns_itype',
    what: 'inherit namespace mnt without type',
    why: 'the launcher gives crun a mount namespace of its own, as it does in a node',
  },
  {
    program: 'misc_props',
    what: 'implementations that are reading/processing this configuration file MUST NOT generate an error if they encounter an unknown annotation key',
    why: 'the program names a command that it does not put into the container, which crun looks for when it creates it',
  },
  {
    program: 'pidfile',
    what: "create with '--pid-file' option works",
    why: 'the program ends a process that has ended, which is an error for crun; the file itself is as it should be',
  },
  {
    program: 'process_rlimits',
    what: 'has expected soft RLIMIT_NOFILE',
    why: 'the limit that it asks for may be above that of the machine; those that hostd writes are held by runtimetest',
    machine: true,
  },
  {
    program: 'start',
    what: 'exit status 1',
    why: 'crun refuses a configuration without a process when it creates it, not at its start',
  },
];
