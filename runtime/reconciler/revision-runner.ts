/** One revision of a workload on this node: brings its instances up and down, as many as its load asks for. */
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import type { Driver, Exit, Instance } from '../driver.ts';
import { InstanceLedger } from '../monitor/instance-ledger.ts';
import { LatencyHistogram } from '../monitor/latency-histogram.ts';
import { ServiceTimes } from '../monitor/learned/service-times.ts';
import type { Lane, LaneOptions } from '../scheduler/admission/lane.ts';
import type { Allocated } from '../scheduler/allocation/cpu-allocator.ts';
import type { Holder, Release } from '../scheduler/allocation/memory-budget.ts';
import { ServiceRecord } from '../scheduler/balancing/service-record.ts';
import type { Scaled } from '../scheduler/scaling/autoscaler.ts';
import { replicasWanted } from '../scheduler/scaling/replicas.ts';
import type { ServedInstance, ServedRevision, Usage } from '../snapshot.ts';
import type { RevisionDocument, Scale } from '../workload/documents.ts';
import { reconcilerErrors } from './errors.ts';

export type RevisionPhase = 'cold' | 'preparing' | 'ready' | 'draining' | 'failed';

/** A start that failed is tried again after this long, doubled each time up to the most, in milliseconds. */
const BACKOFF = { first: 1000, most: 60_000 };
/**
 * An instance that lived this long ends the doubling, in milliseconds. One that the node found to be no longer well has
 * lived at least for as long as that took to find, even if it never was: there it takes as long as in Kubernetes.
 */
const STABLE_MS = { ended: 10_000, unwell: 600_000 };
/** Beyond its own time limit a request in flight gets this long to end before its instance is stopped, in milliseconds. */
const DRAIN_SLACK_MS = 1000;
/** Beyond its start timeout a driver, which holds it too and knows better why, gets this long to say so, in milliseconds. */
const START_SLACK_MS = 1000;
/** An instance that may be stopped when it is idle is paused after this part of the idle time, or this many milliseconds. */
const PAUSE = { part: 0.5, mostMs: 5000 };

/** Starts in a row that fail before the next heavier sandbox is tried, where the node chose the sandbox itself. */
const FALL_BACK_AFTER = 3;

/** Of the instances of a revision that ended by themselves, or were ended since they were not well. */
export interface Ends {
  readonly count: number;
  /** Of the last one: when, ISO 8601, and why. */
  readonly at: string;
  readonly message: string;
}

/** Whom a runner tells what it does. */
export interface RunnerListener {
  /** What `served` says has changed: puts it into the snapshot, at once. */
  publish(): void;
  /** An instance is up, and will serve. */
  started(instance: Instance): void;
  /** Memory for one more instance. Throws MEMORY_CEILING when there is none. */
  reserve(revision: RevisionDocument): Promise<Release>;
  /** It is cold, and requests for it are expected. */
  wanted(): void;
  /** A heavier sandbox in place of one that keeps failing; null: there is none, or none may be taken. */
  fallBack(from: Driver, why: SkerryError): Driver | null;
  /** Where its requests get their places from. */
  lane(options: LaneOptions): Lane;
  /** Runs a start when it is its turn: few go on at once. */
  startSlot<T>(start: () => Promise<T>): Promise<T>;
  log(message: string, error: unknown): void;
}

class Replica implements ServedInstance {
  readonly instance: Instance;
  readonly record = new ServiceRecord();
  inFlight = 0;
  readonly startedAt = performance.now();
  idleSince = this.startedAt;
  paused = false;
  /** It has another share than it was started with, or had one. */
  resized = false;

  constructor(instance: Instance) {
    this.instance = instance;
  }

  idleFor(now: number): number {
    return this.inFlight > 0 ? 0 : now - this.idleSince;
  }
}

/** Of the idle time, where the scaler is sure that no request is to come. */
const QUIET_PART = 0.1;

/** The wait for a place that is still good, as part of what a request may take, within bounds; in milliseconds. */
const OBJECTIVE = { part: 0.05, least: 10, most: 500 };

/** Codes of failures that another sandbox would not mend: it would need no less memory, and the program would say the same. */
const SAME_IN_ANY_SANDBOX: ReadonlySet<string> = new Set([
  'MEMORY_CEILING',
  'CONTAINER_NOT_LISTENING',
  'CONTAINER_NOT_READY',
  'COMMAND_MISSING',
  'IMAGE_NO_COMMAND',
  'IMAGE_USER_UNKNOWN',
]);

