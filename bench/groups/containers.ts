import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import { ContainerNode, whyNoContainers } from '../../test/support/container-node.ts';
import { makeExchange } from '../../test/support/exchange.ts';
import { LayoutBuilder } from '../../test/support/image-builder.ts';
import { ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { median } from '../measure/statistics.ts';
import { atLeast, atMost, type Context, type Group, type Row, untargeted } from '../row.ts';
import { BareCrun } from '../servers/bare-crun.ts';
import { config, PORT, pages } from '../servers/httpd-image.ts';
import { freePort, serve } from '../servers/process.ts';
import { SkerryNode } from '../servers/skerry.ts';

const STARTS = 15;
const PAUSES = 15;
const STOPS = 100;

export const containers: Group = {
  name: 'containers',
  title: 'Containers: busybox httpd, its image unpacked already',
  async run(context) {
    const why = await whyNoContainers();
    if (why !== null) {
      context.print(`  left out: ${why}`);
      return [];
    }
    return [...(await starts()), ...(await proxied(context))];
  },
};

/** From a start to the end of its first answer: by the driver and by bare crun in turn; and what pausing costs. */
async function starts(): Promise<Row[]> {
  const node = await ContainerNode.open();
  try {
    const revision = await node.revision(pages, config, { cpus: 2 });
    await node.driver.prepare(revision);
    const bare = await BareCrun.prepare(node.folder);
    const answer = async (instance: Awaited<ReturnType<typeof node.start>>) => {
      const { exchange } = makeExchange({});
      await instance.handle(exchange);
    };
    const [ours, theirs, above]: number[][] = [[], [], []];
    for (let i = 0; i < STARTS; i++) {
      let began = performance.now();
      const instance = await node.start(revision);
      await answer(instance);
      ours!.push(performance.now() - began);
      await instance.stop(0);
      began = performance.now();
      const stop = await bare.run();
      theirs!.push(performance.now() - began);
      await stop();
    }
    const instance = await node.start(revision);
    for (let i = 0; i < PAUSES; i++) {
      await answer(instance);
      let began = performance.now();
      await answer(instance);
      const warm = performance.now() - began;
      await instance.pause();
      began = performance.now();
      await answer(instance);
      above!.push(performance.now() - began - warm);
    }
    await instance.stop(0);
    const before = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').length;
    for (let i = 0; i < STOPS; i++) await (await node.start(revision)).stop(0);
    const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').length - before;
    const [one, other] = [median(ours!), median(theirs!)];
    const spread = `${one.toFixed(0)} : ${other.toFixed(0)} ms, ${(one / other).toFixed(2)}x`;
    return [
      atMost('cold start to the first answer: to bare crun run', one / other, 1.5, 'x', spread),
      atMost(
        'a paused one to its answer, above a warm one',
        median(above!),
        5,
        'ms',
        `${median(above!).toFixed(2)} ms`,
      ),
      untargeted(`left of ${STOPS} started and stopped: folders, mounts`, `${node.left().length}, ${mounts}`),
    ];
  } finally {
    await node.close();
  }
}

/** Requests through the node, and through a plain node:http proxy, to the same container. */
async function proxied(context: Context): Promise<Row[]> {
  const place = mkdtempSync(join(tmpdir(), 'skerry-bench-image-'));
  const node = await SkerryNode.start('wasmtime');
  try {
    const layout = new LayoutBuilder(place);
    layout.image(pages, undefined, config);
    const archive = layout.archive(`${place}.tar`);
    const image = await node.client.importImage(`oci:${archive}`, { archive: createReadStream(archive) }, () => {});
    await node.deploy('bench', image.artifact, { cpus: 2, min: 1, max: 1 });
    const url = node.url('bench', '/');
    await new Promise((resolve) => get(url, (response) => resolve(response.resume())));
    const port = await freePort();
    const program = join(projectRoot, 'bench', 'servers', 'plain-proxy.ts');
    const [ours, plain] = await sideBySide(
      [
        async () => ({ name: 'Skerry', url, pid: node.pid, stop: async () => {} }),
        () =>
          serve(
            'a plain node:http proxy',
            process.execPath,
            ['--import', 'tsx', program, String(port), String(PORT)],
            `http://127.0.0.1:${port}/`,
          ),
      ],
      context,
    );
    const { median: value, text } = ratioOf(ours!, plain!);
    return [atLeast('proxied requests: to a plain node:http proxy to the same container', value, 1, text)];
  } finally {
    await node.discard();
    rmSync(place, { recursive: true, force: true });
    rmSync(`${place}.tar`, { force: true });
  }
}
