/** One revision of a workload on this node: brings its instance up and down, one step at a time. */
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import type { Driver, Instance } from '../driver.ts';
import { InstanceLedger } from '../monitor/instance-ledger.ts';
import { LatencyHistogram } from '../monitor/latency-histogram.ts';
import { AdmissionQueue } from '../scheduler/admission.ts';
import type { ServedRevision, Usage } from '../snapshot.ts';
import type { RevisionDocument } from '../workload/documents.ts';
import { reconcilerErrors } from './errors.ts';

export type RevisionPhase = 'cold' | 'preparing' | 'ready' | 'draining' | 'failed';

/** A failed start is tried again after this long, doubled each time up to the most, in milliseconds. */
const BACKOFF = { first: 1000, most: 60_000 };
/** Beyond its own time limit a request in flight gets this long to end before its instance is stopped, in milliseconds. */
const DRAIN_SLACK_MS = 1000;

/** Whom a runner tells what it does. */
export interface RunnerListener {
  /** What `served` says has changed: puts it into the snapshot, at once. */
  publish(): void;
  /** An instance is up, and will serve. */
  started(instance: Instance): void;
}

export class RevisionRunner {
  readonly revision: RevisionDocument;
  readonly usage: Usage = { requests: 0, failures: 0, latency: new LatencyHistogram(), lastUsed: performance.now() };
  /** Of all its instances, those that have ended too. */
  readonly ledger = new InstanceLedger();
  readonly admission: AdmissionQueue;
  error: SkerryError | null = null;
  #phase: RevisionPhase = 'cold';
  #instance: Instance | null = null;
  #starting: Promise<void> | null = null;
  /** The instance was started with what has changed since; one that is wanted again is replaced. */
  #stale = false;
  /** Instances that were replaced and end what they have. */
  readonly #replaced = new Set<Promise<void>>();
  #failures = 0;
  #retryAt = 0;
  readonly #driver: Driver;
  readonly #listener: RunnerListener;

  constructor(revision: RevisionDocument, driver: Driver, queueLimit: number, listener: RunnerListener) {
    this.revision = revision;
    this.#driver = driver;
    this.#listener = listener;
    this.admission = new AdmissionQueue(revision.workload, revision.limits.concurrency, queueLimit);
  }

  get phase(): RevisionPhase {
    return this.#phase;
  }

  get instance(): Instance | null {
    return this.#instance;
  }

  /** When a failed start may be tried again, on the clock of `performance.now()`. */
  get retryAt(): number {
    return this.#retryAt;
  }

  get busy(): boolean {
    return this.admission.running > 0 || this.admission.queued > 0;
  }

  served(): ServedRevision {
    return {
      revision: this.revision,
      admission: this.admission,
      instances: this.#instance ? [this.#instance] : [],
      usage: this.usage,
    };
  }

  /** Brings the instance up; joins a start that is under way; throws the last failure again while it is too early to retry. */
  start(): Promise<void> {
    if (this.#phase === 'ready') return Promise.resolve();
    if (this.#instance && !this.#stale) {
      // Wanted again before its instance was told to stop.
      this.#phase = 'ready';
      this.#listener.publish();
      return Promise.resolve();
    }
    if (this.#starting) return this.#starting;
    if (this.error && performance.now() < this.#retryAt) return Promise.reject(this.error);
    this.#starting = this.#bringUp().finally(() => {
      this.#starting = null;
    });
    return this.#starting;
  }

  /**
   * What the revision is started with has changed: an instance that runs is replaced by a fresh one, from one request to
   * the next, and ends what it has in flight. Throws what the start failed with; the old instance then goes on.
   */
  async restart(): Promise<void> {
    await this.#starting?.catch(() => {});
    // What failed may be possible now.
    this.#retryAt = 0;
    if (this.#phase === 'draining') this.#stale = true;
    if (this.#phase !== 'ready') return;
    this.#starting = this.#replace().finally(() => {
      this.#starting = null;
    });
    await this.#starting;
  }

  /**
   * Ends the instance when its requests are over, those that wait for a place included; a start under way is waited
   * for first. A `start` meanwhile keeps it.
   */
  async stop(graceMs = this.revision.limits.timeoutMs + DRAIN_SLACK_MS): Promise<void> {
    await this.#starting?.catch(() => {});
    const instance = this.#instance;
    if (!instance) return void (await Promise.all(this.#replaced));
    const until = performance.now() + graceMs;
    this.#phase = 'draining';
    await this.admission.drained(graceMs);
    if (this.#phase !== 'draining' || this.#instance !== instance) return;
    // No request may find an instance that has been told to stop.
    this.#instance = null;
    this.#listener.publish();
    await instance.stop(Math.max(0, until - performance.now()));
    await Promise.all(this.#replaced);
    if (this.#phase === 'draining') this.#phase = 'cold';
    this.#listener.publish();
  }

  release(): Promise<void> {
    return this.#driver.release(this.revision);
  }

  async #bringUp(): Promise<void> {
    this.#phase = 'preparing';
    try {
      await this.#replace();
    } catch (reason) {
      this.error = asSkerryError(reason);
      this.#phase = 'failed';
      this.#retryAt = performance.now() + Math.min(BACKOFF.most, BACKOFF.first * 2 ** this.#failures);
      this.#failures++;
      this.#listener.publish();
      throw this.error;
    }
    this.error = null;
    this.#failures = 0;
    this.#phase = 'ready';
    this.usage.lastUsed = performance.now();
    this.#listener.publish();
  }

  /** A fresh instance in the place of the one there is, if any. */
  async #replace(): Promise<void> {
    await this.#driver.prepare(this.revision, () => {});
    const fresh = await this.#startInTime();
    this.ledger.add(fresh);
    this.#listener.started(fresh);
    const old = this.#instance;
    this.#instance = fresh;
    this.#stale = false;
    this.#listener.publish();
    if (!old) return;
    const ending = old
      .stop(this.revision.limits.timeoutMs + DRAIN_SLACK_MS)
      .finally(() => this.#replaced.delete(ending));
    this.#replaced.add(ending);
  }

  /** Throws START_TIMEOUT; what comes up after that is ended. */
  async #startInTime(): Promise<Instance> {
    const { workload, limits } = this.revision;
    const starting = this.#driver.start(this.revision, limits);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(reconcilerErrors.START_TIMEOUT(workload, limits.startTimeoutMs)),
        limits.startTimeoutMs,
      );
    });
    try {
      return await Promise.race([starting, late]);
    } catch (reason) {
      starting.then(
        (instance) => instance.stop(0),
        () => {},
      );
      throw reason;
    } finally {
      clearTimeout(timer);
    }
  }
}