export class RevisionRunner implements Scaled, Allocated {
  readonly revision: RevisionDocument;
  readonly usage: Usage = {
    requests: 0,
    failures: 0,
    latency: new LatencyHistogram(),
    service: new ServiceTimes(),
    lastUsed: performance.now(),
  };
  /** Of all its instances, those that have ended too. */
  readonly ledger = new InstanceLedger();
  readonly admission: Lane;
  error: SkerryError | null = null;
  /** Since the node started; null: none has ended. */
  ends: Ends | null = null;
  /** What the workload's document says of instances; `min` is 0 for a revision that gets no traffic. */
  scale: Scale;
  #phase: RevisionPhase = 'cold';
  #replicas: readonly Replica[] = [];
  #starting: Promise<void> | null = null;
  /** Starts of further instances under way. */
  #growing = 0;
  /** What each instance gets of the CPU. */
  #millicores: number;
  /** No request is to come soon. */
  #quiet = false;
  /** Instances that the scaler wants at least. */
  #advised = 0;
  /** The instances were started with what has changed since; those that are wanted again are replaced. */
  #stale = false;
  /** Instances that have left and end what they have. */
  readonly #leaving = new Set<Promise<void>>();
  #failures = 0;
  #retryAt = 0;
  #driver: Driver;
  readonly #listener: RunnerListener;

  constructor(revision: RevisionDocument, driver: Driver, queueLimit: number, scale: Scale, listener: RunnerListener) {
    this.revision = revision;
    this.scale = scale;
    this.#millicores = revision.limits.cpuMillicores;
    this.#driver = driver;
    this.#listener = listener;
    const { workload: name, priority, limits } = revision;
    const { concurrency, timeoutMs } = limits;
    const onWaiting = () => this.#grow();
    this.admission = listener.lane({ name, concurrency, limit: queueLimit, priority, timeoutMs, onWaiting });
  }

  get phase(): RevisionPhase {
    return this.#phase;
  }

  get instances(): readonly Instance[] {
    return this.#replicas.map(({ instance }) => instance);
  }

  /** When a failed start may be tried again, on the clock of `performance.now()`. */
  get retryAt(): number {
    return this.#retryAt;
  }

  get busy(): boolean {
    return this.admission.running > 0 || this.admission.queued > 0;
  }

  // What the scaler asks.

  get workload(): string {
    return this.revision.workload;
  }

  get load(): Lane {
    return this.admission;
  }

  get instanceCount(): number {
    return this.#replicas.length;
  }

  get concurrency(): number {
    return this.revision.limits.concurrency;
  }

  get most(): number {
    return this.#driver.replicated ? Math.max(1, this.scale.max) : 1;
  }

  get objectiveMs(): number {
    const { part, least, most } = OBJECTIVE;
    return Math.min(most, Math.max(least, this.revision.limits.timeoutMs * part));
  }

