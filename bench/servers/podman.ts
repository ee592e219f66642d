import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NetworkNamespace } from '../../daemon/hostd/network-namespaces.ts';
import { LAUNCHER } from '../../daemon/hostd/split.ts';
import { unmounts } from '../../daemon/hostd/unmounts.ts';
import { Cgroups } from '../../native/host/index.ts';
import { LayoutBuilder } from '../../test/support/image-builder.ts';
import { processesNaming } from '../measure/holdings.ts';
import { firstAnswer } from './first-answer.ts';
import { config, PORT, pages } from './httpd-image.ts';

const execute = promisify(execFile);
const PROGRAM = '/usr/bin/podman';

/** The same image by `podman run`, in a store of its own: as it comes, over overlayfs, with the same limits. */
export class Podman {
  readonly #folder: string;
  readonly #image: string;
  readonly #before: readonly string[];
  #serial = 0;

  private constructor(folder: string, image: string, before: readonly string[]) {
    this.#folder = folder;
    this.#image = image;
    this.#before = before;
  }

  /** Null where there is none. */
  static async prepare(): Promise<Podman | null> {
    if (!existsSync(PROGRAM)) return null;
    const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-podman-'));
    const layout = new LayoutBuilder(join(folder, 'layout'));
    layout.image(pages, undefined, config);
    const archive = layout.archive(join(folder, 'image.tar'));
    await execute(PROGRAM, [...storeIn(folder), 'load', '--quiet', '--input', archive]);
    const { stdout } = await execute(PROGRAM, [...storeIn(folder), 'images', '--quiet']);
    // crun refuses version 2 beside version 1, as it does for Skerry.
    return new Podman(folder, stdout.trim(), ['--mount-namespace', ...unmounts(await Cgroups.open())]);
  }

  /** Resolves when it has answered, with what ends it. */
  async run(): Promise<() => Promise<void>> {
    const name = `bench-${process.pid}-${++this.#serial}`;
    const network = await NetworkNamespace.make();
    const limits = [
      '--memory=128m',
      '--cpus=2',
      '--pids-limit=512',
      '--ulimit=nofile=4096:4096',
      '--ulimit=nproc=4096:4096',
    ];
    const options = ['--rm', '--name', name, `--network=ns:/proc/${process.pid}/fd/${network.fd}`, ...limits];
    const podman = [PROGRAM, ...storeIn(this.#folder), 'run', ...options, this.#image];
    const child = spawn(LAUNCHER, [...this.#before, '--', ...podman], {
      stdio: ['pipe', 'ignore', process.env.BENCH_DEBUG ? 'inherit' : 'ignore'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await firstAnswer(network, PORT, () => child.exitCode !== null);
    return async () => {
      await execute(PROGRAM, [...storeIn(this.#folder), 'kill', '--signal=KILL', name]);
      await ended;
      await network.close();
      // conmon has it clean up behind the one that waited.
      while ((await processesNaming(this.#folder)).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    };
  }

  /** Nothing of it stays. */
  async close(): Promise<void> {
    await execute(PROGRAM, [...storeIn(this.#folder), 'system', 'reset', '--force']).catch(() => {});
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function storeIn(folder: string): string[] {
  const store = [`--root=${join(folder, 'store')}`, `--runroot=${join(folder, 'run')}`, '--storage-driver=overlay'];
  return [...store, '--cgroup-manager=cgroupfs', '--events-backend=none'];
}
