// What the machine boots with: a disk with this system's own programs, the Node.js that runs this, and the parts of Skerry
// that tests need; and an initial file system that knows how to find the disk.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { root } from '../setup.mjs';
import { CONTAINER_PACKAGES } from '../system-packages.mjs';
import { Unavailable } from './unavailable.mjs';

/** Debian packages whose programs tests and Skerry call beside those of containers. */
const SYSTEM = ['coreutils', 'dash', 'util-linux', 'mount', 'grep', 'iproute2', 'e2fsprogs', 'busybox-static'];
const PYTHON = '/usr/bin/python3';
/** What they look for below the installation's folder. */
const INSTALLATION = [
  'package.json',
  'native/host/skerry-host.node',
  'native/host/skerry-launcher',
  'native/unpack/skerry-unpack',
];
/** Where Debian's kernel has modules of what the machine and the tests need, in the order of their dependencies. */
const MODULES =
  'virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk overlay loop tun'.split(' ');
/** Tests bring their own images. */
const SKOPEO = CONTAINER_PACKAGES.skopeo;
const DISK_BYTES = 2 * 2 ** 30;

/** @type {(command: string, args: string[], options?: object) => string} */
function ask(command, args, options = {}) {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 2 ** 20, ...options });
  if (done.error) throw new Unavailable(`${command} cannot be run (${done.error.code})`);
  if (done.status !== 0) throw new Error(`\`${[command, ...args].join(' ')}\` failed: ${done.stderr}`);
  return done.stdout;
}

/** A root file system that grows in a folder. */
class Tree {
  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
  }

  /** @type {(...paths: string[]) => void} */
  folders(...paths) {
    for (const path of paths) mkdirSync(join(this.folder, path), { recursive: true });
  }

  /** @type {(path: string, text: string, mode?: number) => void} */
  file(path, text, mode = 0o644) {
    this.folders(dirname(path));
    writeFileSync(join(this.folder, path), text, { mode });
  }

  /** A file of this system at the same place, behind whatever links lead there; a link in the place of one. @type {(path: string) => void} */
  same(path) {
    const place = join(realpathSync(dirname(path)), basename(path));
    const to = join(this.folder, place);
    if (existsSync(to)) return;
    this.folders(dirname(place));
    if (!lstatSync(place).isSymbolicLink()) return copyFileSync(place, to);
    symlinkSync(readlinkSync(place), to);
    if (existsSync(place)) this.same(realpathSync(place));
  }

  /** What these programs load. @type {(paths: string[]) => void} */
  librariesOf(paths) {
    // Its status is a failure as soon as one of them is a script.
    const { stdout } = spawnSync('ldd', paths, { encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
    for (const [, library] of (stdout ?? '').matchAll(/(?:=> |^\t)(\/\S+)/gm)) this.same(library);
  }
}

/** Files that these packages have brought, those of them that are installed. */
function filesOf(packages) {
  const installed = ask('dpkg-query', ['-Wf', `\${Package}\n`]).split('\n');
  const there = packages.filter((name) => installed.includes(name));
  const files = there.flatMap((name) => ask('dpkg', ['-L', name]).split('\n'));
  return files.filter((path) => existsSync(path) && statSync(path).isFile());
}

const programsOf = (packages) => filesOf(packages).filter((path) => /^(?:\/usr)?\/s?bin\//.test(path));

/** The language that some tests have a peer in, where it is installed. */
function filesOfPython() {
  if (!existsSync(PYTHON)) return [];
  const version = basename(realpathSync(PYTHON));
  return [PYTHON, ...filesOf([`${version}-minimal`, `lib${version}-minimal`])];
}

/** Each test with all that it imports in one file: to compile and to find modules takes long in an emulated machine. */
async function bundleTests(files, folder) {
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: root,
    entryPoints: files,
    outbase: root,
    outdir: folder,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
  });
}

/**
 * The disk, an ext4 file system: layers with mapped ids need one that can map them.
 * @type {(path: string, options: { main: string, tests: string[], work: string }) => Promise<void>} `main`: the script that the
 * machine runs; the tests are below `/skerry`, compiled
 */
export async function makeDisk(path, { main, tests, work }) {
  const tree = new Tree(join(work, 'root'));
  for (const link of ['bin', 'sbin', 'lib', 'lib64']) {
    tree.folders(`usr/${link}`);
    if (lstatSync(`/${link}`).isSymbolicLink()) symlinkSync(readlinkSync(`/${link}`), join(tree.folder, link));
  }
  tree.folders('proc', 'sys', 'dev', 'tmp', 'run', 'root', 'mnt', 'var/tmp');
  tree.file('etc/passwd', 'root:x:0:0::/root:/bin/sh\n');
  tree.file('etc/group', 'root:x:0:\n');
  tree.file('etc/shadow', 'root:*:20000:0:99999:7:::\n', 0o600);
  tree.file('main', main, 0o755);
  const containers = Object.values(CONTAINER_PACKAGES).filter((path) => existsSync(path) && path !== SKOPEO);
  const programs = [...programsOf(SYSTEM), ...containers, ...filesOfPython(), process.execPath];
  for (const path of programs) tree.same(path);
  tree.librariesOf([...programs, join(root, 'native/host/skerry-host.node')]);
  for (const each of INSTALLATION.filter((name) => existsSync(join(root, name)))) {
    tree.folders(join('skerry', dirname(each)));
    copyFileSync(join(root, each), join(tree.folder, 'skerry', each));
  }
  await bundleTests(tests, join(tree.folder, 'skerry'));
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  ask('mke2fs', ['-q', '-t', 'ext4', '-E', 'root_owner=0:0', '-d', tree.folder, path], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
}

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for name in ${MODULES.join(' ')}; do
  [ ! -e "/modules/$name.ko" ] || /bin/busybox insmod "/modules/$name.ko"
done
[ -b /dev/vda ] || /bin/busybox sleep 2
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /main
`;

/** The initial file system: busybox and the kernel's modules. @type {(path: string, kernel: string, work: string) => void} */
export function makeInitial(path, kernel, work) {
  const tree = new Tree(join(work, 'initial'));
  tree.folders('dev', 'root', 'bin', 'modules');
  tree.file('init', INIT, 0o755);
  copyFileSync('/bin/busybox', join(tree.folder, 'bin/busybox'));
  const modules = readdirSync(join(kernel, 'lib/modules'), { recursive: true, encoding: 'utf8' });
  for (const module of modules.filter((each) => each.endsWith('.ko') && MODULES.includes(basename(each, '.ko')))) {
    copyFileSync(join(kernel, 'lib/modules', module), join(tree.folder, 'modules', basename(module)));
  }
  const names = readdirSync(tree.folder, { recursive: true, encoding: 'utf8' }).join('\n');
  const archive = spawnSync('/bin/busybox', ['cpio', '-o', '-H', 'newc'], {
    cwd: tree.folder,
    input: names,
    maxBuffer: 256 * 2 ** 20,
  });
  if (archive.status !== 0) throw new Error(`the initial file system could not be made: ${archive.stderr}`);
  writeFileSync(path, archive.stdout);
}
