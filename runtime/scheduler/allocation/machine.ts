/** What workloads may have of the machine, all together. */
import { schedulerErrors } from '../errors.ts';

export interface Machine {
  readonly memoryBytes: number;
  /** 1000 is one core. */
  readonly cpuMillicores: number;
}

/** Throws TOO_LARGE for a revision of which not even one instance, or not those that are to be kept ready, can run here. */
export function checkFits(
  { memoryBytes, cpuMillicores }: Machine,
  name: string,
  wanted: { readonly memoryBytes: number; readonly cpuMillicores: number; readonly min: number },
): void {
  const mib = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;
  if (wanted.memoryBytes > memoryBytes) {
    throw schedulerErrors.TOO_LARGE(
      name,
      `${mib(wanted.memoryBytes)} of memory`,
      `has ${mib(memoryBytes)} for workloads`,
    );
  }
  if (wanted.cpuMillicores > cpuMillicores) {
    const cores = (millicores: number) => `${millicores / 1000} cores`;
    throw schedulerErrors.TOO_LARGE(name, cores(wanted.cpuMillicores), `has ${cores(cpuMillicores)}`);
  }
  const kept = wanted.min * wanted.memoryBytes;
  if (kept > memoryBytes) {
    const what = `${wanted.min} instances of ${mib(wanted.memoryBytes)} kept ready`;
    throw schedulerErrors.TOO_LARGE(name, what, `has ${mib(memoryBytes)} for workloads`);
  }
}
