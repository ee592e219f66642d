/** Names of the node's own workloads, as they call each other: `NAME.skerry.internal`. */

/** Below the domain that is kept for private use (ICANN, 29 July 2024). */
const SUFFIX = '.skerry.internal';

/** True for a name that no name server is ever asked for. `name` is in lower case, without a dot at its end. */
export function isInternalName(name: string): boolean {
  return name.endsWith(SUFFIX) || name === SUFFIX.slice(1);
}

/** The workload that a name stands for, whether there is one or not; null when it is no such name. */
export function workloadNamed(name: string): string | null {
  if (!name.endsWith(SUFFIX)) return null;
  const workload = name.slice(0, -SUFFIX.length);
  return workload.includes('.') ? null : workload;
}
