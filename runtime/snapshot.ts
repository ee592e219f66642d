/**
 * What the data plane sees: one immutable value, made by the reconciler and swapped at once. A request looks things up
 * in the snapshot of the moment and never in the control state.
 */
import type { Instance } from './driver.ts';
import type { LatencyHistogram } from './monitor/latency-histogram.ts';
import type { ServiceTimes } from './monitor/learned/service-times.ts';
import type { Lane } from './scheduler/admission/lane.ts';
import type { ServiceRecord } from './scheduler/balancing/service-record.ts';
import type { Revision } from './workload/revision.ts';

/** One instance that serves, and what it has in hand: written by the dispatcher. */
export interface ServedInstance {
  readonly instance: Instance;
  /** Requests that run in it. */
  inFlight: number;
  /** When the last request ended, on the clock of `performance.now()`. */
  idleSince: number;
  /** It was told to rest; the next request resumes it. */
  paused: boolean;
  readonly record: ServiceRecord;
}

export interface ServedRevision {
  readonly revision: Revision;
  readonly admission: Lane;
  /** Empty while the revision is cold: a request then has it woken. */
  readonly instances: readonly ServedInstance[];
  /** Counts and last use, shared by all snapshots that hold this revision. */
  readonly usage: Usage;
}

/** Written by the dispatcher, read by the reconciler (idle time) and the monitor. */
export interface Usage {
  requests: number;
  failures: number;
  /** From arrival to the end of the answer. */
  readonly latency: LatencyHistogram;
  /** What its requests take once they run, by route. */
  readonly service: ServiceTimes;
  /** On the clock of `performance.now()`. */
  lastUsed: number;
}

export interface ServedWorkload {
  readonly name: string;
  /** Percentages sum to 100, unless revisions could not be read: those are left out. */
  readonly traffic: readonly { readonly revision: ServedRevision; readonly percent: number }[];
  /** Every kept revision by id, for preview hosts. */
  readonly revisions: ReadonlyMap<string, ServedRevision>;
  /** Scaled to at most 0: requests are refused. */
  readonly parked: boolean;
}

export interface RouteEntry {
  /** `[HOST]/PATH`, as in `runtime/workload/routes.ts`. */
  readonly route: string;
  readonly workload: string;
  /** The default path route: `/NAME` is taken off the path and told in X-Forwarded-Prefix. */
  readonly stripPrefix: string;
}

export interface Snapshot {
  readonly workloads: ReadonlyMap<string, ServedWorkload>;
  /** The same array as in the snapshot before when no route changed, so that tables made from it can be kept. */
  readonly routes: readonly RouteEntry[];
}

export const EMPTY_SNAPSHOT: Snapshot = { workloads: new Map(), routes: [] };

/** Whom the dispatcher asks for the snapshot, and to start a cold revision. */
export interface SnapshotSource {
  readonly current: Snapshot;
  /** Resolves when the revision has an instance in `current`; rejects with a SkerryError when it cannot be started. */
  wake(workload: string, revision: string): Promise<void>;
}
