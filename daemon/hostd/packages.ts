/** What containers stand on beside the kernel: programs and files, with the packages of Debian that bring them. */
import { existsSync } from 'node:fs';

export const CONMON = '/usr/bin/conmon';
export const RUNTIMES = { crun: '/usr/bin/crun', runc: '/usr/sbin/runc' } as const;
export const SECCOMP_PROFILE = '/usr/share/containers/seccomp.json';
export const MKFS = '/sbin/mke2fs';
export const BUILDAH = '/usr/bin/buildah';

const PACKAGES: Readonly<Record<string, string>> = {
  [RUNTIMES.crun]: 'crun',
  [RUNTIMES.runc]: 'runc',
  [CONMON]: 'conmon',
  [SECCOMP_PROFILE]: 'golang-github-containers-common',
  [MKFS]: 'e2fsprogs',
  [BUILDAH]: 'buildah',
};

export const missingOf = (paths: readonly string[]): string[] => paths.filter((path) => !existsSync(path));

/** What to type to have these. */
export function installCommand(paths: readonly string[]): string {
  const packages = paths.map((path) => PACKAGES[path]).join(' ');
  return existsSync('/usr/bin/apt-get') ? `apt-get install ${packages}` : `install ${packages} (Debian's names)`;
}
