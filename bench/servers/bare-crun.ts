import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CAPABILITIES, containerConfig } from '../../daemon/hostd/container-config.ts';
import { containerIds, LAYER_IDS } from '../../daemon/hostd/ids.ts';
import { writeNameFiles } from '../../daemon/hostd/name-files.ts';
import { NetworkNamespace } from '../../daemon/hostd/network-namespaces.ts';
import { type SeccompFilter, SeccompProfile, seccompFilter } from '../../daemon/hostd/seccomp.ts';
import { LAUNCHER } from '../../daemon/hostd/split.ts';
import { unmounts } from '../../daemon/hostd/unmounts.ts';
import { openLayerStore } from '../../images/layers/index.ts';
import { Cgroups } from '../../native/host/index.ts';
import { firstAnswer } from './first-answer.ts';
import { config, PORT, pages } from './httpd-image.ts';

/** The same image by crun alone, over the same layers. */
export class BareCrun {
  readonly #layers: readonly string[];
  readonly #seccomp: SeccompFilter;
  readonly #groups: Cgroups;
  #serial = 0;

  private constructor(layers: readonly string[], seccomp: SeccompFilter, groups: Cgroups) {
    this.#layers = layers;
    this.#seccomp = seccomp;
    this.#groups = groups;
  }

  static async prepare(nodeFolder: string): Promise<BareCrun> {
    const store = await openLayerStore(join(nodeFolder, 'layers'), { range: LAYER_IDS });
    const folders = await Promise.all(pages.map(async ({ diffId }) => (await store.find(diffId))!.path));
    const text = await readFile('/usr/share/containers/seccomp.json', 'utf8');
    const seccomp = seccompFilter(SeccompProfile.parse(JSON.parse(text)), CAPABILITIES);
    return new BareCrun(folders.reverse(), seccomp, await Cgroups.open());
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
        cgroup: { path: `/skerry-bench/${id}`, isV2: this.#groups.layout.mode === 'v2' },
        networkNamespace: `/proc/${process.pid}/fd/${network.fd}`,
        binds: [],
        seccomp: this.#seccomp,
        nameFiles: place,
      },
    );
    writeNameFiles(place, id);
    writeFileSync(join(place, 'config.json'), JSON.stringify(bundle));
    const options = [
      ...['--mount-namespace', ...unmounts(this.#groups), '--root', join(place, 'rootfs'), '--upper', '65536'],
      ...['--idmap', `${LAYER_IDS.base}:${first}:${count}`],
    ];
    const lowers = this.#layers.flatMap((layer) => ['--lower', layer]);
    const crun = ['--', '/usr/bin/crun', '--cgroup-manager=cgroupfs', 'run', '--bundle', place, id];
    // No device: crun would give it to the root of the container.
    const child = spawn(LAUNCHER, [...options, ...lowers, ...crun], { stdio: 'pipe' });
    for (const output of [child.stdout, child.stderr]) output.resume();
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await firstAnswer(network, PORT, () => child.exitCode !== null);
    return async () => {
      spawn('crun', ['kill', id, 'KILL'], { stdio: 'ignore' });
      await ended;
      await network.close();
      rmSync(place, { recursive: true, force: true });
    };
  }
}
