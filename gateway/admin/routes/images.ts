import { createRoute, z } from '@hono/zod-openapi';
import { gatewayErrors } from '../../errors.ts';
import type { AdminApp } from '../base-app.ts';
import { ndjson } from '../ndjson.ts';
import { ImageEvent } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const postImage = createRoute({
  method: 'post',
  path: '/v1/images',
  description:
    'Brings an image onto the node. The body is a tar archive where the reference names a folder or a file of the client, ' +
    'and empty otherwise; answers with a line of JSON (ImageEvent) for each step.',
  request: { query: z.object({ reference: z.string().min(1).max(4096) }) },
  responses: {
    200: { description: 'NDJSON of ImageEvent', content: { 'application/x-ndjson': { schema: ImageEvent } } },
  },
});

export function imageRoutes(app: AdminApp, services: AdminServices): void {
  app.openapi(postImage, (c) => {
    const { reference } = c.req.valid('query');
    const { drivers } = services;
    if (!drivers.has('container') && !drivers.has('vm')) throw gatewayErrors.IMAGES_NOT_RUN(reference);
    const { incoming } = c.env;
    const hasBody =
      incoming.headers['transfer-encoding'] !== undefined || Number(incoming.headers['content-length'] ?? 0) > 0;
    return ndjson(c, (progress, signal) =>
      services.importImage(reference, hasBody ? incoming : null, progress, signal),
    ) as never;
  });
}
