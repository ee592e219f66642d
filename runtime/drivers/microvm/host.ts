/** What the microVM driver asks of the part of the node that is root (`daemon/hostd/`): a narrow contract. */
import type { Exit } from '../../driver.ts';
import type { Sockets } from '../../network/outbound.ts';
import type { HostLayers } from '../container/host.ts';

/** What the node remembers a machine by. */
export interface MachineLabels {
  readonly workload: string;
  readonly revision: string;
}

/**
 * Where its memory is: its own; a new template's, which it becomes with `keepTemplate`; or a template's, of which it gets a
 * private copy, page by page as it writes.
 */
export type MachineMemory =
  | { readonly kind: 'own' }
  | { readonly kind: 'template' }
  | { readonly kind: 'clone'; readonly template: string };

/** What a machine is made of, checked already. Files are named by their digest. */
export interface StartMachine {
  /** Unique on the node: lower case letters, digits and `-`, at most 100. */
  readonly id: string;
  readonly labels: MachineLabels;
  readonly kernel: string;
  /** Null: none. */
  readonly initramfs: string | null;
  /** What is told to the kernel, beside what the monitor tells it of devices. */
  readonly kernelArguments: string;
  /** Diff ids of the root disk's layers, the topmost first; null: a disk of zeros stands in its place. */
  readonly layers: readonly string[] | null;
  readonly cpus: number;
  /** The guest's, in bytes. */
  readonly memoryBytes: number;
  readonly cpuMillicores: number;
  /** 1 to 10,000; 100 is what everybody has. */
  readonly cpuWeight: number;
  /** What it sends out comes to the node (`HostedMachine.outbound`); false: nothing leaves it. */
  readonly outbound: boolean;
  readonly memory: MachineMemory;
}

/** Descriptors of the node's ends of streams into a monitor; who gets them closes them. */
export interface MachineChannels {
  /** QMP. */
  readonly control: number;
  /** The agent's in the guest. */
  readonly agent: number;
  /** What the guest's kernel prints. */
  readonly console: number;
}

export interface MachineUsage {
  /** Of the monitor as a whole. */
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

/** A machine whose monitor was started. */
export interface HostedMachine {
  readonly id: string;
  readonly labels: MachineLabels;
  readonly channels: MachineChannels;
  /** Resolves when its monitor has ended, whoever ended it. */
  readonly exited: Promise<Exit>;
  /** Descriptors of TCP sockets in its network, 16 at most, which the caller connects and closes. */
  sockets(count: number): Promise<number[]>;
  /** Only of one that was started with `outbound`; once. Throws OUTBOUND_UNAVAILABLE. */
  outbound(): Promise<Sockets>;
  /** Nothing of it runs any more, its monitor included. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  usage(): Promise<MachineUsage>;
  /** What it may use of the processor from now on. */
  limit(limits: { readonly cpuMillicores: number }): Promise<void>;
  /**
   * Ends a machine that was started as a template, whose monitor has written its state, and keeps the two under this name,
   * verified when they are used. Throws TEMPLATE_INCOMPLETE.
   */
  keepTemplate(key: string): Promise<void>;
  /** Ends it and leaves nothing of it. Idempotent. */
  remove(): Promise<void>;
}

/** How guests are run here, by measurement. */
export interface Acceleration {
  readonly kind: 'kvm' | 'tcg';
  /** For people: why, with the figure. */
  readonly why: string;
}

export interface MachineHost {
  /** Name and version of the monitor. */
  readonly provider: string;
  readonly acceleration: Acceleration;
  /** The most memory that a guest can have here, in bytes. */
  readonly mostMemoryBytes: number;
  /** Kernels and initial file systems, by their digest. */
  readonly files: MachineFiles;
  readonly layers: HostLayers;
  /** Root disks of images. */
  readonly disks: MachineDisks;
  readonly templates: MachineTemplates;
  /** Resolves when its monitor runs. Throws the errors of the host. */
  start(request: StartMachine): Promise<HostedMachine>;
  close(): Promise<void>;
}

export interface MachineFiles {
  has(digest: string): Promise<boolean>;
  /** @param file a descriptor of it, at its beginning; the caller closes it. Throws MACHINE_FILE_CORRUPT. */
  put(digest: string, file: number): Promise<void>;
  list(): Promise<string[]>;
  /** False when it was not there. */
  delete(digest: string): Promise<boolean>;
}

export interface MachineDisks {
  /** Makes the root disk of an image from its unpacked layers, unless it is there. Throws LAYER_NOT_HERE, DISK_NOT_MADE. */
  make(layers: readonly string[]): Promise<{ readonly bytes: number }>;
  /** Removes those of other images than these, unless a machine has them. */
  keep(images: readonly (readonly string[])[]): Promise<void>;
}

export interface MachineTemplates {
  /** Whether it is there, whole and of this version of the monitor; one that is not is removed. */
  find(key: string): Promise<'there' | 'missing' | { readonly spoilt: string }>;
  list(): Promise<string[]>;
  delete(key: string): Promise<boolean>;
}
