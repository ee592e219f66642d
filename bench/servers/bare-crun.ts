import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { CAPABILITIES, containerConfig } from '../../daemon/hostd/container-config.ts';
import { containerIds, LAYER_IDS } from '../../daemon/hostd/ids.ts';
import { writeNameFiles } from '../../daemon/hostd/name-files.ts';
import { NetworkNamespace } from '../../daemon/hostd/network-namespaces.ts';
import { SeccompProfile, seccompFilter } from '../../daemon/hostd/seccomp.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { openLayerStore } from '../../images/layers/index.ts';
import { cgroupLayout, connectInside } from '../../native/host/index.ts';
import { config, PORT, pages } from './httpd-image.ts';

/** The same image by crun alone, over the same layers. */
export class BareCrun {
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
    writeNameFiles(place, id);
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
      stdio: ['pipe', 'ignore', 'ignore'],
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
