/** What requests of a workload to another say of where they come from. */
import type { FlatHeaders } from '../../runtime/exchange.ts';

/** The name of the workload that calls; never passed on from anybody else, so that it can be trusted. */
export const CALLER = 'x-skerry-caller';
/** How many workloads the request has come through, if they pass it on as proxies do. */
const HOPS = 'x-skerry-hops';
/** More is a circle. */
export const MOST_HOPS = 16;

/** Adds who calls, and one hop. */
export function tellCaller(headers: FlatHeaders, caller: string): void {
  const hops = String(hopsOf(headers) + 1);
  let told = false;
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== HOPS) continue;
    headers[i + 1] = hops;
    told = true;
  }
  if (!told) headers.push(HOPS, hops);
  headers.push(CALLER, caller);
}

/** The most that any of its headers says; what is no number says nothing. */
export function hopsOf(headers: FlatHeaders): number {
  let most = 0;
  for (let i = 0; i < headers.length; i += 2) {
    const value = headers[i + 1] as string;
    // What is larger than any number here is as good as the largest.
    if (headers[i] === HOPS && /^\d+$/.test(value)) most = Math.max(most, Math.min(Number(value), 9999));
  }
  return most;
}
