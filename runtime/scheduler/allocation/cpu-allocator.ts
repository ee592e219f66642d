/** Has the machine's CPU time divided by a policy, now and then, and the shares that changed carried out. */
import type { DecisionLog } from '../decisions.ts';
import { CPU_POLICIES, type CpuClaim, type CpuPolicy } from './policies.ts';

/** One revision's instances, which each get the same. */
export interface Allocated {
  readonly workload: string;
  /** Instances that have something to do, and can be resized; 0: it takes no part. */
  readonly resizable: number;
  /** Of one instance, in millicores. */
  readonly declaredMillicores: number;
  /** Instances that are kept ready. */
  readonly reservedInstances: number;
  readonly priority: number;
  /** Requests that run and wait. */
  readonly requests: number;
  /** Gives each instance so much from now on. */
  allot(millicores: number): void;
}

/** Shares are changed when one of them is so much another than before, or can be all that was declared. */
const CHANGE = 0.1;
/** Of what was reckoned, in millicores. */
const ROUNDING = 1e-3;
/** The kernel takes no less, in millicores. */
const LEAST = 10;

export class CpuAllocator {
  readonly #totalMillicores: number;
  readonly #decisions: DecisionLog;
  readonly #allotted = new WeakMap<Allocated, number>();
  #policy: CpuPolicy;

  constructor(totalMillicores: number, policy: CpuPolicy, decisions: DecisionLog) {
    this.#totalMillicores = totalMillicores;
    this.#policy = policy;
    this.#decisions = decisions;
  }

  tick(all: Iterable<Allocated>): void {
    const those: Allocated[] = [];
    for (const each of all) {
      if (each.resizable > 0) those.push(each);
      else this.#giveBack(each);
    }
    const grants = this.#divide(those);
    const changes = those.map((each, i) => {
      const { declaredMillicores: declared, resizable } = each;
      const share = Math.min(declared, Math.max(LEAST, Math.floor(grants[i]! / resizable + ROUNDING)));
      return { each, share, before: this.#allotted.get(each) ?? declared, declared };
    });
    const worth = changes.some(({ share, before, declared }) => {
      return Math.abs(share - before) >= before * CHANGE || (share === declared && before !== declared);
    });
    if (!worth) return;
    // All of them, or the sum would be another; what shrinks first, so that it is never more than there is.
    changes.sort((a, b) => a.share - a.before - (b.share - b.before));
    for (const { each, share, before } of changes) {
      if (share === before) continue;
      this.#allotted.set(each, share);
      each.allot(share);
    }
  }

  /** It has nothing to do: when it has, it begins with all that it declared. */
  #giveBack(each: Allocated): void {
    if (!this.#allotted.delete(each)) return;
    each.allot(each.declaredMillicores);
  }

  #divide(those: readonly Allocated[]): readonly number[] {
    const claims = those.map(
      ({ workload: name, resizable, declaredMillicores, reservedInstances, priority, requests }): CpuClaim => ({
        name,
        declared: declaredMillicores * resizable,
        reserved: declaredMillicores * Math.min(resizable, reservedInstances),
        priority,
        requests,
      }),
    );
    try {
      const grants = this.#policy(this.#totalMillicores, claims);
      const sum = grants.reduce((total, each) => total + each, 0);
      if (grants.length === claims.length && sum <= this.#totalMillicores + 1 && grants.every((each) => each >= 0)) {
        return grants;
      }
      throw new Error('it gave away more than there is, or not to everyone');
    } catch (error) {
      // The node goes on with the default.
      this.#policy = CPU_POLICIES.priority;
      const why = error instanceof Error ? error.message : String(error);
      for (const { workload } of those) {
        this.#decisions.add(workload, 'scaling', 'the allocation policy failed: by priority from now on', { why });
      }
      return this.#policy(this.#totalMillicores, claims);
    }
  }
}
