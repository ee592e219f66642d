/** Brings one workload to what its document wants. */
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import type { Driver, Instance } from '../driver.ts';
import type { Admission } from '../scheduler/admission/admission.ts';
import type { Release } from '../scheduler/allocation/memory-budget.ts';
import type { DecisionLog } from '../scheduler/decisions.ts';
import { heavierThan } from '../scheduler/placement.ts';
import type { ServedWorkload } from '../snapshot.ts';
import type { DesiredState } from '../workload/desired-state.ts';
import type { RevisionDocument, Scale, TrafficShare, WorkloadDocument } from '../workload/documents.ts';
import type { Isolation, Revision } from '../workload/revision.ts';
import { reconcilerErrors } from './errors.ts';
import { RevisionRunner } from './revision-runner.ts';

export type WorkloadPhase = 'pending' | 'progressing' | 'ready' | 'idle' | 'parked' | 'failed';

export interface WorkloadStatus {
  readonly observedGeneration: number;
  readonly phase: WorkloadPhase;
  readonly message: string;
  readonly traffic: readonly TrafficShare[];
}

export interface ControllerContext {
  readonly desired: DesiredState;
  readonly drivers: ReadonlyMap<Isolation, Driver>;
  readonly admission: Admission;
  readonly decisions: DecisionLog;
  /** The part of the snapshot that is `name`'s has changed: puts it in, at once. */
  publish(name: string): void;
  /** An instance is up, and will serve. */
  started(instance: Instance): void;
  /** Memory for one more instance. Throws MEMORY_CEILING. */
  reserve(revision: RevisionDocument): Promise<Release>;
  /** Limits how many revisions start at once. */
  startSlot<T>(start: () => Promise<T>): Promise<T>;
  log(message: string, error?: unknown): void;
}

/** None of a revision's instances need be kept for traffic that it does not get. */
function scaleOf(document: WorkloadDocument, id: string): Scale {
  const { scale, traffic } = document;
  return traffic.some(({ revision }) => revision === id) ? scale : { ...scale, min: 0 };
}

export class WorkloadController {
  readonly name: string;
  readonly #context: ControllerContext;
  readonly #runners = new Map<string, RevisionRunner>();
  /** What requests get: follows the document's traffic once all its revisions are ready. */
  #traffic: readonly TrafficShare[] = [];
  #document: WorkloadDocument | null = null;
  #observed = 0;
  #phase: WorkloadPhase = 'pending';
  #message = '';
  /** Drains that go on behind a finished reconciliation. */
  readonly #draining = new Set<Promise<void>>();

  constructor(name: string, context: ControllerContext) {
    this.name = name;
    this.#context = context;
  }

  get status(): WorkloadStatus {
    const runners = this.#traffic.map(({ revision }) => this.#runners.get(revision));
    const failed = runners.find((runner) => runner?.phase === 'failed');
    const settled = this.#phase === 'ready';
    let phase = this.#phase;
    if (settled && failed) phase = 'failed';
    else if (settled && runners.every((runner) => runner?.phase === 'cold')) phase = 'idle';
    return {
      observedGeneration: this.#observed,
      phase,
      message: this.#message || (settled && failed?.error?.message) || '',
      traffic: this.#traffic,
    };
  }

  get routes(): readonly string[] {
    return this.#document?.routes ?? [];
  }

  runner(id: string): RevisionRunner | undefined {
    return this.#runners.get(id);
  }

