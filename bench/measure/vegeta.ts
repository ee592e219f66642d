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
  const vegeta = peerCommand('vegeta');
  const flags = ['-rate', `${Math.round(perSecond)}/s`, '-duration', `${seconds}s`, '-connections', '128'];
  const attack = spawn(vegeta, ['attack', ...flags, '-max-connections', '128'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const report = spawn(vegeta, ['report', '-type', 'json'], { stdio: ['pipe', 'pipe', 'inherit'] });
  attack.stdin.end(`GET ${url}\n`);
  attack.stdout.pipe(report.stdin);
  const { latencies, rate, success } = JSON.parse(await text(report.stdout));
  return { p50Ms: latencies['50th'] / 1e6, p99Ms: latencies['99th'] / 1e6, rate, success };
}
