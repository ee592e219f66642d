/** The runtime configuration (OCI runtime specification 1.0.2) of a container: closed by default, opened by name. */
import { join } from 'node:path';
import type { ContainerProcess, ContainerSpec } from '../../runtime/drivers/container/host.ts';
import { NAME_FILES } from './name-files.ts';
import type { SeccompFilter } from './seccomp.ts';

/** Where it is put on this machine. */
export interface ContainerPlace {
  /** Absolute path of its root file system. */
  readonly root: string;
  /** The ids inside are those of the host from here on. */
  readonly ids: { readonly first: number; readonly count: number };
  /** Its control group: below the root of each hierarchy, of version 2 alone or not. */
  readonly cgroup: { readonly path: string; readonly isV2: boolean };
  /** Path of its network namespace; null: the runtime is in it already. */
  readonly networkNamespace: string | null;
  /** Folders of the host, with their ids mapped already. */
  readonly binds: readonly { readonly source: string; readonly path: string; readonly writable: boolean }[];
  readonly seccomp: SeccompFilter;
  /** The folder that has NAME_FILES. */
  readonly nameFiles: string;
}

/**
 * What a process needs that begins as root and becomes somebody else, on ports below 1024. Not: raw sockets, device
 * nodes, kill beyond one's own, file capabilities, audit.
 */
export const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETGID',
  'CAP_SETUID',
] as const;

const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kallsyms',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/vmallocinfo',
];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const KiB = 1024;
/** Of the kernel's scheduler, in microseconds: short, so that a small share is no long pause. */
const PERIOD_US = 20_000;
/** What the kernel takes at least, in microseconds. */
const LEAST_QUOTA_US = 1000;
/** Open files of one process. */
const OPEN_FILES = 4096;

function mounts({ scratch }: ContainerSpec, { binds, nameFiles }: ContainerPlace): object[] {
  const memory = (path: string, bytes: number, mode: string) => ({
    destination: path,
    type: 'tmpfs',
    source: 'tmpfs',
    options: [
      'nosuid',
      'nodev',
      'noexec',
      `mode=${mode}`,
      `size=${bytes}`,
      `nr_inodes=${Math.ceil(bytes / (4 * KiB)) + 64}`,
    ],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    memory('/dev', 64 * KiB, '755'),
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
    },
    memory('/dev/shm', 8 * KiB * KiB, '1777'),
    // No /sys: without a namespace of its own for the network it would show the host's interfaces.
    ...NAME_FILES.map((name) => ({
      destination: `/etc/${name}`,
      type: 'bind',
      source: join(nameFiles, name),
      options: ['bind', 'nosuid', 'nodev', 'noexec', 'ro'],
    })),
    ...scratch.map(({ path, bytes }) => memory(path, bytes, '1777')),
    ...binds.map(({ source, path, writable }) => ({
      destination: path,
      type: 'bind',
      source,
      options: ['bind', 'nosuid', 'nodev', writable ? 'rw' : 'ro'],
    })),
  ];
}

/** `process` of config.json, and of what is started in a container beside that. */
export function processConfig({ command, env, directory, user: { uid, gid, groups } }: ContainerProcess): object {
  // Who is not root inside has none when its program begins: there are no ambient ones.
  const held = uid === 0 ? CAPABILITIES : [];
  return {
    terminal: false,
    user: { uid, gid, additionalGids: groups, umask: 0o022 },
    args: command,
    env,
    cwd: directory,
    noNewPrivileges: true,
    capabilities: { bounding: CAPABILITIES, effective: held, permitted: held },
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: OPEN_FILES, hard: OPEN_FILES },
      { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
    ],
  };
}

/** config.json of a bundle. */
export function containerConfig(spec: ContainerSpec, place: ContainerPlace): object {
  const ids = [{ containerID: 0, hostID: place.ids.first, size: place.ids.count }];
  const { isV2 } = place.cgroup;
  return {
    ociVersion: '1.0.2',
    hostname: spec.hostname,
    root: { path: place.root, readonly: !spec.writableRoot },
    process: processConfig(spec),
    mounts: mounts(spec, place),
    linux: {
      namespaces: [
        { type: 'user' },
        { type: 'pid' },
        { type: 'mount' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'cgroup' },
        ...(place.networkNamespace === null ? [] : [{ type: 'network', path: place.networkNamespace }]),
      ],
      uidMappings: ids,
      gidMappings: ids,
      cgroupsPath: place.cgroup.path,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        // No swap beside it: what is over the limit ends the container, and does not wear the flash.
        memory: { limit: spec.memoryBytes, swap: spec.memoryBytes },
        cpu: {
          period: PERIOD_US,
          quota: Math.max(LEAST_QUOTA_US, Math.round((spec.cpuMillicores / 1000) * PERIOD_US)),
          ...(isV2 ? {} : { shares: sharesOf(spec.cpuWeight) }),
        },
        // Shares would come out as another weight: crun makes 39 of what is 100.
        ...(isV2 ? { unified: { 'cpu.weight': String(spec.cpuWeight) } } : {}),
        pids: { limit: spec.pids },
      },
      seccomp: place.seccomp,
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
    },
  };
}

/** The weight of cgroup v2 as the shares of v1, which the specification still has: 100 is 1024, linear as they are. */
function sharesOf(weight: number): number {
  return Math.max(2, Math.round((weight * 1024) / 100));
}
