/** The node's key-value storage: one LMDB environment, one writer, a namespace for each workload. */
import { SkerryError } from '../../errors/skerry-error.ts';
import { type Environment, openEnvironment, type RawWrite } from '../state/environment.ts';
import { keyvalueErrors } from './errors.ts';
import type { KeyValueNamespace } from './keyvalue.ts';
import { behind, FORMAT_KEY, USAGE, usageKey, workloadPrefix } from './layout.ts';
import { Namespace } from './namespace.ts';
import { type Operation, Transaction } from './transaction.ts';

/** The named moments of a write, for tests that end the process at each of them. */
export type KeyValueStep = 'keyvalue:before-commit' | 'keyvalue:committed' | 'keyvalue:acknowledged';

export interface KeyValueStoreOptions {
  readonly onStep?: (step: KeyValueStep) => void;
}

export interface KeyValueStore {
  /** The namespace of a workload, which may hold `quotaBytes`. Several may be open; they share what it holds. */
  namespace(workload: string, quotaBytes: number): KeyValueNamespace;
  /** Workloads whose namespace holds something. */
  workloads(): string[];
  /** Removes all that a workload has stored; comes after the writes before it and before those after it. */
  remove(workload: string): Promise<void>;
  /** Waits for the writes under way. Idempotent. */
  close(): Promise<void>;
}

const format = 1;

/** Operations that share one flush: as many as a slow flash makes wait, no more than keeps the last of them waiting long. */
const GROUP = { operations: 256, bytes: 8 * 2 ** 20 };

/** Keys removed at once when a workload goes: the writer is not kept from others for long. */
const REMOVE_AT_ONCE = 1000;

/**
 * Opens the storage in `folder`, made if missing. Throws KEYVALUE_NEWER, and of the state's errors STATE_CORRUPT,
 * STATE_DISK_FULL, STATE_NOT_WRITABLE, STATE_WRITE_FAILED.
 */
export async function openKeyValueStore(folder: string, options: KeyValueStoreOptions = {}): Promise<KeyValueStore> {
  const environment = await openEnvironment(folder, {}, (made) => {
    const demand = { records: 1, bytes: 100, onlyRemoves: false };
    made.writeNow(demand, (put) => put({ key: FORMAT_KEY, value: Buffer.from([format]) }));
  });
  if ((environment.get(FORMAT_KEY)?.[0] ?? 0) > format) {
    await environment.close();
    throw keyvalueErrors.KEYVALUE_NEWER(folder);
  }
  return new LmdbKeyValueStore(environment, options.onStep ?? (() => {}));
}

interface Pending {
  readonly operation: Operation<unknown>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

interface Removal {
  readonly workload: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

class LmdbKeyValueStore implements KeyValueStore {
  readonly #environment: Environment;
  readonly #reached: (step: KeyValueStep) => void;
  readonly #queue: (Pending | Removal)[] = [];
  #writing: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  constructor(environment: Environment, onStep: (step: KeyValueStep) => void) {
    this.#environment = environment;
    this.#reached = onStep;
  }

  namespace(workload: string, quotaBytes: number): KeyValueNamespace {
    return new Namespace({ workload, quotaBytes }, this);
  }

  workloads(): string[] {
    return this.reading((environment) => {
      const keys = environment.keys(USAGE, behind(USAGE), 0, Number.MAX_SAFE_INTEGER);
      return Array.from(keys, (key) => key.slice(USAGE.length));
    });
  }

