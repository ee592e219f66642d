/** Drives a server at a rate that does not depend on its answers (an open loop), so that whatever waits is seen. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { peerCommand } from '../servers/process.ts';

export interface OpenLoopLoad {
  /** In milliseconds, from when a request should have been sent. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Requests sent a second, and the share of them that was answered well. */
  readonly rate: number;
  readonly success: number;
}

export async function driveAtRate(url: string, perSecond: number, seconds: number): Promise<OpenLoopLoad> {
  const report = await attack(url, perSecond, seconds, ['report', '-type', 'json']);
  const { latencies, rate, success } = JSON.parse(report);
  return { p50Ms: latencies['50th'] / 1e6, p99Ms: latencies['99th'] / 1e6, rate, success };
}

/** One request of an open loop. */
export interface SentRequest {
  /** Milliseconds since 1970. */
  readonly sentAt: number;
  /** 0: it was not answered. */
  readonly code: number;
  readonly latencyMs: number;
}

/** As `driveAtRate`; gives each request. */
export async function sendAtRate(url: string, perSecond: number, seconds: number): Promise<SentRequest[]> {
  const lines = await attack(url, perSecond, seconds, ['encode', '-to', 'csv']);
  return lines
    .trim()
    .split('\n')
    .map((line) => {
      const [sentAt, code, latency] = line.split(',', 3).map(Number);
      return { sentAt: sentAt! / 1e6, code: code!, latencyMs: latency! / 1e6 };
    });
}

/** What vegeta's command `then` says of an attack. */
async function attack(url: string, perSecond: number, seconds: number, then: readonly string[]): Promise<string> {
  const vegeta = peerCommand('vegeta');
  const flags = ['-rate', `${Math.round(perSecond)}/s`, '-duration', `${seconds}s`, '-connections', '128'];
  const sender = spawn(vegeta, ['attack', ...flags, '-max-connections', '128'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const teller = spawn(vegeta, then, { stdio: ['pipe', 'pipe', 'inherit'] });
  sender.stdin.end(`GET ${url}\n`);
  sender.stdout.pipe(teller.stdin);
  return await text(teller.stdout);
}
