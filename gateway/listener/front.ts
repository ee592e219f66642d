/** What the exchanges of one listener share. */
import { LISTENER_LIMITS, type ListenerLimits } from './limits.ts';
import { StallWatch } from './stall-watch.ts';

export interface Front {
  readonly scheme: 'http' | 'https';
  readonly limits: ListenerLimits;
  readonly watch: StallWatch;
  /** The listener takes no new connections: those that are open are told to go after their answer. */
  closing: boolean;
  /** The workload whose connections these are; null for clients from outside. */
  readonly caller: string | null;
}

export function makeFront(
  scheme: Front['scheme'],
  limits: ListenerLimits = LISTENER_LIMITS,
  caller: string | null = null,
): Front {
  return { scheme, limits, watch: new StallWatch(limits.stallMs), closing: false, caller };
}