  remove(workload: string): Promise<void> {
    return new Promise((resolve, reject) => this.#enqueue({ workload, resolve, reject }));
  }

  /** Reads what is acknowledged. Throws KEYVALUE_FAILED, KEYVALUE_CLOSED. */
  reading<T>(read: (environment: Environment) => T): T {
    try {
      return read(this.#environment);
    } catch (error) {
      throw asKeyValueError(error);
    }
  }

  /** Makes a change; resolves with what it returns when it would survive a power cut. */
  change<T>(operation: Operation<T>): Promise<T> {
    return new Promise((resolve, reject) => this.#enqueue({ operation, resolve, reject } as Pending));
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#writing;
      await this.#environment.close();
    })();
    return this.#closed;
  }

  #enqueue(work: Pending | Removal): void {
    if (this.#closed) return work.reject(keyvalueErrors.KEYVALUE_CLOSED());
    this.#queue.push(work);
    this.#writing ??= this.#drain();
  }

  /** Operations that came while the disk was busy share the next transaction: one flush for all of them. */
  async #drain(): Promise<void> {
    await null; // operations of the same turn go together
    while (this.#queue.length > 0) {
      const [first] = this.#queue;
      if (first && 'workload' in first) {
        this.#queue.shift();
        await this.#remove(first);
      } else await this.#writeGroup(this.#nextGroup());
    }
    this.#writing = null;
  }

  #nextGroup(): Pending[] {
    const group: Pending[] = [];
    let bytes = 0;
    while (group.length < GROUP.operations && bytes < GROUP.bytes) {
      const next = this.#queue[0];
      if (!next || 'workload' in next) break;
      this.#queue.shift();
      group.push(next);
      bytes += next.operation.bytes;
    }
    return group;
  }

  async #writeGroup(group: readonly Pending[]): Promise<void> {
    const changes = new Map<string, Buffer | null>();
    const read = (key: string) => (changes.has(key) ? (changes.get(key) ?? undefined) : this.#environment.get(key));
    const accepted: { pending: Pending; result: unknown }[] = [];
    try {
      for (const pending of group) {
        const { operation, reject } = pending;
        try {
          const transaction = new Transaction(read, operation.scope);
          const result = operation.run(transaction);
          for (const { key, value } of transaction.finish()) changes.set(key, value);
          accepted.push({ pending, result });
        } catch (error) {
          reject(asKeyValueError(error));
        }
      }
      const writes: RawWrite[] = Array.from(changes, ([key, value]) => ({ key, value }));
      const onlyRemoves = accepted.every(({ pending }) => pending.operation.onlyRemoves);
      if (writes.length > 0) await this.#commit(writes, onlyRemoves);
    } catch (error) {
      // One that is too long for the room there is must not take the others with it.
      if ((error as SkerryError).code === 'STATE_DISK_FULL' && accepted.length > 1) {
        for (const { pending } of accepted) await this.#writeGroup([pending]);
        return;
      }
      for (const { pending } of accepted) pending.reject(asKeyValueError(error));
      return;
    }
    this.#reached('keyvalue:acknowledged');
    for (const { pending, result } of accepted) pending.resolve(result as never);
  }

  async #remove({ workload, resolve, reject }: Removal): Promise<void> {
    const prefix = workloadPrefix(workload);
    try {
      for (;;) {
        const keys = [...this.#environment.keys(prefix, behind(prefix), 0, REMOVE_AT_ONCE)];
        if (keys.length === 0) break;
        await this.#commit(
          keys.map((key) => ({ key, value: null })),
          true,
        );
      }
      // Last: a node that stops half-way finds by it that there is something to remove.
      if (this.#environment.get(usageKey(workload))) {
        await this.#commit([{ key: usageKey(workload), value: null }], true);
      }
      resolve();
    } catch (error) {
      reject(asKeyValueError(error));
    }
  }

  async #commit(writes: readonly RawWrite[], onlyRemoves: boolean): Promise<void> {
    this.#reached('keyvalue:before-commit');
    await this.#environment.write(writes, onlyRemoves);
    this.#reached('keyvalue:committed');
  }
}

/** Guests are not told of folders. */
function asKeyValueError(error: unknown): SkerryError {
  if (!(error instanceof SkerryError)) return keyvalueErrors.KEYVALUE_FAILED().because(error);
  if (error.code === 'STATE_DISK_FULL') return keyvalueErrors.KEYVALUE_DISK_FULL().because(error);
  if (error.code === 'STATE_CLOSED') return keyvalueErrors.KEYVALUE_CLOSED().because(error);
  return error.code.startsWith('STATE_') ? keyvalueErrors.KEYVALUE_FAILED().because(error) : error;
}
