/** How the CPU time of the machine is divided among those who want it, when they want more than there is. */

/** What one workload's instances have together. */
export interface CpuClaim {
  readonly name: string;
  /** What was declared: never more than that. In millicores, as all below. */
  readonly declared: number;
  /** What is kept for it whatever others want. */
  readonly reserved: number;
  /** 0-9, 9 the most urgent. */
  readonly priority: number;
  /** Requests that run and wait. */
  readonly requests: number;
}

export type CpuPolicy = (total: number, claims: readonly CpuClaim[]) => readonly number[];

/**
 * Fills everyone at a rate of its weight until it has what it declared or nothing is left; what is reserved comes first. Never
 * gives more than `total`, and all of it when that much is wanted.
 */
function fill(total: number, claims: readonly CpuClaim[], weight: (claim: CpuClaim) => number): number[] {
  const reserved = claims.map(({ declared, reserved: kept }) => Math.max(0, Math.min(declared, kept)));
  const promised = reserved.reduce((sum, each) => sum + each, 0);
  const scale = promised > total ? total / promised : 1;
  const grants = reserved.map((each) => each * scale);
  let left = Math.max(0, total - promised);
  const open = new Set(claims.keys());
  while (left > 1e-6 && open.size > 0) {
    const weights = [...open].reduce((sum, i) => sum + weight(claims[i]!), 0);
    const share = left / weights;
    let given = 0;
    for (const i of open) {
      const room = claims[i]!.declared - grants[i]!;
      const more = Math.min(room, share * weight(claims[i]!));
      grants[i]! += more;
      given += more;
      if (room - more < 1e-6) open.delete(i);
    }
    left -= given;
    if (given < 1e-6) break;
  }
  return grants;
}

export const CPU_POLICIES = {
  /** In proportion to what was declared. */
  demand: (total, claims) => fill(total, claims, ({ declared }) => declared),
  /** Reservations first, then by priority: 9 gets ten times what 0 does. */
  priority: (total, claims) => fill(total, claims, ({ priority }) => 1 + priority),
  /** To where the requests are. */
  load: (total, claims) => fill(total, claims, ({ requests }) => 0.1 + requests),
} as const satisfies Record<string, CpuPolicy>;

export type CpuPolicyName = keyof typeof CPU_POLICIES;
export const CPU_POLICY_NAMES = Object.keys(CPU_POLICIES) as [CpuPolicyName, ...CpuPolicyName[]];
