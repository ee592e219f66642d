/** Which of an image's variants runs on this machine. */

export interface Platform {
  /** As Go names them: `linux`. */
  readonly os: string;
  /** As Go names them: `amd64`, `arm64`. */
  readonly architecture: string;
  /** `v7` of arm; null where there is only one. */
  readonly variant: string | null;
}

const architectures: Record<string, string> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
  loong64: 'loong64',
};

export function hostPlatform(): Platform {
  const architecture = architectures[process.arch] ?? process.arch;
  // biome-ignore lint/suspicious/noExplicitAny: only the build for arm has it
  const armVersion = (process.config.variables as any).arm_version;
  const variant = architecture === 'arm' ? `v${armVersion ?? 7}` : null;
  return { os: 'linux', architecture, variant };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === null ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** What an architecture without a variant means: https://github.com/containerd/platforms, `normalizeArch`. */
const plainVariant: Record<string, number> = { arm: 7, arm64: 8, amd64: 1 };

/** How well `offered` runs on `host`: the higher the better, -1 when it does not. */
export function fitOf(offered: Platform, host: Platform): number {
  if (offered.os !== host.os || offered.architecture !== host.architecture) return -1;
  const level = ({ variant }: Platform) =>
    variant === null ? (plainVariant[host.architecture] ?? 0) : Number(/^v([0-9])$/.exec(variant)?.[1] ?? Number.NaN);
  const fit = level(offered);
  return fit <= level(host) ? fit : -1;
}