  advise(instances: number, quiet: boolean): void {
    this.#advised = instances;
    this.#quiet = quiet;
    if (this.#phase === 'cold' && instances > 0) this.#listener.wanted();
    else this.#grow();
  }

  get advised(): number {
    return this.#advised;
  }

  /** After so long without a request an instance may be stopped, in milliseconds. */
  get idleMs(): number {
    return this.scale.idleMs * (this.#quiet ? QUIET_PART : 1);
  }

  // What the allocation asks.

  get resizable(): number {
    // One that does nothing takes nothing from the others, whatever its quota: where it begins to, the kernel's weights
    // divide by priority until the next look.
    if (!this.#driver.replicated || this.requests === 0) return 0;
    return this.#replicas.filter(({ paused }) => !paused).length;
  }

  get declaredMillicores(): number {
    return this.revision.limits.cpuMillicores;
  }

  get reservedInstances(): number {
    return this.scale.min;
  }

  get priority(): number {
    return this.revision.priority;
  }

  get requests(): number {
    return this.admission.running + this.admission.queued;
  }

  allot(millicores: number): void {
    this.#millicores = millicores;
    for (const replica of this.#replicas) this.#allot(replica);
  }

  /** Who of its instances holds memory. */
  holders(): Holder[] {
    if (!this.#driver.replicated || this.#phase !== 'ready') return [];
    return this.#replicas.map((replica, i) => ({
      workload: this.workload,
      bytes: this.revision.limits.memoryBytes,
      priority: this.revision.priority,
      state: replica.inFlight > 0 ? 'busy' : replica.paused ? 'frozen' : 'idle',
      reserved: i < this.scale.min,
      idleSince: replica.idleSince,
      evict: () => this.#evict(replica),
    }));
  }

  served(): ServedRevision {
    const { revision, admission, usage } = this;
    return { revision, admission, instances: this.#replicas, usage };
  }

  /** Brings an instance up; joins a start that is under way; throws the last failure again while it is too early to retry. */
  start(): Promise<void> {
    if (this.#phase === 'ready') return Promise.resolve();
    if (this.#replicas.length > 0 && !this.#stale) {
      // Wanted again before its instances were told to stop.
      this.#phase = 'ready';
      this.#listener.publish();
      return Promise.resolve();
    }
    if (this.#starting) return this.#starting;
    if (this.error && performance.now() < this.#retryAt) return Promise.reject(this.error);
    this.#starting = this.#bringUp().finally(() => {
      this.#starting = null;
      this.#grow();
    });
    return this.#starting;
  }

  /**
   * What the revision is started with has changed: instances that run are replaced by fresh ones, from one request to
   * the next, and end what they have in flight. Throws what a start failed with; the old instances then go on.
   */
  async restart(): Promise<void> {
    await this.#starting?.catch(() => {});
    // What failed may be possible now.
    this.#retryAt = 0;
    if (this.#phase === 'draining') this.#stale = true;
    if (this.#phase !== 'ready') return;
    this.#starting = this.#replaceAll().finally(() => {
      this.#starting = null;
    });
    await this.#starting;
  }

  /**
   * Ends the instances when their requests are over, those that wait for a place included; a start under way is waited
   * for first. A `start` meanwhile keeps them.
   */
  async stop(graceMs = this.revision.limits.timeoutMs + DRAIN_SLACK_MS): Promise<void> {
    await this.#starting?.catch(() => {});
    const before = this.#replicas;
    if (before.length === 0) return void (await Promise.all(this.#leaving));
    const until = performance.now() + graceMs;
    this.#phase = 'draining';
    await this.admission.drained(graceMs);
    if (this.#phase !== 'draining' || this.#replicas !== before) return;
    // No request may find an instance that has been told to stop.
    this.#set([]);
    for (const replica of before) this.#leave(replica, Math.max(0, until - performance.now()));
    await Promise.all(this.#leaving);
    if (this.#phase === 'draining') this.#phase = 'cold';
    this.#listener.publish();
  }

  /** Asked now and then: starts instances that are missing, pauses those that are idle, stops those that are too many. */
  tend(now: number): void {
    if (this.#phase !== 'ready' || !this.#driver.replicated) return;
    this.#grow();
    const { idleMs } = this;
    const { min } = this.scale;
    const pauseMs = Math.min(PAUSE.mostMs, idleMs * PAUSE.part);
    for (const replica of this.#replicas.slice(Math.max(1, this.#wanted()))) {
      if (replica.idleFor(now) < idleMs) continue;
      this.#set(this.#replicas.filter((other) => other !== replica));
      this.#leave(replica);
    }
    for (const replica of this.#replicas.slice(min)) if (replica.idleFor(now) >= pauseMs) this.#pause(replica);
  }

  release(): Promise<void> {
    return this.#driver.release(this.revision);
  }

  async #bringUp(): Promise<void> {
    this.#phase = 'preparing';
    const stale = this.#replicas;
    try {
      await this.#add();
    } catch (reason) {
      this.#phase = 'failed';
      this.#backOff(asSkerryError(reason));
      this.#listener.publish();
      throw this.error;
    }
    this.#remove(stale);
    this.#stale = false;
    this.error = null;
    this.#phase = 'ready';
    this.usage.lastUsed = performance.now();
    this.#listener.publish();
  }

  async #replaceAll(): Promise<void> {
    for (const replica of this.#replicas) {
      await this.#add();
      this.#remove([replica]);
    }
    this.#stale = false;
  }

  /** One instance more. */
  async #add(): Promise<Replica> {
    await this.#driver.prepare(this.revision, () => {});
    // What Wasm needs depends on its requests: the engine bounds it.
    const release = this.#driver.replicated ? await this.#listener.reserve(this.revision) : () => {};
    let instance: Instance;
    try {
      instance = await this.#startInTime();
    } catch (error) {
      release();
      throw error;
    }
    void instance.exited.finally(release);
    const replica = new Replica(instance);
    this.#allot(replica);
    this.ledger.add(instance);
    this.#listener.started(instance);
    this.#set([...this.#replicas, replica]);
    void instance.exited.then((exit) => this.#exited(replica, exit));
    return replica;
  }

  #remove(replicas: readonly Replica[]): void {
    if (replicas.length === 0) return;
    this.#set(this.#replicas.filter((replica) => !replicas.includes(replica)));
    for (const replica of replicas) this.#leave(replica);
  }

  #set(replicas: readonly Replica[]): void {
    this.#replicas = replicas;
    // Before there are more places: who gets one of them looks for its instance in the snapshot.
    this.#listener.publish();
    this.admission.concurrency = this.revision.limits.concurrency * Math.max(1, replicas.length);
  }

  /** Its memory is needed elsewhere. */
  async #evict(replica: Replica): Promise<void> {
    if (!this.#replicas.includes(replica)) return;
    const left = this.#replicas.filter((other) => other !== replica);
    if (left.length === 0) this.#phase = 'cold';
    this.#set(left);
    await this.#leave(replica);
  }

  #allot(replica: Replica): void {
    const { limits } = this.revision;
    if (this.#millicores === limits.cpuMillicores && !replica.resized) return;
    replica.resized = true;
    replica.instance
      .resize({ ...limits, cpuMillicores: this.#millicores })
      .catch((error: unknown) => this.#listener.log(`resizing ${replica.instance.id} failed`, error));
  }

  /** Ends an instance that gets no requests any more. */
  #leave(replica: Replica, graceMs = this.revision.limits.timeoutMs + DRAIN_SLACK_MS): Promise<void> {
    this.#noteLife(replica);
    const leaving = replica.instance
      .stop(graceMs)
      .catch((error: unknown) => this.#listener.log(`stopping ${replica.instance.id} failed`, error))
      .finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
    return leaving.then(() => {});
  }

  #wanted(): number {
    const { running, queued } = this.admission;
    const counted = replicasWanted(running + queued, this.revision.limits.concurrency, this.scale);
    return Math.min(this.most, Math.max(counted, this.#advised));
  }

  #grow(): void {
    if (!this.#driver.replicated || this.#phase !== 'ready' || performance.now() < this.#retryAt) return;
    while (this.#replicas.length + this.#growing < this.#wanted()) {
      this.#growing++;
      this.#listener
        .startSlot(() => this.#addIfWanted())
        .catch((reason: unknown) => {
          this.#backOff(asSkerryError(reason));
          this.#listener.log('a further instance could not be started', reason);
        })
        .finally(() => {
          this.#growing--;
        });
    }
  }

  async #addIfWanted(): Promise<void> {
    if (this.#phase !== 'ready' || this.#replicas.length >= this.#wanted()) return;
    const replica = await this.#add();
    // The revision was told to stop meanwhile.
    if (this.#phase !== 'ready') this.#remove([replica]);
  }

  #pause(replica: Replica): void {
    if (replica.paused) return;
    replica.paused = true;
    const pausedAt = replica.idleSince;
    replica.instance
      .pause()
      .catch((error: unknown) => this.#listener.log(`pausing ${replica.instance.id} failed`, error))
      .finally(() => {
        // It was used since, which resumes it.
        if (replica.inFlight > 0 || replica.idleSince !== pausedAt) replica.paused = false;
      });
  }

  /** An instance that ended by itself serves nothing any more. */
  #exited(replica: Replica, exit: Exit): void {
    if (!this.#replicas.includes(replica)) return;
    const { workload } = this.revision;
    this.#noteLife(replica, exit.reason === 'failed' ? STABLE_MS.unwell : STABLE_MS.ended);
    this.ends = { count: (this.ends?.count ?? 0) + 1, at: new Date().toISOString(), message: exit.message };
    this.#backOff(reconcilerErrors.EXITED(workload, exit.message));
    this.#listener.log(`${replica.instance.id} of ${workload} ended by itself`, this.error);
    const left = this.#replicas.filter((other) => other !== replica);
    if (left.length === 0 && this.#phase === 'ready') this.#phase = 'failed';
    this.#set(left);
  }

  #noteLife(replica: Replica, stableMs = STABLE_MS.ended): void {
    if (performance.now() - replica.startedAt >= stableMs) this.#failures = 0;
  }

  #backOff(error: SkerryError): void {
    this.error = error;
    this.#retryAt = performance.now() + Math.min(BACKOFF.most, BACKOFF.first * 2 ** this.#failures);
    this.#failures++;
    if (this.#phase === 'failed' && this.#replicas.length === 0 && this.#failures >= FALL_BACK_AFTER)
      this.#fallBack(error);
  }

  #fallBack(why: SkerryError): void {
    if (SAME_IN_ANY_SANDBOX.has(why.code)) return;
    const heavier = this.#listener.fallBack(this.#driver, why);
    if (!heavier) return;
    const failed = this.#driver;
    this.#driver = heavier;
    this.#failures = 0;
    this.#retryAt = 0;
    failed.release(this.revision).catch((error: unknown) => this.#listener.log('releasing it failed', error));
  }

  /** Throws START_TIMEOUT; what comes up after that is ended. */
  async #startInTime(): Promise<Instance> {
    const { workload, limits } = this.revision;
    const starting = this.#driver.start(this.revision, limits);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(reconcilerErrors.START_TIMEOUT(workload, limits.startTimeoutMs)),
        limits.startTimeoutMs + START_SLACK_MS,
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
