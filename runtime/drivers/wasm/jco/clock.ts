/** Milliseconds on the clock of `performance.now()`: held here, since the global is taken away from guests' threads. */
export const now: () => number = performance.now.bind(performance);
