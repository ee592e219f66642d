/** What runs a machine (QEMU, Firecracker), as the driver sees it. */

export interface Monitor {
  /** Resolves when it has ended or is of no use any more: null when it was closed, else what was wrong. */
  readonly closed: Promise<Error | null>;
  /** The guest's processors stand still; its devices too. */
  stop(): Promise<void>;
  /** They go on, or begin. */
  run(): Promise<void>;
  /** Goes on from the state of a template, whose memory it has; the guest stands still yet. */
  restore(): Promise<void>;
  /** Writes the state of a guest that stands still, its memory aside, to where a template's goes. */
  save(): Promise<void>;
  /** How much memory the guest is to keep, in bytes: it gives the rest back. */
  setMemory(bytes: number): Promise<void>;
  /** What the root disk may do each second; null: as much as it can. */
  limitDisk(limits: DiskLimits | null): Promise<void>;
  /** Lets go of it. Idempotent. */
  close(): void;
}

export interface DiskLimits {
  readonly bytesPerSecond: number;
  readonly operationsPerSecond: number;
}
