/** The node's one reconciler: a controller a workload, the snapshot that the data plane sees, and waking the cold. */
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import type { Driver, Instance } from '../driver.ts';
import type { Admission } from '../scheduler/admission/admission.ts';
import { MemoryBudget, type Release } from '../scheduler/allocation/memory-budget.ts';
import type { DecisionLog } from '../scheduler/decisions.ts';
import { schedulerErrors } from '../scheduler/errors.ts';
import { EMPTY_SNAPSHOT, type RouteEntry, type Snapshot, type SnapshotSource } from '../snapshot.ts';
import type { DesiredState } from '../workload/desired-state.ts';
import type { RevisionDocument } from '../workload/documents.ts';
import type { Isolation, Revision } from '../workload/revision.ts';
import { routesOf } from '../workload/routes.ts';
import { reconcilerErrors } from './errors.ts';
import type { RevisionRunner } from './revision-runner.ts';
import { type ControllerContext, WorkloadController } from './workload-controller.ts';

/** How often instances are looked after: those that are idle, missing or too many; in milliseconds. */
const TEND_EVERY_MS = 1000;
/** Revisions that start at once: more would only wait for the same cores. */
const STARTS_AT_ONCE = 2;

export interface ReconcilerOptions {
  readonly desired: DesiredState;
  readonly drivers: ReadonlyMap<Isolation, Driver>;
  readonly admission: Admission;
  readonly decisions: DecisionLog;
  /** Bytes that instances may have together. */
  readonly memoryBytes: number;
  readonly log: (message: string, error?: unknown) => void;
  /** An instance is up, and will serve. */
  readonly onStarted: (instance: Instance) => void;
  /** A workload is gone and nothing of it runs any more. */
  readonly onRemoved: (name: string) => void;
}

