/** The policies of a node: small documents in its store, read anew for each decision. */
import type { RecordStore } from '../oci/index.ts';
import { trustErrors } from './errors.ts';
import {
  checkRequirement,
  type Policy,
  parsePattern,
  parseRequirement,
  policiesFor,
  type Requirement,
} from './policy.ts';

const POLICIES = 'policy/';

export class Policies {
  readonly #records: RecordStore;

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** By pattern. Throws POLICY_UNREADABLE: one that cannot be read may forbid anything. */
  list(): Policy[] {
    try {
      return this.#records.list<Omit<Policy, 'pattern'>>(POLICIES).map(({ key, value }) => {
        return { pattern: key.slice(POLICIES.length), requires: checkRequirement(value.requires), setAt: value.setAt };
      });
    } catch (error) {
      throw trustErrors.POLICY_UNREADABLE(error instanceof Error ? error.message : String(error)).because(error);
    }
  }

  /** Those that hold for what `policyName` calls this; none: nothing is required. Throws POLICY_UNREADABLE. */
  for(name: string): Policy[] {
    return policiesFor(this.list(), name);
  }

  /** In the place of the one with this pattern. Resolves when it would survive a power cut. Throws POLICY_INVALID. */
  async set(pattern: string, requires: Requirement): Promise<Policy> {
    const policy = {
      pattern: parsePattern(pattern),
      requires: await parseRequirement(requires),
      setAt: new Date().toISOString(),
    };
    const key = POLICIES + policy.pattern;
    const expect = this.#records.get(key)?.generation ?? 0;
    await this.#records.commit([{ key, expect, value: { requires: policy.requires, setAt: policy.setAt } }]);
    return policy;
  }

  /** Throws NO_POLICY. */
  async remove(pattern: string): Promise<void> {
    const key = POLICIES + pattern.replace(/\*+/g, '*');
    const found = this.#records.get(key);
    if (!found) throw trustErrors.NO_POLICY(pattern);
    await this.#records.commit([{ key, expect: found.generation, delete: true }]);
  }
}
