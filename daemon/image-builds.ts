/** Builds images from Dockerfiles: brings what they begin from to the builder, and what comes of it into the store. */
import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readFile, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BuiltImage, ImageBuildRequest } from '../gateway/admin/schemas.ts';
import { basesOf } from '../images/build/dockerfile/bases.ts';
import type { ImageBuilderHost } from '../images/build/dockerfile/builder-host.ts';
import { buildProblem } from '../images/build/dockerfile/problem.ts';
import { buildErrors } from '../images/build/errors.ts';
import { parseReference } from '../images/oci/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { ProcessStreams } from '../runtime/driver.ts';
import { ProcessPipes } from '../runtime/drivers/container/stdio.ts';
import type { ImageService } from './image-service.ts';
import type { ImageTrust } from './image-trust.ts';

/** Of what is kept of builds for the next ones: bytes, a share of the disk, and how long without a build. */
const MOST_CACHE_BYTES = 10 * 2 ** 30;
const MOST_CACHE_SHARE = 0.1;
const CACHE_AGE_MS = 7 * 24 * 3_600_000;

/** Of what the builder said last, kept for the error; in characters. */
const KEPT = 16 * 1024;

export interface ImageBuildsParts {
  readonly images: ImageService;
  readonly blobs: ContentStore;
  readonly trust: Pick<ImageTrust, 'admit'>;
  /** Throws NO_IMAGE_BUILDER. */
  readonly openBuilder: () => Promise<ImageBuilderHost>;
}

export class ImageBuilds {
  readonly #parts: ImageBuildsParts;
  /** Emptied at the start. */
  readonly #folder: string;
  #builder: Promise<ImageBuilderHost> | null = null;
  #serial = 0;
  #underWay = 0;

  private constructor(parts: ImageBuildsParts, folder: string) {
    this.#parts = parts;
    this.#folder = folder;
  }

  static async open(parts: ImageBuildsParts, folder: string): Promise<ImageBuilds> {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new ImageBuilds(parts, folder);
  }

  /**
   * `streams.stdin`: a tar archive of the files that the Dockerfile may copy. Nothing gets the name when it fails. Throws
   * DOCKERFILE_INVALID, IMAGE_BUILD_*, NO_IMAGE_BUILDER, REFERENCE_INVALID, what the import of a base image throws, and what a
   * policy refuses it with.
   */
  async build(request: ImageBuildRequest, streams: ProcessStreams, signal: AbortSignal): Promise<BuiltImage> {
    const named = parseReference(request.reference);
    if (named.kind === 'oci' || named.kind === 'docker-archive' || named.digest !== null) {
      throw buildErrors.IMAGE_NAME_NEEDED(request.reference);
    }
    const builder = await this.#open();
    const work = join(this.#folder, String(++this.#serial));
    await mkdir(work, { mode: 0o700 });
    this.#underWay++;
    try {
      const say = (text: string) => streams.stderr.write(`${text}\n`);
      const context = join(work, 'context.tar');
      await pipeline(streams.stdin, createWriteStream(context, { mode: 0o600 }), { signal });
      for (const base of basesOf(request.dockerfile, request.args)) await this.#bring(builder, base, work, say, signal);
      const archive = await this.#run(builder, request, context, streams, signal);
      const source = createReadStream('', { fd: archive, start: 0, autoClose: true });
      return await this.#parts.images.take(request.reference, source, say, signal);
    } finally {
      this.#underWay--;
      await rm(work, { recursive: true, force: true });
    }
  }

  /**
   * Frees what earlier builds left, where it is too much or too old. Between what a build brings and its steps nothing is
   * removed. Returns the bytes; 0 where nothing builds images.
   */
  async prune(): Promise<number> {
    if (this.#underWay > 0) return 0;
    const builder = await this.#open().catch(() => null);
    const { blocks, bsize } = await statfs(this.#folder);
    const maxBytes = Math.floor(Math.min(MOST_CACHE_BYTES, blocks * bsize * MOST_CACHE_SHARE));
    // Again, in one turn with the call: what begins behind it waits for it.
    if (!builder || this.#underWay > 0) return 0;
    return builder.prune({ maxBytes, maxAgeMs: CACHE_AGE_MS });
  }

  #open(): Promise<ImageBuilderHost> {
    this.#builder ??= this.#parts.openBuilder();
    this.#builder.catch(() => {
      this.#builder = null;
    });
    return this.#builder;
  }

  async #run(
    builder: ImageBuilderHost,
    request: ImageBuildRequest,
    context: string,
    streams: ProcessStreams,
    signal: AbortSignal,
  ): Promise<number> {
    const { file, dockerfile, args, target, fresh, epoch, secrets, network } = request;
    let said = '';
    const stderr = new PassThrough();
    stderr.on('data', (piece: Buffer) => {
      said = (said + piece.toString('utf8')).slice(-KEPT);
    });
    stderr.pipe(streams.stderr, { end: false });
    const pipes = await ProcessPipes.open();
    const archive = await open(context);
    try {
      const options = { dockerfile, args, target, fresh, epoch, secrets, network };
      const inside = { context: archive.fd, stdout: pipes.inside.stdout, stderr: pipes.inside.stderr };
      const building = builder.build(options, inside, signal);
      // hostd has them from its call on, which the kernel keeps in order.
      const shown = pipes.connect(
        { stdin: new PassThrough().end(), stdout: streams.stdout, stderr },
        building.catch(() => {}),
      );
      await building.catch(() => {});
      await pipes.given();
      await shown;
      return await building;
    } catch (error) {
      signal.throwIfAborted();
      if ((error as { code?: string }).code === 'IMAGE_BUILD_FAILED') throw buildProblem(file, dockerfile, said);
      throw error;
    } finally {
      await pipes.given();
      await archive.close();
    }
  }

