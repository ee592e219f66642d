/** What the container driver asks of the part of the node that is root (`daemon/hostd/`): a narrow contract. */
import type { Exit } from '../../driver.ts';

/** A program inside a container. */
export interface ContainerProcess {
  /** The program and its arguments; never empty. */
  readonly command: readonly string[];
  /** `NAME=VALUE` each. */
  readonly env: readonly string[];
  /** Absolute, inside. */
  readonly directory: string;
  /** Ids inside. */
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
}

/** What a container is made of, checked already. */
export interface ContainerSpec extends ContainerProcess {
  readonly hostname: string;
  readonly memoryBytes: number;
  readonly cpuMillicores: number;
  /** 1 to 10,000; 100 is what everybody has. */
  readonly cpuWeight: number;
  readonly pids: number;
  /** Folders in memory at these places, each of at most so many bytes; they count as the container's memory. */
  readonly scratch: readonly { readonly path: string; readonly bytes: number }[];
  /** The root file system takes writes, up to what its place in memory holds. */
  readonly writableRoot: boolean;
}

/** A folder that outlives containers, and that several may have at once. */
export interface VolumeMount {
  readonly name: string;
  /** Absolute, inside. */
  readonly path: string;
  /** What it holds at most; null: what it has been made with, or what is made when nothing is said. */
  readonly bytes: number | null;
}

export interface HostVolume {
  readonly name: string;
  readonly bytes: number;
  /** Of the disk. */
  readonly usedBytes: number;
  /** Workloads and processes with a container that has it now. */
  readonly usedBy: readonly string[];
}

export interface HostVolumes {
  list(): Promise<HostVolume[]>;
  /** False when it was not there. Throws VOLUME_IN_USE. */
  delete(name: string): Promise<boolean>;
}

/** What the node remembers a container by, through its own end too. */
export interface ContainerLabels {
  readonly workload: string;
  readonly revision: string;
}

export interface StartContainer {
  /** Unique on the node: lower case letters, digits and `-`, at most 64. */
  readonly id: string;
  readonly labels: ContainerLabels;
  /** Diff ids of unpacked layers, the topmost first. */
  readonly layers: readonly string[];
  /** What may be written over them, in bytes, in memory. */
  readonly writableBytes: number;
  readonly spec: ContainerSpec;
  /**
   * What it sends out comes to the node (`HostedContainer.outbound`): what it sends to names, and to these IPv4 addresses.
   * Null: nothing leaves it.
   */
  readonly outbound: readonly string[] | null;
  readonly volumes: readonly VolumeMount[];
  /** What its first process reads and writes; when left out it reads nothing, and what it writes is kept to be followed. */
  readonly stdio?: Stdio;
}

/** Descriptors of sockets inside the network of a container that are the node's; who gets them closes them. */
export interface OutboundSockets {
  /** Listens: takes its TCP to 127.64.0.0/10 and to other addresses than loopback, whatever the port. */
  readonly streams: number;
  /** Questions to its resolver over UDP. */
  readonly queries: number;
}

export interface ContainerUsage {
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly processes: number;
}

/** A piece of what the processes of a container wrote. */
export interface ContainerOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

/** Descriptors; they stay the caller's. */
export interface Stdio {
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;
}

/** A further process in a container. */
export interface Execution {
  /** Its exit status, as a shell tells it. */
  readonly exited: Promise<number>;
  kill(): Promise<void>;
}

/** A container whose process was started. */
export interface HostedContainer {
  readonly id: string;
  readonly labels: ContainerLabels;
  /** Resolves when its first process has ended, whoever ended it, and all that it wrote was told. */
  readonly exited: Promise<Exit>;
  /**
   * What it has written and writes comes to `output`: from its start on, or from where an earlier run of the node had read.
   * To be called once.
   */
  follow(output: (piece: ContainerOutput) => void): void;
  /** Descriptors of TCP sockets in its network, 16 at most, which the caller connects and closes. */
  sockets(count: number): Promise<number[]>;
  /** Only of one that was started with `outbound`; once in each run of the node. Throws OUTBOUND_UNAVAILABLE. */
  outbound(): Promise<OutboundSockets>;
  /**
   * To its first process, by name or number. False when that does not listen to it: to the first process of a namespace
   * the kernel then gives none.
   */
  signal(name: string): Promise<boolean>;
  /** Starts a further process; its memory, time and number count as the container's. */
  exec(process: ContainerProcess, stdio: Stdio): Promise<Execution>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** The share of the CPU that it may have from now on. */
  resize(cpuMillicores: number): Promise<void>;
  usage(): Promise<ContainerUsage>;
  /** Ends all its processes and leaves nothing of it. Idempotent. */
  remove(): Promise<void>;
}

/** The files of an image that say who its users are; empty where it has none. */
export interface ImageAccounts {
  readonly passwd: string;
  readonly group: string;
}

/** Unpacked layers of images, by diff id. */
export interface HostLayers {
  has(diffId: string): Promise<boolean>;
  /** @param blob a descriptor of the layer as it came, at its beginning; the caller closes it. Throws the errors of `images/layers`. */
  unpack(diffId: string, blob: number): Promise<void>;
  list(): Promise<string[]>;
  /** False when it was not there. */
  delete(diffId: string): Promise<boolean>;
  /** @param layers diff ids, the topmost first */
  accounts(layers: readonly string[]): Promise<ImageAccounts>;
}

export interface FoundContainer {
  readonly container: HostedContainer;
  /** False: it has ended, and what it wrote last can be read before it is removed. */
  readonly running: boolean;
}

/** What some containers need and this machine does not have. */
export interface HostLack {
  /** What they cannot have for it. */
  readonly what: string;
  readonly why: string;
  /** What would mend it. */
  readonly advice: string;
}

export interface ContainerHost {
  /** What runs them, as `skerry doctor` tells it. */
  readonly provider: string;
  /** As the machine is now. */
  lacks(): Promise<readonly HostLack[]>;
  readonly layers: HostLayers;
  readonly volumes: HostVolumes;
  /** Resolves when its process runs. Throws the errors of the host. */
  start(request: StartContainer): Promise<HostedContainer>;
  /** Those that another run of the node left, running (or paused) or not. */
  recover(): Promise<FoundContainer[]>;
  close(): Promise<void>;
}