export class Reconciler implements SnapshotSource {
  readonly memory: MemoryBudget;
  readonly #options: ReconcilerOptions;
  readonly #controllers = new Map<string, WorkloadController>();
  /** Names whose reconciliation runs; true: it has to run again. */
  readonly #active = new Map<string, boolean>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** Removed workloads whose last requests still run, with their names. */
  readonly #leaving = new Map<Promise<void>, string>();
  readonly #waiters = new Set<() => void>();
  readonly #starts: (() => void)[] = [];
  #starting = 0;
  #current: Snapshot = EMPTY_SNAPSHOT;
  /** What each workload has in the snapshot's routes. */
  readonly #routes = new Map<string, readonly RouteEntry[]>();
  #tending: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.memory = new MemoryBudget(options.memoryBytes, () =>
      [...this.runners()].flatMap((runner) => runner.holders()),
    );
  }

  get current(): Snapshot {
    return this.#current;
  }

  /** Serves everything that is wanted, cold at first, then warms it in the background; follows changes from then on. */
  start(): void {
    const { desired } = this.#options;
    for (const { value } of desired.list()) this.#reconcile(value.name);
    desired.watch((names) => {
      for (const name of names) this.#reconcile(name);
    });
    this.#tending = setInterval(() => {
      const now = performance.now();
      for (const controller of this.#controllers.values()) controller.tend(now);
    }, TEND_EVERY_MS);
  }

  controller(name: string): WorkloadController | undefined {
    return this.#controllers.get(name);
  }

  /** True when there is no such workload, and nothing of a removed one runs any more. */
  gone(name: string): boolean {
    if (this.#options.desired.get(name) || this.#controllers.has(name)) return false;
    return ![...this.#leaving.values()].includes(name);
  }

  /** Every revision that the node has. */
  *runners(): Generator<RevisionRunner> {
    for (const controller of this.#controllers.values()) yield* controller.runners(() => true);
  }

  async wake(name: string, id: string): Promise<void> {
    const runner = this.#controllers.get(name)?.runner(id);
    if (!runner) throw reconcilerErrors.REMOVED(name);
    await runner.start();
  }

  /**
   * What these revisions are started with has changed: resolves when every one that runs was replaced by a fresh
   * instance, which no request is dropped for; with the failure of the first workload that goes on as it was, or null.
   */
  async restart(which: (revision: Revision) => boolean): Promise<{ workload: string; error: SkerryError } | null> {
    const restarts = [...this.#controllers.values()].flatMap((controller) =>
      controller.runners(which).map(async (runner) => {
        try {
          await this.#startSlot(() => runner.restart());
          // One that could not be started may be able to now.
          if (runner.phase === 'failed') this.#reconcile(controller.name);
          return null;
        } catch (reason) {
          return { workload: controller.name, error: asSkerryError(reason) };
        }
      }),
    );
    return (await Promise.all(restarts)).find((failure) => failure !== null) ?? null;
  }

  /** Resolves when `done` is true after some change of status, or after `timeoutMs`. */
  async until(done: () => boolean, timeoutMs: number): Promise<void> {
    if (done()) return;
    await new Promise<void>((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.#waiters.delete(check);
        resolve();
      };
      const check = () => {
        if (done()) finish();
      };
      const timer = setTimeout(finish, timeoutMs);
      this.#waiters.add(check);
    });
  }

  /** Resolves when nothing is left to be brought up, or after `timeoutMs`. */
  settled(timeoutMs: number): Promise<void> {
    return this.until(() => this.#active.size === 0, timeoutMs);
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    if (this.#tending) clearInterval(this.#tending);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await Promise.all([...this.#controllers.values()].map((controller) => controller.close(graceMs)));
    await Promise.all(this.#leaving.keys());
  }

  #context(): ControllerContext {
    return {
      desired: this.#options.desired,
      drivers: this.#options.drivers,
      admission: this.#options.admission,
      decisions: this.#options.decisions,
      publish: (changed) => this.#publish(changed),
      started: this.#options.onStarted,
      reserve: (revision) => this.#reserve(revision),
      startSlot: (start) => this.#startSlot(start),
      log: this.#options.log,
    };
  }

  /** One pass at a time a workload; a change during a pass makes another one follow. */
  #reconcile(name: string): void {
    if (this.#closed) return;
    const removed = !this.#options.desired.get(name);
    if (removed) this.#publish(name);
    if (this.#active.has(name)) {
      this.#active.set(name, true);
      return;
    }
    if (removed) return this.#remove(name);
    this.#active.set(name, false);
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
    void this.#pass(name);
  }

  async #pass(name: string): Promise<void> {
    let controller = this.#controllers.get(name);
    if (!controller) {
      controller = new WorkloadController(name, this.#context());
      this.#controllers.set(name, controller);
    }
    let retry: number | null = null;
    try {
      retry = await controller.reconcile();
    } catch (error) {
      this.#options.log(`reconciling ${name} failed`, error);
      retry = 1000;
    }
    const again = this.#active.get(name) === true;
    this.#active.delete(name);
    if (again) this.#reconcile(name);
    else if (retry !== null) this.#retry(name, retry);
    this.#publish(name);
  }

  /** Lets go of the workload's controller at once: a new workload of the same name need not wait for the old to drain. */
  #remove(name: string): void {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
    const controller = this.#controllers.get(name);
    if (!controller) return;
    this.#controllers.delete(name);
    const leaving = controller.remove().then(() => {
      this.#leaving.delete(leaving);
      if (!this.#options.desired.get(name)) this.#options.onRemoved(name);
      this.#tellWaiters();
    });
    this.#leaving.set(leaving, name);
    this.#publish(name);
  }

  #retry(name: string, delayMs: number): void {
    if (this.#closed) return;
    const timer = setTimeout(() => this.#reconcile(name), delayMs);
    timer.unref();
    this.#timers.set(name, timer);
  }

  async #reserve({ workload, priority, limits }: RevisionDocument): Promise<Release> {
    const { decisions } = this.#options;
    const bytes = limits.memoryBytes;
    const room = await this.memory.claim({ bytes, priority }, (victims) => {
      for (const { state, priority: less, workload: victim } of victims) {
        const inputs = { state, priority: less, for: workload, urgency: priority, needed: bytes };
        decisions.add(victim, 'memory', 'an instance is ended, since its memory is needed elsewhere', inputs);
      }
    });
    if (room) return room;
    const inputs = { needed: bytes, used: this.memory.usedBytes, ceiling: this.memory.totalBytes };
    decisions.add(workload, 'memory', 'no instance is started: nothing less urgent can be ended', inputs);
    throw schedulerErrors.MEMORY_CEILING(workload);
  }

  async #startSlot<T>(start: () => Promise<T>): Promise<T> {
    // A place is handed on, not given back and taken again: nobody gets in between.
    if (this.#starting >= STARTS_AT_ONCE) await new Promise<void>((resolve) => this.#starts.push(resolve));
    else this.#starting++;
    try {
      return await start();
    } finally {
      const next = this.#starts.shift();
      if (next) next();
      else this.#starting--;
    }
  }

  /** A snapshot in which this workload is as its controller has it now. */
  #publish(name: string): void {
    const controller = this.#controllers.get(name);
    const served = controller?.served() ?? null;
    const workloads = new Map(this.#current.workloads);
    if (served) workloads.set(name, served);
    else workloads.delete(name);
    const changed = this.#setRoutes(name, served && controller ? routesOf(name, controller.routes) : []);
    this.#current = { workloads, routes: changed ? [...this.#routes.values()].flat() : this.#current.routes };
    this.#tellWaiters();
  }

  #tellWaiters(): void {
    for (const check of [...this.#waiters]) check();
  }

  /** True when that is a change. */
  #setRoutes(name: string, entries: readonly RouteEntry[]): boolean {
    const before = this.#routes.get(name) ?? [];
    const same = before.length === entries.length && before.every((entry, i) => entry.route === entries[i]?.route);
    if (same) return false;
    if (entries.length === 0) this.#routes.delete(name);
    else this.#routes.set(name, entries);
    return true;
  }
}
