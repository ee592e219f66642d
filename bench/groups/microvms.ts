import { readdirSync, readFileSync } from 'node:fs';
import type { Instance } from '../../runtime/driver.ts';
import { makeExchange } from '../../test/support/exchange.ts';
import { openFiles } from '../../test/support/host-suite.ts';
import { busyboxLayer, layerOf } from '../../test/support/image-builder.ts';
import { MachineNode, whyNoMachines } from '../../test/support/machine-node.ts';
import { file, folder } from '../../test/support/tar-writer.ts';
import { median } from '../measure/statistics.ts';
import { atLeast, atMost, type Group, type Row, untargeted } from '../row.ts';

const BOOTS = 5;
const CLONES = 15;
const AT_ONCE = 10;
const CYCLES = 200;
const MiB = 2 ** 20;
const pages = [busyboxLayer(), layerOf([folder('www/'), file('www/index.html', 'hello\n')])];
const config = { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'], ExposedPorts: { '8080/tcp': {} } };

export const microvms: Group = {
  name: 'microvms',
  title: 'MicroVMs of 64 MiB: busybox httpd, its root disk made already',
  async run(context) {
    const why = await whyNoMachines();
    if (why !== null) {
      context.print(`  left out: ${why}`);
      return [];
    }
    const node = await MachineNode.open();
    try {
      context.print(`  ${node.host.provider}, ${node.host.acceleration.why}`);
      return await measure(node);
    } finally {
      await node.close();
    }
  },
};

async function answer(instance: Instance): Promise<void> {
  const { exchange } = makeExchange({ deadlineMs: 60_000 });
  await instance.handle(exchange);
}

async function measure(node: MachineNode): Promise<Row[]> {
  const revisionOf = (snapshot: 'none' | 'boot') => node.revision(pages, config, { cpus: 1, snapshot });
  const [boots, clones] = [await revisionOf('none'), await revisionOf('boot')];
  for (const revision of [boots, clones]) await node.driver.prepare(revision);
  const timed = async (revision: typeof boots) => {
    const began = performance.now();
    const instance = await node.start(revision);
    await answer(instance);
    const ms = performance.now() - began;
    await instance.stop(0);
    return ms;
  };
  const times = { boot: [] as number[], clone: [] as number[] };
  for (let i = 0; i < CLONES; i++) {
    times.clone.push(await timed(clones));
    if (i % (CLONES / BOOTS) === 0) times.boot.push(await timed(boots));
  }
  const [boot, clone] = [median(times.boot), median(times.clone)];
  const began = performance.now();
  const many = await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      const instance = await node.start(clones);
      await answer(instance);
      return instance;
    }),
  );
  const allMs = performance.now() - began;
  const pss = median(many.map(({ id }) => proportionalBytes(id))) / MiB;
  await Promise.all(many.map((instance) => instance.stop(0)));
  const own = `${clones.workload}-${clones.id}-`;
  const before = await counts(own);
  for (let i = 0; i < CYCLES; i++) await (await node.start(clones)).stop(0);
  const after = await counts(own);
  const left = Object.entries(after).map(([name, count]) => `${name} ${count - (before[name] ?? 0)}`);
  return [
    atMost('a clone to its first answer', clone, 150, 'ms', `${clone.toFixed(0)} ms`),
    atLeast('a boot, to a clone', boot / clone, 8, `${(boot / clone).toFixed(1)}x`),
    atMost('a boot to its first answer', boot, 1500, 'ms', `${boot.toFixed(0)} ms`),
    atMost(`${AT_ONCE} clones asked for at once: all answered`, allMs, 1500, 'ms', `${allMs.toFixed(0)} ms`),
    atMost(`memory of each of ${AT_ONCE} idle clones (PSS)`, pss, 30, 'MiB', `${pss.toFixed(1)} MiB`),
    untargeted(`left of ${CYCLES} started and stopped`, left.join(', ')),
  ];
}

/** Of all processes of a machine on the host. */
function proportionalBytes(id: string): number {
  let sum = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/skerry/${id}`)) continue;
      sum += 1024 * Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      // It has just ended.
    }
  }
  return sum;
}

/** Others may run nodes here at the same time: `own` begins the names of groups of this one. */
async function counts(own: string): Promise<Record<string, number>> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const monitors = pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/skerry/${own}`);
    } catch {
      return false;
    }
  });
  const groups = new Set<string>();
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    try {
      for (const name of readdirSync(`/sys/fs/cgroup/${controller}/skerry`)) if (name.startsWith(own)) groups.add(name);
    } catch {
      // It has none.
    }
  }
  return { descriptors: await openFiles(), monitors: monitors.length, groups: groups.size };
}
