import type { Context, Hono } from 'hono';
import { asSkerryError } from '../../errors/skerry-error.ts';
import { isDelta, MAX_BLOB_BYTES, MAX_DELTA_BYTES, SIZE_HEADER } from '../delta/index.ts';
import { isDigest, isDigestAlgorithm, splitDigest } from '../store/index.ts';
import type { Caller } from './auth/bearer.ts';
import { allows } from './auth/scope.ts';
import { BlobDeltas } from './blob-deltas.ts';
import { type ByteRange, parseChunkRange } from './byte-range.ts';
import type { RegistryEnv, RegistryParts } from './context.ts';
import { registryErrors } from './errors.ts';
import type { Upload } from './uploads.ts';

type Ctx = Context<RegistryEnv>;

/** After these nothing of an upload is of any use: it is removed, and with it what it takes of the disk. */
const HOPELESS = new Set(['DIGEST_MISMATCH', 'STORE_DISK_FULL', 'STORE_FULL', 'DELTA_INVALID', 'DELTA_UNAVAILABLE']);

export function uploadRoutes(app: Hono<RegistryEnv>, parts: RegistryParts): void {
  const { repositories, blobs, uploads, guard } = parts;
  const deltas = new BlobDeltas(parts);
  const path = '/v2/:name{.+}/blobs/uploads/:id';

  app.on('POST', ['/v2/:name{.+}/blobs/uploads/', '/v2/:name{.+}/blobs/uploads'], async (c) => {
    const name = c.req.param('name');
    const caller = guard.require(c, name, 'push');
    const { mount, digest, 'digest-algorithm': algorithm = 'sha256' } = c.req.query();
    for (const each of [mount, digest]) checkDigest(each ?? null);
    if (!isDigestAlgorithm(algorithm)) throw registryErrors.DIGEST_INVALID(algorithm, 'is not a known algorithm');
    if (mount !== undefined) {
      const size = await mountable(caller, mount, c.req.query('from'));
      if (size !== null) {
        await repositories.link(name, mount, size);
        return created(c, name, mount);
      }
    }
    await checkRoom(c);
    const upload = await uploads.start(name, digest ? splitDigest(digest).algorithm : algorithm);
    if (digest !== undefined) return finish(c, upload, digest);
    await deltas.offerBase(c, caller);
    return progress(c, upload, 202);
  });

  app.get(path, (c) => {
    const { name, id } = c.req.param();
    guard.require(c, name, 'push');
    return progress(c, uploads.find(name, id), 204);
  });

  app.patch(path, async (c) => {
    const { name, id } = c.req.param();
    guard.require(c, name, 'push');
    const upload = uploads.find(name, id);
    await orGiveUp(
      c,
      upload,
      checkRoom(c).then(() => upload.append(chunkOf(c))),
    );
    return progress(c, upload, 202);
  });

  app.put(path, async (c) => {
    const { name, id } = c.req.param();
    const caller = guard.require(c, name, 'push');
    const upload = uploads.find(name, id);
    const digest = c.req.query('digest') ?? '';
    checkDigest(digest);
    if (isDelta(c.req.header('content-encoding'))) return finishDelta(c, caller, upload, digest);
    return finish(c, upload, digest);
  });

  app.delete(path, async (c) => {
    const { name, id } = c.req.param();
    guard.require(c, name, 'push');
    await uploads.remove(uploads.find(name, id));
    return c.body(null, 204);
  });

  /** Size of the blob when it is in a repository that the caller may pull from, which `from` may leave open; else null. */
  async function mountable(caller: Caller, digest: string, from: string | undefined): Promise<number | null> {
    const sources = from === undefined ? repositories.withBlobs([digest]).get(digest)! : [from];
    const readable = sources.filter((name) => allows(caller.grants, name, 'pull'));
    const record = readable.map((name) => repositories.blob(name, digest)).find((found) => found !== null);
    // It counts as put now, so that no sweep takes it before the repository has it.
    return record && (await blobs.renew(digest)) ? record.size : null;
  }

  async function finish(c: Ctx, upload: Upload, digest: string): Promise<Response> {
    const size = await orGiveUp(
      c,
      upload,
      checkRoom(c).then(() => upload.finish(chunkOf(c), digest, blobs)),
    );
    return linked(c, upload, digest, size);
  }

  /** What came is a delta, and the blob is made of it. */
  async function finishDelta(c: Ctx, caller: Caller, upload: Upload, digest: string): Promise<Response> {
    const size = Number(c.req.header(SIZE_HEADER) ?? Number.NaN);
    if (!(Number.isSafeInteger(size) && size > 0 && size <= MAX_BLOB_BYTES))
      throw registryErrors.SIZE_INVALID(`${SIZE_HEADER} is not the size of a blob that a delta may stand for`);
    // Nothing longer is read: without a length a sender could go on for ever.
    const length = Number(c.req.header('content-length') ?? Number.NaN);
    if (!(length <= MAX_DELTA_BYTES)) throw registryErrors.SIZE_INVALID(`a delta has ${MAX_DELTA_BYTES} bytes at most`);
    const make = (delta: Buffer) => deltas.apply(delta, caller, { digest, size });
    const done = uploads.checkRoom(length + size).then(() => upload.finishBy(chunkOf(c), MAX_DELTA_BYTES, make));
    return linked(c, upload, digest, await orGiveUp(c, upload, done));
  }

  async function linked(c: Ctx, upload: Upload, digest: string, size: number): Promise<Response> {
    await repositories.link(upload.repository, digest, size);
    await uploads.remove(upload);
    return created(c, upload.repository, digest);
  }

  /** What comes without saying how long it is meets the full disk itself. */
  function checkRoom(c: Ctx): Promise<void> {
    return uploads.checkRoom(Number(c.req.header('content-length') ?? 0));
  }

  async function orGiveUp<T>(c: Ctx, upload: Upload, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const { code } = asSkerryError(error);
      if (HOPELESS.has(code)) await uploads.remove(upload);
      if (code === 'UPLOAD_OUT_OF_ORDER') where(c, upload);
      throw error;
    }
  }
}

