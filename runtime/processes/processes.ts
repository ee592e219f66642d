/** All processes of the node (`skerry run`): started, told, ended, removed. */
import type { Driver, Exit, Instance, ProcessStreams } from '../driver.ts';
import type { WorkloadLogs } from '../logs/workload-logs.ts';
import type { Document, StateStore } from '../state/store.ts';
import type { DesiredState } from '../workload/desired-state.ts';
import { PROCESSES, processKey, type RevisionDocument } from '../workload/documents.ts';
import { workloadErrors } from '../workload/errors.ts';
import type { Isolation } from '../workload/revision.ts';
import { processErrors } from './errors.ts';
import type { ProcessDocument } from './process-document.ts';

export interface RunOptions {
  /** What it reads and writes. */
  readonly streams?: ProcessStreams;
  /** It is forgotten when it has ended. */
  readonly remove?: boolean;
}

export interface ProcessesOptions {
  readonly store: StateStore;
  readonly desired: DesiredState;
  readonly drivers: ReadonlyMap<Isolation, Driver>;
  readonly logs: WorkloadLogs;
  readonly log: (message: string, error?: unknown) => void;
}

/** How a process is stopped that a node ended under, and cannot be found again. */
const LOST: Exit = {
  code: null,
  signal: null,
  reason: 'failed',
  message: 'the node or the machine ended under it, and it was not found again',
};

export class Processes {
  readonly #options: ProcessesOptions;
  readonly #instances = new Map<string, Instance>();
  /** Resolves when the end of a process is written down; those that run, by name. */
  readonly #ends = new Map<string, Promise<Exit>>();

  constructor(options: ProcessesOptions) {
    this.#options = options;
  }

  get(name: string): ProcessDocument | null {
    return this.#document(name)?.value ?? null;
  }

  /** Throws NO_PROCESS. */
  require(name: string): ProcessDocument {
    const process = this.get(name);
    if (!process) throw processErrors.NO_PROCESS(name);
    return process;
  }

  /** By name; damaged ones are left out. */
  list(): ProcessDocument[] {
    return this.#options.store.list<ProcessDocument>(PROCESSES, () => {}).map(({ value }) => value);
  }

  /** Null when it does not run. */
  instance(name: string): Instance | null {
    return this.#instances.get(name) ?? null;
  }

  /** Resolves with how it ended, once that is written down; null when it does not run. */
  ended(name: string): Promise<Exit> | null {
    return this.#ends.get(name) ?? null;
  }

  /** Whether a revision is one of a process that ran when the node ended. */
  wants(name: string, revision: string): boolean {
    const process = this.get(name);
    return process !== null && process.end === null && process.revision.id === revision;
  }

  /**
   * Starts it; resolves when it runs. Nothing is kept of one that cannot be started. Throws NAME_TAKEN, PROCESS_NOT_FOR and
   * the errors of the driver.
   */
  async run(revision: RevisionDocument, { streams, remove = false }: RunOptions = {}): Promise<void> {
    const { workload: name, isolation } = revision;
    const { desired, store, drivers } = this.#options;
    const driver = drivers.get(isolation);
    if (!driver?.replicated) throw processErrors.PROCESS_NOT_FOR(isolation);
    // Its image is looked at before anything is written down.
    await driver.check(revision, revision.label, () => {});
    const startedAt = new Date().toISOString();
    const document: ProcessDocument = { name, revision, startedAt, ...(remove && { removed: true }), end: null };
    await desired.exclusively(async () => {
      if (desired.get(name)) throw workloadErrors.NAME_TAKEN(name, 'workload');
      if (this.get(name)) throw workloadErrors.NAME_TAKEN(name, 'process');
      await store.commit([{ key: processKey(name), expect: 0, value: document }]);
    });
    try {
      await driver.prepare(revision, () => {});
      this.#watch(name, await driver.start(revision, revision.limits, streams));
    } catch (error) {
      await this.#forget(name);
      throw error;
    }
  }

  /** Ends it: by its signal, after `graceMs` for good. Resolves when its end is written down. Throws NO_PROCESS. */
  async stop(name: string, graceMs: number): Promise<void> {
    const process = this.require(name);
    if (process.end) return;
    const instance = this.instance(name);
    if (!instance) throw processErrors.PROCESS_STARTING(name);
    await instance.stop(graceMs);
    await this.ended(name);
  }

  /** False when it does not listen to it. Throws NO_PROCESS, PROCESS_ENDED. */
  async signal(name: string, signal: string): Promise<boolean> {
    this.require(name);
    const instance = this.instance(name);
    if (!instance) throw processErrors.PROCESS_ENDED(name);
    return instance.signal(signal);
  }

  /** Ends it, and forgets it and what it wrote. Throws NO_PROCESS, PROCESS_STARTING. */
  async remove(name: string, graceMs: number): Promise<void> {
    await this.stop(name, graceMs);
    await this.#forget(name);
    await this.#options.logs.remove(name);
  }

  /** Takes over what runs of an earlier run of the node; of what does not, writes down that it has ended. */
  async recover(): Promise<void> {
    for (const { name, revision, end } of this.list()) {
      if (end !== null) continue;
      try {
        const instance = (await this.#options.drivers.get(revision.isolation)?.adopt(revision)) ?? null;
        if (instance) this.#watch(name, instance);
        else await this.#end(name, LOST);
      } catch (error) {
        this.#options.log(`the process ${name} could not be taken over`, error);
        await this.#end(name, LOST);
      }
    }
  }

  /** Ends all that run. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#instances.values()].map((instance) => instance.stop(graceMs)));
    await Promise.all(this.#ends.values());
  }

  #document(name: string): Document<ProcessDocument> | null {
    return this.#options.store.get<ProcessDocument>(processKey(name));
  }

  #watch(name: string, instance: Instance): void {
    this.#instances.set(name, instance);
    const ended = instance.exited.then(async (exit) => {
      this.#instances.delete(name);
      await this.#end(name, exit).catch((error: unknown) => {
        this.#options.log(`the end of the process ${name} could not be written down`, error);
      });
      this.#ends.delete(name);
      return exit;
    });
    this.#ends.set(name, ended);
  }

  async #end(name: string, exit: Exit): Promise<void> {
    const document = this.#document(name);
    if (!document) return;
    if (document.value.removed) {
      await this.#forget(name);
      return this.#options.logs.remove(name);
    }
    const value = { ...document.value, end: { at: new Date().toISOString(), exit } };
    await this.#options.store.commit([{ key: document.key, expect: document.generation, value }]);
  }

  async #forget(name: string): Promise<void> {
    const document = this.#document(name);
    if (document) await this.#options.store.commit([{ key: document.key, expect: document.generation, delete: true }]);
  }
}
