import { createRoute, z } from '@hono/zod-openapi';
import { gatewayErrors } from '../../errors.ts';
import type { AdminApp } from '../base-app.ts';
import { ndjson } from '../ndjson.ts';
import { BuildRequest, Stored } from '../schemas.ts';
import { type AdminServices, MAX_ARTIFACT_BYTES } from '../services.ts';

/** Largest bundle that is built from, and largest source map, in bytes. */
const MAX_SOURCE_BYTES = 32 * 2 ** 20;

const putArtifact = createRoute({
  method: 'post',
  path: '/v1/artifacts',
  description:
    'Stores the raw body by its digest: a component, or a JavaScript bundle to build one from and its source map.',
  request: { query: z.object({ label: z.string().optional() }) },
  responses: { 201: { description: 'Stored', content: { 'application/json': { schema: Stored } } } },
});

const postBuild = createRoute({
  method: 'post',
  path: '/v1/builds',
  description: 'Builds a component from an uploaded bundle; answers with a line of JSON (BuildEvent) for each step.',
  request: { body: { required: true, content: { 'application/json': { schema: BuildRequest } } } },
  responses: {
    200: { description: 'NDJSON of BuildEvent', content: { 'application/x-ndjson': { schema: z.string() } } },
  },
});

export function artifactRoutes(app: AdminApp, services: AdminServices): void {
  app.openapi(putArtifact, async (c) => {
    if (Number(c.req.header('content-length') ?? 0) > MAX_ARTIFACT_BYTES) {
      throw gatewayErrors.TOO_LARGE(`${MAX_ARTIFACT_BYTES / 2 ** 20}MiB`);
    }
    const stored = await services.blobs.putStream(c.env.incoming, { maxBytes: MAX_ARTIFACT_BYTES });
    return c.json({ digest: stored.digest, size: stored.size }, 201);
  });

  app.openapi(postBuild, async (c) => {
    const request = c.req.valid('json');
    for (const digest of [request.source, request.sourceMap ?? []].flat()) {
      if (!(await services.blobs.has(digest))) throw gatewayErrors.ARTIFACT_MISSING(request.label, digest);
      const { size } = await services.blobs.open(digest);
      if (size > MAX_SOURCE_BYTES) throw gatewayErrors.TOO_LARGE(`${MAX_SOURCE_BYTES / 2 ** 20}MiB`);
    }
    return ndjson(c, (progress, signal) => services.build(request, progress, signal)) as never;
  });
}