function checkDigest(digest: string | null): void {
  if (digest !== null && !isDigest(digest)) throw registryErrors.DIGEST_INVALID(digest, 'is not a digest');
}

function created(c: Ctx, name: string, digest: string): Response {
  c.header('location', `/v2/${name}/blobs/${digest}`);
  c.header('docker-content-digest', digest);
  return c.body(null, 201);
}

/** Where the upload is and how far it came. Docker's clients want `0-0` of an empty one. */
function where(c: Ctx, { repository, id, size }: Upload): void {
  c.header('location', `/v2/${repository}/blobs/uploads/${id}`);
  c.header('range', `0-${Math.max(0, size - 1)}`);
  c.header('docker-upload-uuid', id);
}

function progress(c: Ctx, upload: Upload, status: 202 | 204): Response {
  where(c, upload);
  return c.body(null, status);
}

/** Throws BLOB_UPLOAD_INVALID, SIZE_INVALID. */
function chunkOf(c: Ctx) {
  const { incoming } = c.env;
  const header = c.req.header('content-range');
  if (header === undefined) return { body: incoming, range: null };
  const range = parseChunkRange(header);
  if (!range) throw registryErrors.BLOB_UPLOAD_INVALID(`"${header.slice(0, 100)}" is no range; write FIRST-LAST`);
  const length = c.req.header('content-length');
  if (length !== undefined && Number(length) !== lengthOf(range))
    throw registryErrors.SIZE_INVALID(`Content-Range says ${lengthOf(range)} bytes, and Content-Length ${length}`);
  return { body: incoming, range };
}

function lengthOf({ first, last }: ByteRange): number {
  return last - first + 1;
}
