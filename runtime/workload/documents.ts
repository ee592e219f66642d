/** What the state store holds of workloads, and under which keys. */
import { createHash } from 'node:crypto';
import type { Revision } from './revision.ts';

export interface TrafficShare {
  readonly revision: string;
  /** Whole percent; the shares of a workload sum to 100. */
  readonly percent: number;
}

export interface Scale {
  readonly min: number;
  readonly max: number;
  readonly idleMs: number;
}

/** `workload/NAME`: what is wanted. */
export interface WorkloadDocument {
  readonly name: string;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Routes beside the default ones. */
  readonly routes: readonly string[];
  readonly scale: Scale;
  /** Requests that may wait. */
  readonly queue: number;
  readonly traffic: readonly TrafficShare[];
  /** Ids of the kept revisions, oldest first. */
  readonly revisions: readonly string[];
}

/** `revision/NAME/ID`: never changed after it was written. */
export interface RevisionDocument extends Revision {
  readonly createdAt: string;
  /** What the developer called the artifact. */
  readonly label: string;
  /** Why this sandbox was taken. */
  readonly decision: string;
  /** What that was decided from; left out by nodes of before. */
  readonly decidedFrom?: Readonly<Record<string, string | number | boolean>>;
}

export const WORKLOADS = 'workload/';
export const REVISIONS = 'revision/';
/** `process/NAME` (`runtime/processes/`): workloads and processes have one space of names. */
export const PROCESSES = 'process/';
/** `secret/NAME`: sealed (`runtime/secrets/`). */
export const SECRETS = 'secret/';

export function workloadKey(name: string): string {
  return `${WORKLOADS}${name}`;
}

export function revisionKey(name: string, id: string): string {
  return `${REVISIONS}${name}/${id}`;
}

export function processKey(name: string): string {
  return `${PROCESSES}${name}`;
}

export function secretKey(name: string): string {
  return `${SECRETS}${name}`;
}

/** JSON with the keys of every object in order, so that equal values give equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
      .filter(([, each]) => each !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, each]) => `${JSON.stringify(key)}:${canonicalJson(each)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/** The id of a revision: the first 12 hex digits of the SHA-256 over all that it is made of. */
export function revisionId(content: Omit<Revision, 'id'>): string {
  return createHash('sha256').update(canonicalJson(content)).digest('hex').slice(0, 12);
}
