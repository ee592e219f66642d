/** Whether another node serves a request sooner than this one. No node has others yet: the simulation has. */

export interface Peer {
  /** There and back, as measured; in milliseconds. */
  readonly rttMs: number;
  /** How long a request would wait there until it runs, as that node last said; in milliseconds. */
  readonly waitMs: number;
  readonly reachable: boolean;
}

/** What is gained must be worth the way: at least this much, in milliseconds, and this part of the wait here. */
const WORTH = { ms: 2, part: 0.25 };

/** The better of two that are drawn, when it beats waiting here; null: here. `random` gives numbers in [0, 1). */
export function chooseNode<T extends Peer>(waitHereMs: number, peers: readonly T[], random: () => number): T | null {
  if (peers.length === 0 || waitHereMs <= WORTH.ms) return null;
  const first = Math.floor(random() * peers.length);
  const second = (first + 1 + Math.floor(random() * (peers.length - 1))) % peers.length;
  let best: T | null = null;
  for (const peer of [peers[first]!, peers[second]!]) {
    if (peer.reachable && (!best || total(peer) < total(best))) best = peer;
  }
  const gain = best ? waitHereMs - total(best) : 0;
  return gain >= Math.max(WORTH.ms, waitHereMs * WORTH.part) ? best : null;
}

function total({ rttMs, waitMs }: Peer): number {
  return rttMs + waitMs;
}
