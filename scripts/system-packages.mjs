// Packages of the system that parts of Skerry stand on, each known by a file that it brings. As root on Debian they are
// installed; elsewhere it is said what to install.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { say } from './setup.mjs';

/** What containers need. */
export const CONTAINER_PACKAGES = {
  crun: '/usr/bin/crun',
  conmon: '/usr/bin/conmon',
  buildah: '/usr/bin/buildah',
  e2fsprogs: '/sbin/mke2fs',
  'golang-github-containers-common': '/usr/share/containers/seccomp.json',
};

/** What the host layer is built with. */
export const COMPILER_PACKAGES = { 'g++': '/usr/bin/g++' };

/** What microVMs need. */
export const MICROVM_PACKAGES = {
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'erofs-utils': '/usr/bin/mkfs.erofs',
  e2fsprogs: '/sbin/mke2fs',
};

/** What the kernel of microVMs is built with. */
export const KERNEL_PACKAGES = {
  gcc: '/usr/bin/gcc',
  make: '/usr/bin/make',
  flex: '/usr/bin/flex',
  bison: '/usr/bin/bison',
  bc: '/usr/bin/bc',
  'libelf-dev': '/usr/include/libelf.h',
  'xz-utils': '/usr/bin/xz',
};

/** What tests of containers need beside it. */
export const CONTAINER_TEST_PACKAGES = {
  'busybox-static': '/bin/busybox',
  'docker-registry': '/usr/bin/docker-registry',
  skopeo: '/usr/bin/skopeo',
  zstd: '/usr/bin/zstd',
  runc: '/usr/sbin/runc',
  'libcap2-bin': '/sbin/getcap',
  iproute2: '/sbin/ip',
};

/** @type {(packages: Record<string, string>, purpose: string) => void} */
export function installSystemPackages(packages, purpose) {
  const missing = Object.keys(packages).filter((name) => !existsSync(packages[name]));
  if (missing.length === 0) return;
  if (process.platform !== 'linux') return say(`${purpose} needs Linux; it is left out`);
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    return say(
      `${purpose} is left out: install ${missing.join(', ')} (on Debian: apt-get install ${missing.join(' ')})`,
    );
  }
  say(`installing ${missing.join(', ')}, for ${purpose}`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: ['ignore', 2, 2] };
  const apt = (...args) => spawnSync('apt-get', args, options).status === 0;
  apt('update', '-qq');
  if (apt('install', '-y', '-qq', '--no-install-recommends', ...missing)) return;
  // What stands on them says so itself, and the rest goes on.
  say(`${missing.join(', ')} could not be installed; ${purpose} may be left out`);
}

// `npm run build`: what the native parts are built with, and what containers and microVMs need beside them.
if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  installSystemPackages(COMPILER_PACKAGES, 'the host layer');
  installSystemPackages(CONTAINER_PACKAGES, 'containers');
  installSystemPackages(MICROVM_PACKAGES, 'microVMs');
}
