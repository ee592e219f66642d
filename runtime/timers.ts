/** Node's timers take no longer delay than this, in milliseconds. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
