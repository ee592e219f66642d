/**
 * In which order the requests that wait for one revision get its places. The order of a request is fixed when it comes:
 * the smallest goes first.
 */

export const DISCIPLINES = ['fcfs', 'slice', 'sjf'] as const;
export type Discipline = (typeof DISCIPLINES)[number];

/**
 * Shortest job first with ageing: a request is overtaken by shorter ones only as long as they come within this many times
 * the difference of their expected times. One of 100 ms so waits for at most 5 s behind those that came after it.
 */
export const SJF_PATIENCE = 50;

/** `arrivedAt` and `expectedMs` (0: not known) in milliseconds. */
export function orderOf(discipline: Discipline, arrivedAt: number, expectedMs: number): number {
  // Time slices are the sandbox's: the engine's run queue, the kernel for containers. They begin in order of arrival.
  return discipline === 'sjf' ? arrivedAt + SJF_PATIENCE * expectedMs : arrivedAt;
}
