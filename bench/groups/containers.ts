import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { projectRoot } from '../../errors/project-root.ts';
import type { Instance } from '../../runtime/driver.ts';
import type { RevisionDocument } from '../../runtime/workload/documents.ts';
import { ContainerNode, whyNoContainers } from '../../test/support/container-node.ts';
import { makeExchange } from '../../test/support/exchange.ts';
import { LayoutBuilder } from '../../test/support/image-builder.ts';
import { type Holdings, holdings } from '../measure/holdings.ts';
import { inOwnGroup } from '../measure/own-group.ts';
import { ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { median } from '../measure/statistics.ts';
import { atLeast, atMost, type Context, type Group, type Row, untargeted } from '../row.ts';
import { BareCrun } from '../servers/bare-crun.ts';
import { config, PORT, pages } from '../servers/httpd-image.ts';
import { Podman } from '../servers/podman.ts';
import { freePort, serve } from '../servers/process.ts';
import { SkerryNode } from '../servers/skerry.ts';

const STARTS = 15;
/** The kernel clears away what the last one left: networks, mounts; in milliseconds. */
const SETTLE_MS = 150;
const PAUSES = 15;
/** Started and stopped, so many at once, as long as there is time. */
const STOPS = { count: 1000, lanes: 4, mostMs: 240_000 };

export const containers: Group = {
  name: 'containers',
  title: 'Containers: busybox httpd, its image unpacked already',
  async run(context) {
    const why = await whyNoContainers();
    if (why !== null) {
      context.print(`  left out: ${why}`);
      return [];
    }
    return [...(await inOwnGroup(() => driven(context))), ...(await proxied(context))];
  },
};

/** What the driver does, in this process. */
async function driven(context: Context): Promise<Row[]> {
  const node = await ContainerNode.open();
  try {
    const revision = await node.revision(pages, config, { cpus: 2 });
    await node.driver.prepare(revision);
    return [
      ...(await starts(node, revision, context)),
      await pauses(node, revision),
      await stops(node, revision, context),
    ];
  } finally {
    await node.close();
  }
}

async function answer(instance: Instance): Promise<void> {
  const { exchange } = makeExchange({});
  await instance.handle(exchange);
}

/** From a start to the end of its first answer: by the driver, by bare crun and by podman in turn. */
async function starts(node: ContainerNode, revision: RevisionDocument, context: Context): Promise<Row[]> {
  const bare = await BareCrun.prepare(node.folder);
  const podman = await Podman.prepare();
  const ways: { name: string; took: number[]; run: () => Promise<() => Promise<void>> }[] = [
    {
      name: 'Skerry',
      took: [],
      run: async () => {
        const instance = await node.start(revision);
        await answer(instance);
        return () => instance.stop(0);
      },
    },
    { name: 'crun run', took: [], run: () => bare.run() },
    ...(podman ? [{ name: 'podman run', took: [], run: () => podman.run() }] : []),
  ];
  try {
    // The first of each is its warm-up.
    for (let i = 0; i <= STARTS; i++) {
      for (const { took, run } of ways) {
        await sleep(SETTLE_MS);
        const began = performance.now();
        const stop = await run();
        if (i > 0) took.push(performance.now() - began);
        await stop();
      }
    }
  } finally {
    await podman?.close();
  }
  for (const { name, took } of ways) {
    const sorted = [...took].sort((a, b) => a - b);
    context.print(
      `  start to first answer: ${median(took).toFixed(1).padStart(6)} ms (${sorted[0]!.toFixed(1)}-${sorted.at(-1)!.toFixed(1)}, ${STARTS} rounds)  ${name}`,
    );
  }
  const [ours, theirs, podmans] = ways.map(({ took }) => median(took)) as [number, number, number | undefined];
  const what = 'cold start to the first answer';
  const text = (other: number, ratio: number) => `${ours.toFixed(0)} : ${other.toFixed(0)} ms, ${ratio.toFixed(2)}x`;
  return [
    atMost(`${what}: to bare crun run`, ours / theirs, 1.5, 'x', text(theirs, ours / theirs)),
    podmans === undefined
      ? untargeted(`${what}: podman run to it`, 'podman is not installed')
      : atLeast(`${what}: podman run to it`, podmans / ours, 5, text(podmans, podmans / ours)),
  ];
}

async function pauses(node: ContainerNode, revision: RevisionDocument): Promise<Row> {
  const instance = await node.start(revision);
  const above: number[] = [];
  for (let i = 0; i < PAUSES; i++) {
    await answer(instance);
    let began = performance.now();
    await answer(instance);
    const warm = performance.now() - began;
    await instance.pause();
    began = performance.now();
    await answer(instance);
    above.push(performance.now() - began - warm);
  }
  await instance.stop(0);
  const ms = median(above);
  return atMost('a paused one to its answer, above a warm one', ms, 5, 'ms', `${ms.toFixed(2)} ms`);
}

/** What is left of many that were started and stopped. */
async function stops(node: ContainerNode, revision: RevisionDocument, context: Context): Promise<Row> {
  const look = () => holdings(node.host.folder, `${revision.workload}-${revision.id}-`);
  // One goes first, so that what is loaded and opened once is there.
  await (await node.start(revision)).stop(0);
  const before = await look();
  const until = performance.now() + STOPS.mostMs;
  let done = 0;
  const lane = async () => {
    while (done < STOPS.count && performance.now() < until) {
      done++;
      const instance = await node.driver.start(revision, revision.limits);
      await instance.stop(0);
    }
  };
  await Promise.all(Array.from({ length: STOPS.lanes }, lane));
  const after = await look();
  const names = Object.keys(before) as (keyof Holdings)[];
  const counts = names.map((name) => `${name} ${before[name]}, ${after[name]}`).join('; ');
  context.print(`  before and after ${done} started and stopped: ${counts}; folders left: ${node.left().length}`);
  const left = node.left().length + names.reduce((sum, name) => sum + Math.max(0, after[name] - before[name]), 0);
  const what = 'left of processes, mounts, namespaces, groups, descriptors, folders';
  return atMost(
    `${what} by ${STOPS.count} started and stopped`,
    done < STOPS.count ? Number.NaN : left,
    0,
    '',
    `${left} of ${done}`,
  );
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
