import { createRoute, z } from '@hono/zod-openapi';
import { gatewayErrors } from '../../errors.ts';
import type { AdminApp } from '../base-app.ts';
import { ndjson } from '../ndjson.ts';
import {
  ImageEvent,
  ImageList,
  ImportRequest,
  Pruned,
  PruneRequest,
  RemovedImage,
  TaggedImage,
  TagRequest,
  TransferRequest,
} from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const postImage = createRoute({
  method: 'post',
  path: '/v1/images',
  description:
    'Brings an image onto the node. The body is a tar archive where the reference names a folder or a file of the client, ' +
    'and otherwise empty or credentials (ImportRequest, application/json); answers with a line of JSON (ImageEvent) for each step.',
  request: { query: z.object({ reference: z.string().min(1).max(4096) }) },
  responses: {
    200: { description: 'NDJSON of ImageEvent', content: { 'application/x-ndjson': { schema: ImageEvent } } },
  },
});

const events = {
  200: { description: 'NDJSON of ImageEvent', content: { 'application/x-ndjson': { schema: ImageEvent } } },
};
const transfer = { body: { required: true, content: { 'application/json': { schema: TransferRequest } } } };

const pullImage = createRoute({
  method: 'post',
  path: '/v1/images/pull',
  description: 'Brings an image or a component of another registry onto the node, under its name.',
  request: transfer,
  responses: events,
});

const pushImage = createRoute({
  method: 'post',
  path: '/v1/images/push',
  description: 'Sends what the node has under a name to the registry that the name says.',
  request: transfer,
  responses: events,
});

const reference = z.string().min(1).max(4096);

const listImages = createRoute({
  method: 'get',
  path: '/v1/images',
  description: 'Images of the node, who uses them, and what their removal would free.',
  responses: { 200: { description: 'All images', content: { 'application/json': { schema: ImageList } } } },
});

const removeImage = createRoute({
  method: 'delete',
  path: '/v1/images',
  description: 'Takes a name away and frees what nothing else needs; what is deployed of it stays.',
  request: { query: z.object({ reference }) },
  responses: { 200: { description: 'Removed', content: { 'application/json': { schema: RemovedImage } } } },
});

const tagImage = createRoute({
  method: 'post',
  path: '/v1/images/tag',
  description: 'Gives an image of the node another name.',
  request: { body: { required: true, content: { 'application/json': { schema: TagRequest } } } },
  responses: { 200: { description: 'Named', content: { 'application/json': { schema: TaggedImage } } } },
});

const pruneImages = createRoute({
  method: 'post',
  path: '/v1/images/prune',
  description: 'Removes what no name leads to and nothing needs.',
  request: { body: { required: true, content: { 'application/json': { schema: PruneRequest } } } },
  responses: { 200: { description: 'What was removed', content: { 'application/json': { schema: Pruned } } } },
});

export function imageRoutes(app: AdminApp, services: AdminServices): void {
  app.openapi(listImages, (c) => c.json({ images: services.images.list(), store: services.images.store() }, 200));
  app.openapi(removeImage, async (c) => c.json(await services.images.remove(c.req.valid('query').reference), 200));
  app.openapi(tagImage, async (c) => c.json(await services.transfers.tag(c.req.valid('json')), 200));
  app.openapi(pruneImages, async (c) => c.json(await services.images.prune(c.req.valid('json').dryRun), 200));

  app.openapi(postImage, async (c) => {
    const { reference } = c.req.valid('query');
    const { incoming } = c.env;
    const hasBody =
      incoming.headers['transfer-encoding'] !== undefined || Number(incoming.headers['content-length'] ?? 0) > 0;
    const isJson = hasBody && incoming.headers['content-type'] === 'application/json';
    const { credentials = null } = isJson ? parseImport(await c.req.json().catch(() => null)) : {};
    const request = { reference, credentials, archive: hasBody && !isJson ? incoming : null };
    return ndjson(c, (progress, signal) => services.transfers.import(request, progress, signal)) as never;
  });

  app.openapi(pullImage, (c) => {
    const request = c.req.valid('json');
    return ndjson(c, (progress, signal) => services.transfers.pull(request, progress, signal)) as never;
  });
  app.openapi(pushImage, (c) => {
    const request = c.req.valid('json');
    return ndjson(c, (progress, signal) => services.transfers.push(request, progress, signal)) as never;
  });
}

/** Throws INVALID_REQUEST, which says nothing of what was sent. */
function parseImport(json: unknown) {
  const parsed = ImportRequest.safeParse(json);
  if (parsed.success) return parsed.data;
  throw gatewayErrors.INVALID_REQUEST('the body is neither an archive nor credentials for the registry of the image');
}
