import type { Hono } from 'hono';
import { isTag, MAX_DOCUMENT_BYTES, OCI_INDEX } from '../oci/index.ts';
import { digestOf, isDigest } from '../store/index.ts';
import { readBody } from './body.ts';
import type { RegistryEnv, RegistryParts } from './context.ts';
import { registryErrors } from './errors.ts';
import type { Referrer } from './repositories.ts';

/** Tags that one push may give by its query. */
const MAX_TAGS = 100;

export function manifestRoutes(app: Hono<RegistryEnv>, parts: RegistryParts): void {
  const { repositories, guard, admitTags } = parts;
  const path = '/v2/:name{.+}/manifests/:reference';

  app.get(path, async (c) => {
    const { name, reference } = c.req.param();
    const caller = guard.require(c, name, 'pull');
    checkReference(reference);
    // Who shows nothing is given what is here, and has nothing fetched.
    const upstream = caller.name === null ? null : parts.pullThrough;
    const found = upstream ? await upstream.manifest(name, reference) : repositories.manifest(name, reference);
    if (!found) throw registryErrors.MANIFEST_UNKNOWN(name, reference);
    const { digest, mediaType, size } = found;
    const head = {
      'content-type': mediaType,
      'docker-content-digest': digest,
      etag: `"${digest}"`,
      'content-length': String(size),
    };
    // The bytes first: a tag that moves meanwhile changes nothing of this answer.
    const bytes = await repositories.read(digest);
    return new Response(c.req.method === 'HEAD' ? null : bytes, { headers: head });
  });

  app.put(path, async (c) => {
    const { name, reference } = c.req.param();
    guard.require(c, name, 'push');
    checkReference(reference);
    const byDigest = reference.includes(':');
    const tags = byDigest ? (c.req.queries('tag') ?? []) : [reference];
    for (const tag of tags.slice(0, MAX_TAGS)) if (!isTag(tag)) throw registryErrors.TAG_INVALID(tag);
    const bytes = await readBody(c, MAX_DOCUMENT_BYTES);
    const accepted = tags.slice(0, MAX_TAGS);
    await admitTags?.(name, byDigest ? reference : digestOf(bytes), bytes, accepted);
    const { digest, document } = await repositories.put(name, bytes, {
      contentType: c.req.header('content-type') ?? '',
      digest: byDigest ? reference : null,
      tags: accepted,
    });
    c.header('location', `/v2/${name}/manifests/${digest}`);
    c.header('docker-content-digest', digest);
    if (document.subject !== null) c.header('oci-subject', document.subject);
    if (byDigest && accepted.length > 0) c.header('oci-tag', accepted.join(', '));
    return c.body(null, 201);
  });

  app.delete(path, async (c) => {
    const { name, reference } = c.req.param();
    guard.require(c, name, 'delete');
    checkReference(reference);
    const gone = reference.includes(':')
      ? await repositories.remove(name, reference)
      : await repositories.untag(name, reference);
    if (!gone) throw registryErrors.MANIFEST_UNKNOWN(name, reference);
    return c.body(null, 202);
  });

  app.get('/v2/:name{.+}/referrers/:digest', async (c) => {
    const { name, digest } = c.req.param();
    guard.require(c, name, 'pull');
    if (!isDigest(digest)) throw registryErrors.DIGEST_INVALID(digest, 'is not a digest');
    const { artifactType, last } = c.req.query();
    const manifests: Referrer[] = [];
    let bytes = 0;
    for await (const referrer of repositories.referrers(name, digest)) {
      if (last !== undefined && referrer.digest <= last) continue;
      if (artifactType !== undefined && referrer.artifactType !== artifactType) continue;
      bytes += Buffer.byteLength(JSON.stringify(referrer));
      // The list is a manifest itself, which clients take no more than so much of.
      if (bytes > MAX_DOCUMENT_BYTES - 1024 && manifests.length > 0) {
        const next = new URLSearchParams({ ...c.req.query(), last: manifests.at(-1)!.digest });
        c.header('link', `</v2/${name}/referrers/${digest}?${next}>; rel="next"`);
        break;
      }
      manifests.push(referrer);
    }
    if (artifactType !== undefined) c.header('oci-filters-applied', 'artifactType');
    c.header('content-type', OCI_INDEX);
    return c.body(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  });
}

/** What has a colon is a digest; tags have none. Throws DIGEST_INVALID, TAG_INVALID. */
function checkReference(reference: string): void {
  if (reference.includes(':')) {
    if (!isDigest(reference)) throw registryErrors.DIGEST_INVALID(reference, 'is not a digest');
  } else if (!isTag(reference)) throw registryErrors.TAG_INVALID(reference);
}
