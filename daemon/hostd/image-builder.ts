/**
 * Builds images from Dockerfiles by buildah, which runs as nobody: root of a user namespace whose users are those of no
 * container, in a network with a loopback alone, in a control group, seeing of the data folder its own folder only. RUN steps
 * run in containers of crun inside of that. What goes in and out are descriptors.
 */
import { execFile, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { chmod, chown, type FileHandle, mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type {
  BuildOptions,
  BuildStreams,
  CacheBounds,
  ImageBuilderHost,
} from '../../images/build/dockerfile/builder-host.ts';
import { buildErrors } from '../../images/build/errors.ts';
import { type Cgroups, closeFd, dupFd, makeNetworkNamespace } from '../../native/host/index.ts';
import { BUILD_IDS } from './ids.ts';
import { accessFor } from './node-user.ts';
import { LAUNCHER } from './split.ts';
import { unmounts } from './unmounts.ts';

const run = promisify(execFile);

/** At once: each wants the whole machine. */
const MOST_BUILDS = 2;
const MOST_MINUTES = 30;
const LIMITS = { memoryBytes: 4 * 2 ** 30, pids: 4096, cpuWeight: 50 };
const LEAST_MEMORY = 256 * 2 ** 20;

const BUILDAH = '/usr/bin/buildah';
/** Images that were brought for FROM lines, by their digest. */
const BASES = 'localhost/skerry-base';

export interface ImageBuilderOptions {
  /** In the data folder; root's own. */
  readonly folder: string;
  readonly groups: Cgroups;
  /** Name and version. */
  readonly provider: string;
  /** Of the machine, in bytes. */
  readonly memoryBytes: number;
}

interface Command {
  readonly stdin?: number;
  readonly stdout?: number;
  readonly stderr?: number;
  readonly network?: boolean;
  readonly signal?: AbortSignal;
}

export class ImageBuilder implements ImageBuilderHost {
  readonly provider: string;
  readonly #options: ImageBuilderOptions;
  readonly #settings: string;
  #serial = 0;
  #running = 0;
  /** What uses the storage: builds, and what is brought for them. */
  #users = 0;
  #pruning: Promise<number> | null = null;

  private constructor(options: ImageBuilderOptions) {
    this.provider = options.provider;
    this.#options = options;
    this.#settings = join(options.folder, 'settings');
  }

  static async open(options: ImageBuilderOptions): Promise<ImageBuilder> {
    const { folder } = options;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    await chmod(folder, 0o711);
    // What a crash left of builds; the steps that they made stay.
    for (const name of ['work', 'run', 'settings']) await rm(join(folder, name), { recursive: true, force: true });
    for (const name of ['work', 'settings']) await mkdir(join(folder, name), { mode: 0o711 });
    for (const name of ['run', 'storage']) await give(join(folder, name));
    const files = {
      'storage.conf': `[storage]\ndriver = "overlay"\ngraphroot = "${folder}/storage"\nrunroot = "${folder}/run"\n`,
      // What was brought is trusted as whoever brought it checked it; nothing else can be reached.
      'policy.json': '{"default":[{"type":"insecureAcceptAnything"}]}\n',
      'registries.conf': 'unqualified-search-registries = []\nshort-name-mode = "disabled"\n',
    };
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(folder, 'settings', name), text, { mode: 0o644 });
    }
    return new ImageBuilder(options);
  }

  async name(image: string, key: string): Promise<boolean> {
    return this.#working(async (work) => (await this.#buildah(work, ['tag', baseName(key), image])) === 0);
  }

  async load(archive: number, key: string): Promise<void> {
    await this.#working(async (work) => {
      const file = join(work, 'base.tar');
      const copied = await this.#command(work, ['/bin/sh', '-c', 'cat > "$0"', file], { stdin: archive });
      const source = `oci-archive:${file}`;
      const said = await this.#said(work, ['pull', '--quiet', source]);
      const [id] = /^[0-9a-f]{64}$/m.exec(said.out) ?? [];
      if (copied !== 0 || id === undefined)
        throw buildErrors.IMAGE_BUILD_FAILED(key, said.err.trim() || 'it is no image');
      await this.#buildah(work, ['tag', id, baseName(key)]);
    });
  }

  async build(options: BuildOptions, streams: BuildStreams, signal: AbortSignal): Promise<number> {
    if (this.#running >= MOST_BUILDS) throw buildErrors.IMAGE_BUILDS_BUSY(MOST_BUILDS);
    this.#running++;
    const late = AbortSignal.timeout(MOST_MINUTES * 60_000);
    try {
      return await this.#working((work) => this.#build(work, options, streams, AbortSignal.any([signal, late])));
    } catch (error) {
      signal.throwIfAborted();
      throw late.aborted ? buildErrors.IMAGE_BUILD_TIMEOUT(MOST_MINUTES) : error;
    } finally {
      this.#running--;
    }
  }

  prune(bounds: CacheBounds): Promise<number> {
    this.#pruning ??= this.#prune(bounds).finally(() => {
      this.#pruning = null;
    });
    return this.#pruning;
  }

  async #prune({ maxBytes, maxAgeMs }: CacheBounds): Promise<number> {
    if (this.#users > 0) return 0;
    const storage = join(this.#options.folder, 'storage');
    const { stdout } = await run('du', ['-sk', storage]);
    const bytes = Number.parseInt(stdout, 10) * 1024;
    const used = await stat(this.#used).catch(() => null);
    const idle = used !== null && used.mtimeMs < Date.now() - maxAgeMs;
    if (bytes <= maxBytes && !idle) return 0;
    // All of it: the steps build upon each other, and none is needed.
    await rm(storage, { recursive: true, force: true });
    await give(storage);
    await rm(this.#used, { force: true });
    return bytes;
  }

  /** A file that is as old as the last build. */
  get #used(): string {
    return join(this.#options.folder, 'used');
  }

  async #build(
    work: string,
    { dockerfile, args, target, fresh, epoch, secrets, network }: BuildOptions,
    { context, stdout, stderr }: BuildStreams,
    signal: AbortSignal,
  ): Promise<number> {
    await give(join(work, 'context'));
    await give(join(work, 'secrets'));
    await put(join(work, 'Dockerfile'), dockerfile);
    const unpack = ['/bin/tar', '-x', '-f', '-', '-C', join(work, 'context'), '--no-same-owner'];
    if ((await this.#command(work, unpack, { stdin: context, stderr, signal })) !== 0) {
      throw buildErrors.IMAGE_BUILD_FAILED('the folder', 'its archive cannot be unpacked');
    }
    const given: string[] = [];
    for (const [id, value] of Object.entries(secrets)) {
      await put(join(work, 'secrets', id), value);
      given.push('--secret', `id=${id},src=${join(work, 'secrets', id)}`);
    }
    const status = await this.#buildah(
      work,
      [
        ...['bud', '--layers', '--pull-never', '--format', 'oci', '--isolation', 'rootless', '--network', 'host'],
        ...['--iidfile', join(work, 'image-id'), '--file', join(work, 'Dockerfile')],
        ...Object.entries(args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
        ...(target === null ? [] : ['--target', target]),
        ...(fresh ? ['--no-cache'] : []),
        // Its label would say which version of it built the image.
        ...(epoch === null ? [] : ['--timestamp', String(epoch), '--identity-label=false']),
        ...given,
        join(work, 'context'),
      ],
      { stdout, stderr, network, signal },
    );
    if (status !== 0) throw buildErrors.IMAGE_BUILD_FAILED('the Dockerfile', `buildah ended with status ${status}`);
    const id = await this.#readId(join(work, 'image-id'));
    const archive = join(work, 'image.tar');
    if ((await this.#buildah(work, ['push', '--quiet', id, `oci-archive:${archive}`], { stderr, signal })) !== 0) {
      throw buildErrors.IMAGE_BUILD_FAILED('the Dockerfile', 'the image could not be written');
    }
    const file = await openMade(archive);
    try {
      return await dupFd(file.fd);
    } finally {
      await file.close();
    }
  }

  async #readId(path: string): Promise<string> {
    const file = await openMade(path);
    try {
      const text = (await file.readFile('latin1')).trim();
      if (!/^sha256:[0-9a-f]{64}$/.test(text))
        throw buildErrors.IMAGE_BUILD_FAILED('the Dockerfile', 'no image came of it');
      return text.slice('sha256:'.length);
    } finally {
      await file.close();
    }
  }

  /** With a folder of its own, and a control group that ends with it. */
  async #working<T>(task: (work: string) => Promise<T>): Promise<T> {
    while (this.#pruning) await this.#pruning.catch(() => {});
    this.#users++;
    try {
      await writeFile(this.#used, '');
      return await this.#inFolder(task);
    } finally {
      this.#users--;
    }
  }

  async #inFolder<T>(task: (work: string) => Promise<T>): Promise<T> {
    const work = join(this.#options.folder, 'work', String(++this.#serial));
    await give(work);
    for (const name of ['home', 'tmp']) await give(join(work, name));
    try {
      return await task(work);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  #buildah(work: string, args: readonly string[], command: Command = {}): Promise<number> {
    return this.#command(work, [BUILDAH, ...this.#common(args)], command);
  }

  /** The signature policy is an option of those that copy images. */
  #common([command = '', ...rest]: readonly string[]): string[] {
    const policy = ['--signature-policy', join(this.#settings, 'policy.json')];
    return [command, ...(['bud', 'pull', 'push'].includes(command) ? policy : []), ...rest];
  }

  /** What it says, bounded. */
  async #said(work: string, args: readonly string[]): Promise<{ out: string; err: string }> {
    const output = join(work, 'said');
    const files = [await open(`${output}.out`, 'w+'), await open(`${output}.err`, 'w+')] as const;
    try {
      await this.#buildah(work, args, { stdout: files[0].fd, stderr: files[1].fd });
      const [out, err] = await Promise.all(
        files.map(async (file) => {
          const { bytesRead, buffer } = await file.read(Buffer.alloc(8192), 0, 8192, 0);
          return buffer.toString('utf8', 0, bytesRead);
        }),
      );
      return { out: out as string, err: err as string };
    } finally {
      for (const file of files) await file.close();
    }
  }

  /** Exit status. When `signal` aborts all of its processes are ended. */
  async #command(work: string, command: readonly string[], options: Command = {}): Promise<number> {
    const { folder, groups, memoryBytes } = this.#options;
    const { stdin, stdout, stderr, network: shared = false, signal } = options;
    signal?.throwIfAborted();
    const memory = Math.max(LEAST_MEMORY, Math.min(LIMITS.memoryBytes, Math.floor(memoryBytes / 2)));
    const name = `build-${process.pid}-${++this.#serial}`;
    const { group } = await groups.create(name, { ...LIMITS, memoryBytes: memory });
    const network = shared ? null : await makeNetworkNamespace();
    const kill = () => void group.kill().catch(() => {});
    try {
      const { base, count } = BUILD_IDS;
      const access = await accessFor(base, { data: folder, read: [] });
      const launcher = [
        // For root of any namespace buildah keeps its cache of names there, and finds no image by a short one without.
        ...['--mount-namespace', ...unmounts(groups), ...access.arguments, '--scratch', '/var/cache'],
        ...group.folders.flatMap((path) => ['--cgroup', path]),
        ...(network === null ? [] : ['--network-namespace', '3']),
        ...['--user-namespace', `0:${base}:${count}`, '--directory', work, '--'],
      ];
      // Mounts below are those of its own users' namespace.
      const inside = ['/usr/bin/unshare', '--mount', '--pid', '--fork', '--ipc', '--uts', '--mount-proc', '--'];
      const child = spawn(LAUNCHER, [...launcher, ...inside, ...command], {
        stdio: [stdin ?? 'ignore', stdout ?? 'ignore', stderr ?? 'ignore', ...(network === null ? [] : [network])],
        env: this.#environment(work),
        cwd: '/',
      });
      signal?.addEventListener('abort', kill);
      const status = await new Promise<number>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code) => resolve(code ?? 137));
      });
      signal?.throwIfAborted();
      return status;
    } finally {
      signal?.removeEventListener('abort', kill);
      if (network !== null) await closeFd(network);
      // RUN steps leave nothing that runs, and no group of their own.
      await group.kill().catch(() => {});
      await group.remove().catch(() => {});
    }
  }

  #environment(work: string): Record<string, string> {
    return {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: join(work, 'home'),
      TMPDIR: join(work, 'tmp'),
      XDG_RUNTIME_DIR: join(this.#options.folder, 'run'),
      CONTAINERS_STORAGE_CONF: join(this.#settings, 'storage.conf'),
      CONTAINERS_REGISTRIES_CONF: join(this.#settings, 'registries.conf'),
      // It is root of its namespace: it need not make one.
      _CONTAINERS_USERNS_CONFIGURED: 'done',
      BUILDAH_ISOLATION: 'rootless',
    };
  }
}

const baseName = (key: string) => `${BASES}:${key.replace(/^sha256:/, '')}`;

/** A folder of the users of builds. */
async function give(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chown(path, BUILD_IDS.base, BUILD_IDS.base);
}

async function put(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600, flag: 'wx' });
  await chown(path, BUILD_IDS.base, BUILD_IDS.base);
}

/** What a build has made: its users may have put anything there. */
async function openMade(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const found = await file.stat();
  if (found.isFile() && found.uid === BUILD_IDS.base) return file;
  await file.close();
  throw buildErrors.IMAGE_BUILD_FAILED('the Dockerfile', 'what came of it is no file');
}
