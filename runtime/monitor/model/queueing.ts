/** A queue with several servers and any distribution of times: M/G/k by the approximation of Allen and Cunneen. */

/** Probability that an arrival has to wait in M/M/k (Erlang C). `offered`: arrival rate times service time. */
export function erlangC(servers: number, offered: number): number {
  if (offered >= servers) return 1;
  // By the recursion of Erlang B, which neither overflows nor loses digits.
  let blocked = 1;
  for (let k = 1; k <= servers; k++) blocked = (offered * blocked) / (k + offered * blocked);
  const load = offered / servers;
  return blocked / (1 - load + load * blocked);
}

export interface Queue {
  /** Arrivals a second. */
  readonly rate: number;
  readonly serviceMs: number;
  /** Squared coefficients of variation, of the time between arrivals (1: at random) and of the service. */
  readonly arrivalScv: number;
  readonly serviceScv: number;
  readonly servers: number;
}

/** Mean time that an arrival waits, in milliseconds; infinite where more comes than can be served. */
export function expectedWaitMs({ rate, serviceMs, arrivalScv, serviceScv, servers }: Queue): number {
  const offered = (rate * serviceMs) / 1000;
  if (offered <= 0) return 0;
  if (offered >= servers) return Number.POSITIVE_INFINITY;
  const wait = (erlangC(servers, offered) * serviceMs) / (servers - offered);
  return (wait * (arrivalScv + serviceScv)) / 2;
}

/** Arrivals a second at which the mean wait reaches `objectiveMs`. */
export function breakingRate(queue: Omit<Queue, 'rate'>, objectiveMs: number): number {
  if (queue.serviceMs <= 0) return Number.POSITIVE_INFINITY;
  let low = 0;
  let high = (queue.servers * 1000) / queue.serviceMs;
  for (let i = 0; i < 50; i++) {
    const rate = (low + high) / 2;
    if (expectedWaitMs({ ...queue, rate }) > objectiveMs) high = rate;
    else low = rate;
  }
  return low;
}
