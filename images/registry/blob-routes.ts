import { open } from 'node:fs/promises';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context, Hono } from 'hono';
import { isDigest } from '../store/index.ts';
import { BlobDeltas } from './blob-deltas.ts';
import { parseRange } from './byte-range.ts';
import type { RegistryEnv, RegistryParts } from './context.ts';
import { registryErrors } from './errors.ts';
import { sendFile, written } from './send-file.ts';
import type { BlobFetch } from './upstream/blob-fetch.ts';
import { upstreamError } from './upstream/pull-through.ts';

export function blobRoutes(app: Hono<RegistryEnv>, parts: RegistryParts): void {
  const { repositories, blobs, guard, pullThrough } = parts;
  const deltas = new BlobDeltas(parts);
  const path = '/v2/:name{.+}/blobs/:digest';

  app.get(path, async (c) => {
    const { name, digest } = c.req.param();
    const caller = guard.require(c, name, 'pull');
    if (!isDigest(digest)) throw registryErrors.DIGEST_INVALID(digest, 'is not a digest');
    const linked = () => repositories.blob(name, digest, { wanted: c.req.method === 'HEAD' });
    let record = linked();
    if (pullThrough && caller.name !== null && !(record && (await blobs.has(digest)))) {
      const coming = await pullThrough.blob(name, digest);
      if (coming) return serveFetch(c, coming);
      record = linked();
    }
    if (!record) throw registryErrors.BLOB_UNKNOWN(name, digest);
    const etag = `"${digest}"`;
    const head: Record<string, string> = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes',
      etag,
    };
    if (c.req.method === 'HEAD') {
      if (!(await blobs.has(digest))) throw registryErrors.BLOB_UNKNOWN(name, digest);
      return new Response(null, { headers: { ...head, 'content-length': String(record.size) } });
    }
    const { path, size } = await blobs.open(digest);
    const delta = await deltas.serve(c, digest, caller);
    if (delta) return delta;
    // A range of something else than is here is not wanted.
    const wanted = (c.req.header('if-range') ?? etag) === etag ? c.req.header('range') : undefined;
    const range = parseRange(wanted, size);
    if (range === 'unsatisfiable') {
      c.header('content-range', `bytes */${size}`);
      throw registryErrors.RANGE_UNSATISFIABLE(wanted!, size);
    }
    const { first, last } = range ?? { first: 0, last: size - 1 };
    if (range) head['content-range'] = `bytes ${first}-${last}/${size}`;
    head['content-length'] = String(last - first + 1);
    const file = await open(path);
    const { outgoing } = c.env;
    outgoing.writeHead(range ? 206 : 200, { ...Object.fromEntries(c.res.headers), ...head });
    try {
      if (size > 0) await sendFile(file, first, last, outgoing);
      outgoing.end();
    } catch {
      // Who leaves in the midst is nobody's failure; a read that fails breaks the transfer off.
      outgoing.destroy();
    } finally {
      await file.close();
    }
    return RESPONSE_ALREADY_SENT;
  });

  app.delete(path, async (c) => {
    const { name, digest } = c.req.param();
    guard.require(c, name, 'delete');
    if (!isDigest(digest)) throw registryErrors.DIGEST_INVALID(digest, 'is not a digest');
    if (!(await repositories.unlink(name, digest))) throw registryErrors.BLOB_UNKNOWN(name, digest);
    return c.body(null, 202);
  });
}

/** A blob that is on its way here. */
async function serveFetch(c: Context<RegistryEnv>, fetch: BlobFetch): Promise<Response> {
  const { digest, size } = fetch;
  const head = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'content-length': String(size),
    etag: `"${digest}"`,
  };
  // Ranges need not be given: a client that asks for one begins at the beginning.
  if (c.req.method === 'HEAD') return new Response(null, { headers: head });
  await fetch.begun.catch((error) => {
    throw upstreamError(fetch.registry, error);
  });
  const { outgoing } = c.env;
  outgoing.writeHead(200, { ...Object.fromEntries(c.res.headers), ...head });
  try {
    for await (const piece of fetch.read(0, size - 1)) await written(outgoing, piece);
    outgoing.end();
  } catch {
    // What did not come whole and right is broken off: nobody takes it for all of it.
    outgoing.destroy();
  }
  return RESPONSE_ALREADY_SENT;
}
