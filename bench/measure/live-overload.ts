/** A node at more than it can do: what it still answers well, how soon it refuses, how soon it is itself again. */
import { SkerryNode } from '../servers/skerry.ts';
import { type SentRequest, sendAtRate } from './vegeta.ts';
import { drive } from './wrk.ts';

export interface LiveOverload {
  /** Requests a second that are answered well when no more is asked than can be done: the mean of before and after. */
  readonly capacity: number;
  /** Answers that were good, to what the node can do. */
  readonly goodput: number;
  /** Share of the requests that were refused. */
  readonly refused: number;
  readonly refusedMedianMs: number;
  /** From the end of the overload until a request is answered well within RECOVERED_MS. */
  readonly recoveryMs: number;
}

const OVER = 3;
const AFTER_SECONDS = 3;
/** Of a function of 5 ms. */
const RECOVERED_MS = 100;

const FUNCTION_MS = 5;
/** Together less than the open loop has connections: what there is no place for the node refuses, not the generator. */
const LANE = { concurrency: 4, queue: 32 };

/** `component`: its `/burn/N` takes a time in proportion to N. */
export async function overloadLive(component: string, seconds: number): Promise<LiveOverload> {
  const node = await SkerryNode.start('wasmtime');
  try {
    await node.deploy('w', await node.upload(component), LANE);
    const url = node.url('w', `/burn/${await turnsOf(FUNCTION_MS, (turns) => node.url('w', `/burn/${turns}`))}`);
    const { requestsPerSecond: before } = await drive(url, 3, undefined, LANE.concurrency);
    const during = await sendAtRate(url, OVER * before, seconds);
    const endedAt = Date.now();
    const after = await sendAtRate(url, before / 2, AFTER_SECONDS);
    // What the machine can do may have changed meanwhile.
    const { requestsPerSecond: later } = await drive(url, 3, undefined, LANE.concurrency);
    const capacity = (before + later) / 2;
    return { capacity, ...judge(during, capacity * seconds), recoveryMs: recovery(after, endedAt) };
  } finally {
    await node.discard();
  }
}

/** How many turns take that long here when nothing else runs. */
async function turnsOf(ms: number, url: (turns: number) => string): Promise<number> {
  const tried = 20_000;
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const from = performance.now();
    await fetch(url(tried)).then((answer) => answer.text());
    times.push(performance.now() - from);
  }
  return Math.round((tried * ms) / Math.min(...times));
}

function judge(during: readonly SentRequest[], possible: number) {
  const refusals = during.filter(({ code }) => code === 429 || code === 503).map(({ latencyMs }) => latencyMs);
  refusals.sort((a, b) => a - b);
  return {
    goodput: during.filter(({ code }) => code === 200).length / possible,
    refused: refusals.length / during.length,
    refusedMedianMs: refusals[refusals.length >> 1] ?? Number.POSITIVE_INFINITY,
  };
}

/** From `endedAt` to the first good answer in good time. */
function recovery(after: readonly SentRequest[], endedAt: number): number {
  const well = after.filter(({ code, latencyMs }) => code === 200 && latencyMs < RECOVERED_MS);
  return Math.max(0, Math.min(...well.map(({ sentAt, latencyMs }) => sentAt + latencyMs - endedAt)));
}
