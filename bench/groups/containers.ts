import { spawn } from 'node:child_process';
import { chmodSync, createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CAPABILITIES, containerConfig } from '../../daemon/hostd/container-config.ts';
import { containerIds, LAYER_IDS } from '../../daemon/hostd/ids.ts';
import { writeNameFiles } from '../../daemon/hostd/name-files.ts';
import { NetworkNamespace } from '../../daemon/hostd/network-namespaces.ts';
import { SeccompProfile, seccompFilter } from '../../daemon/hostd/seccomp.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { openLayerStore } from '../../images/layers/index.ts';
import { cgroupLayout, connectInside } from '../../native/host/index.ts';
import { ContainerNode, whyNoContainers } from '../../test/support/container-node.ts';
import { makeExchange } from '../../test/support/exchange.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../../test/support/image-builder.ts';
import { file, folder } from '../../test/support/tar-writer.ts';
import { ratioOf, sideBySide } from '../measure/side-by-side.ts';
import { median } from '../measure/statistics.ts';
import { atLeast, atMost, type Context, type Group, type Row, untargeted } from '../row.ts';
import { freePort, serve } from '../servers/process.ts';
import { SkerryNode } from '../servers/skerry.ts';

const STARTS = 15;
const PAUSES = 15;
const STOPS = 100;
const PORT = 8080;
const pages = [busyboxLayer(), layerOf([folder('www/'), file('www/index.html', 'hello\n')])];
const config = { Cmd: ['httpd', '-f', '-p', String(PORT), '-h', '/www'], ExposedPorts: { [`${PORT}/tcp`]: {} } };

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

/** The same image by crun alone, over the same layers. */
class BareCrun {
  readonly #layers: readonly string[];
  readonly #seccomp: SeccompProfile;
  #serial = 0;

  private constructor(layers: readonly string[], seccomp: SeccompProfile) {
    this.#layers = layers;
    this.#seccomp = seccomp;
  }

  static async prepare(nodeFolder: string): Promise<BareCrun> {
    const store = await openLayerStore(join(nodeFolder, 'layers'), { range: LAYER_IDS });
    const folders = await Promise.all(pages.map(async ({ diffId }) => (await store.find(diffId))!.path));
    const text = await readFile('/usr/share/containers/seccomp.json', 'utf8');
    return new BareCrun(folders.reverse(), SeccompProfile.parse(JSON.parse(text)));
  }

  /** Resolves when it has answered, with what ends it. */
  async run(): Promise<() => Promise<void>> {
    const id = `bench-${process.pid}-${++this.#serial}`;
    const place = mkdtempSync(join('/run', 'skerry-bench-'));
    // The root of the container passes through.
    chmodSync(place, 0o711);
    await mkdir(join(place, 'rootfs'));
    const network = await NetworkNamespace.make();
    const { base: first, count } = containerIds(3999);
    const spec = { hostname: id, command: config.Cmd, env: ['PATH=/bin'], directory: '/', cpuWeight: 100, pids: 512 };
    const bundle = containerConfig(
      {
        ...spec,
        user: { uid: 0, gid: 0, groups: [] },
        memoryBytes: 128 * 2 ** 20,
        cpuMillicores: 2000,
        scratch: [],
        writableRoot: false,
      },
      {
        root: join(place, 'rootfs'),
        ids: { first, count },
        cgroup: { path: `/skerry-bench/${id}`, isV2: (await cgroupLayout()).mode === 'v2' },
        networkNamespace: `/proc/${process.pid}/fd/${network.fd}`,
        binds: [],
        seccomp: seccompFilter(this.#seccomp, CAPABILITIES),
        nameFiles: place,
      },
    );
    await writeNameFiles(place, id);
    writeFileSync(join(place, 'config.json'), JSON.stringify(bundle));
    const launcher = join(projectRoot, 'native', 'host', 'skerry-launcher');
    const options = [
      '--root',
      join(place, 'rootfs'),
      '--upper',
      '65536',
      '--idmap',
      `${LAYER_IDS.base}:${first}:${count}`,
    ];
    const lowers = this.#layers.flatMap((layer) => ['--lower', layer]);
    const crun = ['--', '/usr/bin/crun', '--cgroup-manager=cgroupfs', 'run', '--bundle', place, id];
    const unmounts = await readFile('/proc/self/mountinfo', 'utf8').then((text) =>
      text.includes('/sys/fs/cgroup/unified') ? ['--unmount', '/sys/fs/cgroup/unified'] : [],
    );
    const child = spawn(launcher, ['--mount-namespace', ...unmounts, ...options, ...lowers, ...crun], {
      stdio: 'ignore',
    });
    let over = false;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        over = true;
        resolve();
      });
    });
    for (;;) {
      if (over) throw new Error('crun ended before it answered; BENCH_DEBUG shows why');
      try {
        const socket = new Socket({ fd: await connectInside(network.fd, '127.0.0.1', PORT, 1000) });
        await new Promise((resolve) => {
          socket.end('GET / HTTP/1.0\r\n\r\n');
          socket.resume().once('close', resolve);
        });
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    return async () => {
      spawn('crun', ['kill', id, 'KILL'], { stdio: 'ignore' });
      await ended;
      await network.close();
      rmSync(place, { recursive: true, force: true });
    };
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