  /** The revisions that `which` picks, as they run on this node. */
  runners(which: (revision: Revision) => boolean): RevisionRunner[] {
    return [...this.#runners.values()].filter((runner) => which(runner.revision));
  }

  /** Null when nothing of it is to be served. */
  served(): ServedWorkload | null {
    // A removed workload is not served from that moment, also when a pass over it still runs.
    if (!this.#document || this.#traffic.length === 0 || !this.#context.desired.get(this.name)) return null;
    const revisions = new Map([...this.#runners].map(([id, runner]) => [id, runner.served()]));
    const traffic = this.#traffic.flatMap(({ revision, percent }) => {
      const served = revisions.get(revision);
      return served ? [{ revision: served, percent }] : [];
    });
    return { name: this.name, traffic, revisions, parked: this.#document.scale.max === 0 };
  }

  /**
   * One pass: from what is to what the document wants. Where nothing was served before, because the workload is new or
   * the node has just started, its revisions are served at once, cold, and warmed here: requests wait for the start, and
   * hear of it when it fails. Returns when to try again in milliseconds, or null when all is as wanted.
   */
  async reconcile(): Promise<number | null> {
    const document = this.#context.desired.get(this.name);
    if (!document) return null;
    this.#document = document.value;
    this.#phase = 'progressing';
    this.#message = '';
    const problems = this.#syncRunners(document.value);
    const first = this.#traffic.length === 0;
    if (first) this.#shift(document.value.traffic);
    const failure = problems[0] ?? (await this.#roll(document.value, first));
    this.#observed = document.generation;
    this.#drainUnwanted(document.value);
    if (failure) {
      this.#phase = 'failed';
      this.#message = failure.message;
      this.#context.log(`${this.name}: ${failure.message}`, failure);
      this.#context.publish(this.name);
      return this.#retryDelay(document.value);
    }
    this.#phase = document.value.scale.max === 0 ? 'parked' : 'ready';
    this.#context.publish(this.name);
    return null;
  }

  /** Stops what nobody used for the workload's idle time, and sees to the instances of the rest. */
  tend(now: number): void {
    const document = this.#document;
    if (!document || this.#phase === 'progressing') return;
    const kept = document.scale.min > 0 ? new Set(this.#traffic.map((share) => share.revision)) : new Set<string>();
    for (const [id, runner] of this.#runners) {
      // Its instances have ended by themselves.
      const missing = runner.phase === 'failed' && (kept.has(id) || runner.busy);
      if (missing && now >= runner.retryAt) this.#startAgain(runner);
      if (runner.phase !== 'ready') continue;
      const unused = !kept.has(id) && !runner.busy && runner.advised === 0;
      const idle = unused && now - runner.usage.lastUsed >= runner.idleMs;
      if (idle) this.#stop(runner);
      else runner.tend(now);
    }
  }

  /** Ends everything, for the node's own stop. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.stop(graceMs)));
    await Promise.all(this.#draining);
  }

  /** A runner for each kept revision. Returns what could not be read. */
  #syncRunners(document: WorkloadDocument): SkerryError[] {
    const problems: SkerryError[] = [];
    for (const id of document.revisions) {
      const known = this.#runners.get(id);
      if (known) {
        known.admission.limit = document.queue;
        known.scale = scaleOf(document, id);
        continue;
      }
      try {
        const revision = this.#context.desired.revision(this.name, id);
        if (!revision) throw reconcilerErrors.REVISION_MISSING(this.name, id);
        const driver = this.#context.drivers.get(revision.isolation);
        if (!driver) throw reconcilerErrors.DRIVER_MISSING(this.name, revision.isolation);
        const runner: RevisionRunner = new RevisionRunner(revision, driver, document.queue, scaleOf(document, id), {
          publish: () => this.#context.publish(this.name),
          started: (instance) => this.#context.started(instance),
          wanted: () => this.#warm(runner),
          reserve: (wanted) => this.#context.reserve(wanted),
          fallBack: (from, why) => this.#fallBack(revision, from, why),
          lane: (options) => this.#context.admission.lane(options),
          startSlot: (start) => this.#context.startSlot(start),
          log: (message, error) => this.#context.log(`${this.name}: ${message}`, error),
        });
        this.#runners.set(id, runner);
      } catch (reason) {
        // An old revision that cannot be read is of no matter until somebody wants it.
        if (document.traffic.some((share) => share.revision === id)) problems.push(asSkerryError(reason));
      }
    }
    return problems;
  }

  /** Starts what the traffic needs, then moves the traffic. Returns the first failure; the old traffic then stays. */
  async #roll(document: WorkloadDocument, first: boolean): Promise<SkerryError | null> {
    if (document.scale.max > 0) {
      const serving = new Set(this.#traffic.map((share) => share.revision));
      for (const { revision } of document.traffic) {
        const runner = this.#runners.get(revision) as RevisionRunner;
        const wanted = first || document.scale.min > 0 || !serving.has(revision) || runner.phase === 'failed';
        if (!wanted || runner.phase === 'ready') continue;
        try {
          await this.#context.startSlot(() => runner.start());
        } catch (reason) {
          return asSkerryError(reason);
        }
      }
    }
    this.#shift(document.traffic);
    return null;
  }

  #shift(traffic: readonly TrafficShare[]): void {
    this.#traffic = traffic;
    this.#context.publish(this.name);
  }

  /** Stops revisions that have no traffic any more, and forgets those that are not kept. */
  #drainUnwanted(document: WorkloadDocument): void {
    const serving = new Set(document.scale.max === 0 ? [] : this.#traffic.map((share) => share.revision));
    for (const [id, runner] of this.#runners) {
      const gone = !document.revisions.includes(id) && !this.#traffic.some((share) => share.revision === id);
      if (gone) this.#runners.delete(id);
      if (gone || !serving.has(id)) this.#stop(runner, gone);
    }
  }

  /** Starts what is cold before a request comes, where one may come. */
  #warm(runner: RevisionRunner): void {
    const serves = this.#traffic.some((share) => share.revision === runner.revision.id);
    if (serves && this.#document && this.#document.scale.max > 0) this.#startAgain(runner);
  }

  #fallBack(revision: RevisionDocument, from: Driver, why: SkerryError): Driver | null {
    const { drivers, decisions } = this.#context;
    const next = heavierThan(from.isolation, revision, new Set(drivers.keys()));
    const driver = (next && drivers.get(next)) || null;
    const inputs = { revision: revision.id, failed: from.isolation, why: why.what };
    if (driver) decisions.add(this.name, 'placement', `${driver.isolation} in place of ${from.isolation}`, inputs);
    return driver;
  }

  #startAgain(runner: RevisionRunner): void {
    this.#context
      .startSlot(() => runner.start())
      .catch((error: unknown) => this.#context.log(`${this.name}: ${asSkerryError(error).message}`, error));
  }

  /** Takes the instances out of the snapshot, then drains them behind our back. */
  #stop(runner: RevisionRunner, release = false): void {
    if (runner.instances.length === 0 && !release) return;
    const work = runner
      .stop()
      .then(() => (release ? runner.release() : undefined))
      .catch((error: unknown) => this.#context.log(`${this.name}: stopping ${runner.revision.id} failed`, error))
      .finally(() => this.#draining.delete(work));
    this.#draining.add(work);
  }

  /** Ends everything of a removed workload; resolves when nothing of it runs any more. */
  async remove(): Promise<void> {
    this.#document = null;
    this.#traffic = [];
    for (const runner of this.#runners.values()) this.#stop(runner, true);
    this.#runners.clear();
    await Promise.all(this.#draining);
  }

  #retryDelay(document: WorkloadDocument): number {
    const times = document.traffic.map(({ revision }) => this.#runners.get(revision)?.retryAt ?? 0);
    return Math.max(1000, Math.max(...times) - performance.now());
  }
}
