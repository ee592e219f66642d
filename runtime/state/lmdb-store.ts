import type { SkerryError } from '../../errors/skerry-error.ts';
import { type Environment, type EnvironmentOptions, openEnvironment, type RawWrite } from './environment.ts';
import { stateErrors } from './errors.ts';
import { begin, currentSchema, documentPrefix, migrate, type Schema, schemaKey } from './migrations.ts';
import { decodeGeneration, decodeRecord, encodeRecord } from './record.ts';
import type { Document, StateStore, Write } from './store.ts';

/** The named moments of a commit, for tests that end the process at each of them. */
export type StateStep = 'state:before-commit' | 'state:committed' | 'state:acknowledged';

export interface StateStoreOptions extends EnvironmentOptions {
  readonly schema?: Schema;
  /** Called at opening for each damaged record; without it the first one makes `openStateStore` throw STATE_CORRUPT. */
  readonly onCorrupt?: (key: string, error: SkerryError) => void;
  readonly onStep?: (step: StateStep) => void;
}

const floorKey = 'm/generation-floor';
const keyGrammar = /^[!-~]{1,511}$/;

interface Pending {
  readonly writes: readonly Write[];
  readonly resolve: (generations: number[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Opens the store in `folder` (made if missing, mode 0700), checked in full and brought to the current schema. Throws
 * STATE_CORRUPT, STATE_NEWER, STATE_TOO_OLD, STATE_MIGRATION_FAILED, STATE_DISK_FULL, STATE_NOT_WRITABLE,
 * STATE_WRITE_FAILED.
 */
export async function openStateStore(folder: string, options: StateStoreOptions = {}): Promise<StateStore> {
  const schema = options.schema ?? currentSchema;
  const environment = await openEnvironment(folder, options, (made) => begin(made, schema));
  try {
    checkRecords(environment, options.onCorrupt);
    migrate(environment, schema);
  } catch (error) {
    await environment.close();
    throw error;
  }
  return new LmdbStateStore(environment, options.onStep ?? (() => {}));
}

/** A record whose key was damaged is missing where it is looked for, so that only looking at all of them finds it. */
function checkRecords(environment: Environment, onCorrupt: StateStoreOptions['onCorrupt']): void {
  for (const [rawKey, record] of environment.range('')) {
    const isDocument = rawKey.startsWith(documentPrefix);
    const key = isDocument ? rawKey.slice(documentPrefix.length) : rawKey;
    try {
      if (!isDocument && rawKey !== schemaKey && rawKey !== floorKey)
        throw stateErrors.STATE_CORRUPT(rawKey, 'no such key was ever written');
      decodeGeneration(key, record);
    } catch (error) {
      if (!isDocument || !onCorrupt) throw error;
      onCorrupt(key, error as SkerryError);
    }
  }
}

function checkWrites(writes: readonly Write[]): void {
  const seen = new Set<string>();
  for (const { key } of writes) {
    if (!keyGrammar.test(key)) throw stateErrors.STATE_KEY_INVALID(key, 'is empty, too long or has other characters');
    if (seen.has(key)) throw stateErrors.STATE_KEY_INVALID(key, 'is there twice in one commit');
    seen.add(key);
  }
}

/** What a group of commits will change, as later commits of the group must see it. */
class Changes {
  readonly #environment: Environment;
  readonly #generations = new Map<string, number>();
  readonly #records = new Map<string, Buffer | null>();
  #floor: number;

  constructor(environment: Environment) {
    this.#environment = environment;
    const floor = environment.get(floorKey);
    this.#floor = floor ? decodeRecord<number>(floorKey, floor).value : 0;
  }

  #generation(key: string): number {
    const changed = this.#generations.get(key);
    if (changed !== undefined) return changed;
    const record = this.#environment.get(documentPrefix + key);
    return record ? decodeGeneration(key, record) : 0;
  }

  /** Takes in all of one commit or, when it throws, nothing of it. */
  add(writes: readonly Write[]): number[] {
    const taken = writes.map((write) => {
      const found = this.#generation(write.key);
      if (found !== write.expect) throw stateErrors.STATE_CONFLICT(write.key, write.expect, found);
      if (write.delete) return { key: write.key, generation: 0, record: null, found };
      // A document made anew goes on above every deleted one: an old writer's `expect` never fits by accident.
      const generation = (found === 0 ? this.#floor : found) + 1;
      return { key: write.key, generation, record: encodeRecord(write.key, generation, write.value), found };
    });
    for (const { key, generation, record, found } of taken) {
      this.#generations.set(key, generation);
      this.#records.set(documentPrefix + key, record);
      if (record === null && found > this.#floor) {
        this.#floor = found;
        this.#records.set(floorKey, encodeRecord(floorKey, 1, found));
      }
    }
    return taken.map(({ generation }) => generation);
  }

  toWrites(): RawWrite[] {
    return Array.from(this.#records, ([key, value]) => ({ key, value }));
  }
}

class LmdbStateStore implements StateStore {
  readonly #environment: Environment;
  readonly #reached: (step: StateStep) => void;
  readonly #watchers = new Set<{ prefix: string; onChange: (keys: string[]) => void }>();
  #queue: Pending[] = [];
  #writing: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  constructor(environment: Environment, reached: (step: StateStep) => void) {
    this.#environment = environment;
    this.#reached = reached;
  }

  get<T>(key: string): Document<T> | null {
    const record = this.#environment.get(documentPrefix + key);
    return record ? decodeRecord<T>(key, record) : null;
  }

  list<T>(prefix: string, onCorrupt?: (key: string, error: SkerryError) => void): Document<T>[] {
    const documents: Document<T>[] = [];
    for (const [rawKey, record] of this.#environment.range(documentPrefix + prefix)) {
      const key = rawKey.slice(documentPrefix.length);
      try {
        documents.push(decodeRecord<T>(key, record));
      } catch (error) {
        if (!onCorrupt) throw error;
        onCorrupt(key, error as SkerryError);
      }
    }
    return documents;
  }

  async commit(writes: readonly Write[]): Promise<number[]> {
    if (this.#closed) throw stateErrors.STATE_CLOSED();
    checkWrites(writes);
    if (writes.length === 0) return [];
    return new Promise((resolve, reject) => {
      this.#queue.push({ writes, resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  watch(prefix: string, onChange: (keys: string[]) => void): () => void {
    const watcher = { prefix, onChange };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#writing;
      this.#watchers.clear();
      await this.#environment.close();
    })();
    return this.#closed;
  }

  /** Commits that came while the disk was busy share the next transaction: one flush for all of them. */
  async #drain(): Promise<void> {
    await null; // commits of the same turn go together
    while (this.#queue.length > 0) {
      const group = this.#queue;
      this.#queue = [];
      await this.#writeGroup(group);
    }
    this.#writing = null;
  }

  async #writeGroup(group: readonly Pending[]): Promise<void> {
    const accepted: { pending: Pending; generations: number[] }[] = [];
    try {
      const changes = new Changes(this.#environment);
      for (const pending of group) {
        try {
          accepted.push({ pending, generations: changes.add(pending.writes) });
        } catch (error) {
          pending.reject(error);
        }
      }
      if (accepted.length === 0) return;
      this.#reached('state:before-commit');
      const onlyRemoves = accepted.every(({ pending }) => pending.writes.every((write) => write.delete === true));
      await this.#environment.write(changes.toWrites(), onlyRemoves);
      this.#reached('state:committed');
    } catch (error) {
      // One that is too long for the room there is must not take the others with it.
      if ((error as SkerryError).code === 'STATE_DISK_FULL' && accepted.length > 1) {
        for (const { pending } of accepted) await this.#writeGroup([pending]);
        return;
      }
      for (const { reject } of group) reject(error);
      return;
    }
    this.#notify(accepted.flatMap(({ pending }) => pending.writes.map(({ key }) => key)));
    this.#reached('state:acknowledged');
    for (const { pending, generations } of accepted) pending.resolve(generations);
  }

  #notify(keys: readonly string[]): void {
    for (const { prefix, onChange } of [...this.#watchers]) {
      const changed = [...new Set(keys.filter((key) => key.startsWith(prefix)))];
      if (changed.length === 0) continue;
      try {
        onChange(changed);
      } catch (error) {
        // The commit stands and its writer must hear so; the watcher's fault is reported as what it is.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
