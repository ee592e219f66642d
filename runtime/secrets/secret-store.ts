/** The secrets of a node: set and removed by name, given to the functions that name them, shown to nobody. */
import type { SkerryError } from '../../errors/skerry-error.ts';
import type { StateStore } from '../state/store.ts';
import type { DesiredState } from '../workload/desired-state.ts';
import { SECRETS, secretKey } from '../workload/documents.ts';
import type { Revision } from '../workload/revision.ts';
import { secretErrors } from './errors.ts';
import { type SealedValue, seal, unseal } from './seal.ts';

/** `secret/NAME`. */
interface SecretDocument extends SealedValue {
  /** ISO 8601. */
  readonly updatedAt: string;
}

export interface SecretSummary {
  readonly name: string;
  /** ISO 8601. */
  readonly updatedAt: string;
  /** Workloads whose traffic goes to a revision that gets it, by name. */
  readonly usedBy: string[];
}

/** In bytes; as much as all of a workload's environment. */
const MAX_VALUE_BYTES = 64 * 1024;

export class SecretStore {
  readonly #store: StateStore;
  readonly #key: Uint8Array;
  readonly #desired: DesiredState;
  readonly #onCorrupt: (key: string, error: SkerryError) => void;

  /** `key`: 32 bytes that this node alone knows. */
  constructor(
    store: StateStore,
    key: Uint8Array,
    desired: DesiredState,
    onCorrupt: (key: string, error: SkerryError) => void,
  ) {
    this.#store = store;
    this.#key = key;
    this.#desired = desired;
    this.#onCorrupt = onCorrupt;
  }

  /** By name. */
  list(): SecretSummary[] {
    return this.#store
      .list<SecretDocument>(SECRETS, this.#onCorrupt)
      .map(({ key, value }) => this.#summary(key.slice(SECRETS.length), value));
  }

  /** Makes or replaces a secret; resolves when it would survive a power cut. Throws SECRET_INVALID. */
  set(name: string, value: string): Promise<SecretSummary> {
    checkValue(name, value);
    return this.#desired.exclusively(async () => {
      const document = { ...seal(this.#key, name, value), updatedAt: new Date().toISOString() };
      const key = secretKey(name);
      await this.#store.commit([{ key, expect: this.#store.get(key)?.generation ?? 0, value: document }]);
      return this.#summary(name, document);
    });
  }

  /**
   * Removes a secret. Throws NO_SECRET, and SECRET_IN_USE unless `force`: then what runs keeps the value, and what uses
   * it cannot be started any more.
   */
  remove(name: string, force: boolean): Promise<void> {
    return this.#desired.exclusively(async () => {
      const found = this.#store.get(secretKey(name));
      if (!found) throw secretErrors.NO_SECRET(name);
      const users = this.#usedBy(name);
      if (users.length > 0 && !force) throw secretErrors.SECRET_IN_USE(name, users);
      await this.#store.commit([{ key: found.key, expect: found.generation, delete: true }]);
    });
  }

  /** What a revision gets, by name. Throws SECRET_MISSING, SECRET_UNREADABLE. */
  valuesFor(revision: Revision): Record<string, string> {
    const values: Record<string, string> = {};
    for (const name of revision.secrets) {
      const document = this.#store.get<SecretDocument>(secretKey(name));
      if (!document) throw secretErrors.SECRET_MISSING(revision.workload, name);
      values[name] = unseal(this.#key, name, document.value);
    }
    return values;
  }

  #summary(name: string, { updatedAt }: SecretDocument): SecretSummary {
    return { name, updatedAt, usedBy: this.#usedBy(name) };
  }

  #usedBy(name: string): string[] {
    return this.#desired.revisionsWithTraffic().flatMap(({ workload, secrets }) => {
      return secrets.includes(name) ? [workload] : [];
    });
  }
}

function checkValue(name: string, value: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes === 0) throw secretErrors.SECRET_INVALID(name, 'it is empty');
  if (bytes > MAX_VALUE_BYTES) throw secretErrors.SECRET_INVALID(name, `it has ${bytes} bytes`);
  // Where it becomes an environment variable, a NUL would end it.
  if (value.includes('\0')) throw secretErrors.SECRET_INVALID(name, 'it has a NUL in it');
  if (/\p{Surrogate}/u.test(value)) throw secretErrors.SECRET_INVALID(name, 'it is not Unicode text');
}