  /** An image that the Dockerfile begins from, under the name that it has there. */
  async #bring(
    builder: ImageBuilderHost,
    base: string,
    work: string,
    say: (text: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { artifact } = await this.#parts.images.import(
      { reference: base, archive: null, credentials: null },
      (step) => say(`${base}: ${step}`),
      signal,
    );
    // One that was brought before may stand under another policy by now.
    await this.#parts.trust.admit(artifact.digest, base);
    if (await builder.name(base, artifact.digest)) return;
    say(`bringing ${base} to the builder`);
    const archive = await this.#archive(artifact.digest, artifact.mediaType, work);
    const file = await open(archive);
    try {
      await builder.load(file.fd, artifact.digest);
    } finally {
      await file.close();
    }
    if (!(await builder.name(base, artifact.digest)))
      throw buildErrors.IMAGE_BUILD_FAILED(base, 'it could not be loaded');
  }

  /** An image of the store as an OCI layout in a tar archive. Returns its path. */
  async #archive(digest: string, mediaType: string, work: string): Promise<string> {
    const { blobs } = this.#parts;
    const layout = join(work, digest.replace(':', '-'));
    const manifest = await blobs.open(digest);
    const { config, layers } = JSON.parse(await readFile(manifest.path, 'utf8')) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    for (const each of new Set([digest, config.digest, ...layers.map((layer) => layer.digest)])) {
      const place = join(layout, 'blobs', each.replace(':', '/'));
      await mkdir(dirname(place), { recursive: true });
      await symlink((await blobs.open(each)).path, place);
    }
    const { size } = manifest;
    await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(
      join(layout, 'index.json'),
      JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType, digest, size }] }),
    );
    const path = `${layout}.tar`;
    // The blobs themselves in place of the links to them.
    const tar = spawn('tar', ['-C', layout, '-chf', path, '.'], { stdio: 'ignore' });
    const status = await new Promise<number | null>((resolve, reject) =>
      tar.once('error', reject).once('exit', resolve),
    );
    if (status !== 0) throw buildErrors.IMAGE_BUILD_FAILED(digest, 'its archive could not be written');
    return path;
  }
}
