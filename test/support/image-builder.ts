/** Builds container images as OCI image layouts, from files in memory; damaged ones too. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { hostPlatform } from '../../images/oci/index.ts';
import { digestOf } from '../../images/store/index.ts';
import { file, folder, symlink, type TarEntry, tar } from './tar-writer.ts';

export interface BuiltLayer {
  readonly blob: Buffer;
  readonly mediaType: string;
  readonly diffId: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

const OCI = 'application/vnd.oci.image';

export const types = {
  index: `${OCI}.index.v1+json`,
  manifest: `${OCI}.manifest.v1+json`,
  config: `${OCI}.config.v1+json`,
  layer: `${OCI}.layer.v1.tar`,
};

export function zstd(data: Buffer): Buffer {
  const { stdout, error, status } = spawnSync('zstd', ['-q', '-c'], { input: data, maxBuffer: 2 ** 30 });
  if (error || status !== 0) throw new Error('the command zstd is needed: apt-get install zstd');
  return stdout;
}

export function layerOf(entries: readonly TarEntry[], compression: '' | '+gzip' | '+zstd' = '+gzip'): BuiltLayer {
  return layerOfTar(tar(entries), compression);
}

export function layerOfTar(archive: Buffer, compression: '' | '+gzip' | '+zstd' = '+gzip'): BuiltLayer {
  const compress = { '': (data: Buffer) => data, '+gzip': (data: Buffer) => gzipSync(data), '+zstd': zstd };
  return {
    blob: compress[compression](archive),
    mediaType: `${types.layer}${compression}`,
    diffId: digestOf(archive),
  };
}

let busybox: BuiltLayer | undefined;

/** A root file system with busybox, as in Debian's package busybox-static. */
export function busyboxLayer(): BuiltLayer {
  busybox ??= makeBusyboxLayer();
  return busybox;
}

function makeBusyboxLayer(): BuiltLayer {
  const found = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  if (!found) throw new Error('busybox is needed: apt-get install busybox-static');
  const applets = ['sh', 'cat', 'echo', 'httpd', 'id', 'ls', 'sleep'].map((name) => symlink(`bin/${name}`, 'busybox'));
  const program = file('bin/busybox', readFileSync(found), { mode: 0o755 });
  const users = file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n');
  return layerOf([folder('bin/'), program, ...applets, folder('etc/'), users, folder('tmp/', { mode: 0o1777 })]);
}

/** An OCI image layout that grows. What is added by hand need not make sense. */
export class LayoutBuilder {
  readonly folder: string;
  readonly #manifests: Descriptor[] = [];

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true });
    chmodSync(folder, 0o755);
    writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    this.#write();
  }

  #write(): void {
    const index = { schemaVersion: 2, mediaType: types.index, manifests: this.#manifests };
    writeFileSync(join(this.folder, 'index.json'), JSON.stringify(index));
  }

  path(digest: string): string {
    return join(this.folder, 'blobs', digest.replace(':', '/'));
  }

  blob(data: Buffer | string, mediaType: string): Descriptor {
    const bytes = Buffer.from(data);
    const digest = digestOf(bytes);
    writeFileSync(this.path(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  json(value: unknown, mediaType: string): Descriptor {
    return this.blob(JSON.stringify(value), mediaType);
  }

  remove(digest: string): void {
    rmSync(this.path(digest));
  }

  /** Names it in index.json. */
  name(descriptor: Descriptor, tag?: string): Descriptor {
    const annotations = tag === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } };
    this.#manifests.push({ ...descriptor, ...annotations });
    this.#write();
    return descriptor;
  }

  /** Stores configuration, layers and manifest, and returns the manifest's descriptor. */
  manifest(layers: readonly BuiltLayer[], config: object = {}, change: object = {}): Descriptor {
    const { os, architecture } = hostPlatform();
    const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) };
    const configuration = this.json({ os, architecture, rootfs, config: {}, ...config }, types.config);
    const descriptors = layers.map(({ blob, mediaType }) => this.blob(blob, mediaType));
    const manifest = { schemaVersion: 2, mediaType: types.manifest, config: configuration, layers: descriptors };
    return this.json({ ...manifest, ...change }, types.manifest);
  }

  /** An image of this machine's platform, named in index.json. */
  image(layers: readonly BuiltLayer[], tag?: string, config: object = {}): Descriptor {
    return this.name(this.manifest(layers, { config }), tag);
  }

  /** All of it as a tar archive. */
  archive(path: string): string {
    const { status, stderr } = spawnSync('tar', ['-C', this.folder, '-cf', path, '.'], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return path;
  }
}

/** Runs skopeo, which the tests need as much as a node that pulls. */
export function skopeo(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('skopeo', ['--insecure-policy', ...args], { encoding: 'utf8' });
  if (error) throw new Error('skopeo is needed: apt-get install skopeo');
  if (status !== 0) throw new Error(`skopeo ${args.join(' ')}: ${stderr}`);
  return stdout;
}
