import { setTimeout as sleep } from 'node:timers/promises';
import { deployMany } from '../measure/deploy-many.ts';
import { groupPssBytes } from '../measure/process-figures.ts';
import { drive } from '../measure/wrk.ts';
import { atMost, type Group, untargeted } from '../row.ts';
import { SkerryNode } from '../servers/skerry.ts';

const IDLE_TARGET_MB = 150;
const FUNCTION_TARGET_KB = 100;
const FURTHER = 400;
/** Longer than the node waits before it gives back what idle instances have, in milliseconds. */
const REST_MS = 15_000;
/** Readings of which the least counts: garbage that is not collected yet is no need. */
const READINGS = 5;

export const memory: Group = {
  name: 'memory',
  title: "The node's memory (PSS) on the native engine",
  async run(context) {
    const node = await SkerryNode.start('wasmtime');
    try {
      const artifact = await node.upload(await context.rust());
      await node.deploy('bench', artifact);
      const fresh = await leastPss(node.pid);
      await drive(node.url('bench', '/hello'), context.seconds);
      await sleep(REST_MS);
      const idle = await leastPss(node.pid);
      await deployMany(node, artifact, FURTHER);
      await sleep(REST_MS);
      const many = await leastPss(node.pid);
      const each = (many - idle) / FURTHER;
      const { node: usage } = await node.client.usage(100);
      context.print(`  ${mb(fresh)} before the load, ${mb(idle)} after it, ${mb(many)} with ${FURTHER} more functions`);
      return [
        atMost('memory, idle after a load', idle / 1e6, IDLE_TARGET_MB, 'MB', mb(idle)),
        atMost(
          'memory of each further function of one component',
          each / 1e3,
          FUNCTION_TARGET_KB,
          'KB',
          `${(each / 1e3).toFixed(0)} KB`,
        ),
        untargeted('  of it kept for instances to come', `${(usage.keptBytes / 1e6).toFixed(1)} MB`),
      ];
    } finally {
      await node.discard();
    }
  },
};

async function leastPss(pid: number): Promise<number> {
  const readings: number[] = [];
  for (let reading = 0; reading < READINGS; reading++) {
    readings.push(groupPssBytes(pid));
    await sleep(500);
  }
  return Math.min(...readings);
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
