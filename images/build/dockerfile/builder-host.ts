/** What a build from a Dockerfile asks of the part of the node that is root (`daemon/hostd/`). */

export interface BuildOptions {
  /** The text of the Dockerfile. */
  readonly dockerfile: string;
  readonly args: Readonly<Record<string, string>>;
  /** The stage to stop at; null: the last. */
  readonly target: string | null;
  /** Takes no step from an earlier build. */
  readonly fresh: boolean;
  /** Seconds since 1970 that all files of the image are said to be from; null: when they were made. */
  readonly epoch: number | null;
  /** What RUN steps may read while they run, by id; it stays in no layer. */
  readonly secrets: Readonly<Record<string, string>>;
  /** RUN steps have the network of the machine; else a loopback of their own. */
  readonly network: boolean;
}

/** Descriptors; they stay the caller's. */
export interface BuildStreams {
  /** A tar archive of the files that the Dockerfile may copy. */
  readonly context: number;
  readonly stdout: number;
  readonly stderr: number;
}

export interface CacheBounds {
  readonly maxBytes: number;
  /** Since the last build. */
  readonly maxAgeMs: number;
}

export interface ImageBuilderHost {
  /** What builds, as `skerry doctor` tells it. */
  readonly provider: string;
  /** Gives an image that is here already the name that a Dockerfile has for it. False when it has to be loaded. */
  name(image: string, key: string): Promise<boolean>;
  /** Brings an image, an OCI layout as a tar archive; `key` is its digest. */
  load(archive: number, key: string): Promise<void>;
  /**
   * Builds; what is said meanwhile goes to the streams. Resolves with a descriptor of the image, an OCI layout as a tar archive,
   * which the caller closes. Throws BUILD_FAILED, and what `signal` aborts with.
   */
  build(options: BuildOptions, streams: BuildStreams, signal: AbortSignal): Promise<number>;
  /**
   * Forgets the steps and the bases of earlier builds when they take more of the disk than that, or when nothing was built for
   * so long; not while something is. Resolves with the bytes that are freed.
   */
  prune(bounds: CacheBounds): Promise<number>;
}
