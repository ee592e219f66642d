import { createRoute, z } from '@hono/zod-openapi';
import type { AdminApp } from '../base-app.ts';
import {
  ImageInspection,
  PolicyList,
  PolicyRequest,
  PolicyView,
  SignatureRequest,
  SigningSubject,
} from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const reference = z.string().min(1).max(4096);

const routes = {
  policies: createRoute({
    method: 'get',
    path: '/v1/policies',
    description: 'What images must be signed by, by repository.',
    responses: { 200: { description: 'All policies', content: { 'application/json': { schema: PolicyList } } } },
  }),
  set: createRoute({
    method: 'put',
    path: '/v1/policies',
    description:
      'Sets a policy in the place of the one with the same pattern; answered when it would survive a power cut.',
    request: { body: { required: true, content: { 'application/json': { schema: PolicyRequest } } } },
    responses: { 200: { description: 'The policy', content: { 'application/json': { schema: PolicyView } } } },
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/policies',
    request: { query: z.object({ pattern: z.string().min(1).max(300) }) },
    responses: { 204: { description: 'Removed' } },
  }),
  subject: createRoute({
    method: 'get',
    path: '/v1/images/signing-subject',
    description: 'What a signature of an image must be about.',
    request: { query: z.object({ reference }) },
    responses: { 200: { description: 'The subject', content: { 'application/json': { schema: SigningSubject } } } },
  }),
  sign: createRoute({
    method: 'post',
    path: '/v1/images/signatures',
    description: "Attaches a signature that the client made, under cosign's tag. Keys stay with the client.",
    request: { body: { required: true, content: { 'application/json': { schema: SignatureRequest } } } },
    responses: { 201: { description: 'Attached' } },
  }),
  inspect: createRoute({
    method: 'get',
    path: '/v1/images/inspection',
    description: 'An image with its layers, users, signatures and attachments.',
    request: { query: z.object({ reference }) },
    responses: { 200: { description: 'The image', content: { 'application/json': { schema: ImageInspection } } } },
  }),
};

export function trustRoutes(app: AdminApp, { trust }: AdminServices): void {
  app.openapi(routes.policies, (c) => c.json({ policies: trust.policies() }, 200));
  app.openapi(routes.set, async (c) => c.json(await trust.setPolicy(c.req.valid('json')), 200));

  app.openapi(routes.remove, async (c) => {
    await trust.removePolicy(c.req.valid('query').pattern);
    return c.body(null, 204);
  });

  app.openapi(routes.subject, async (c) => c.json(await trust.signingSubject(c.req.valid('query').reference), 200));

  app.openapi(routes.sign, async (c) => {
    const { reference, payload, signature } = c.req.valid('json');
    await trust.sign(reference, Buffer.from(payload, 'base64'), signature);
    return c.body(null, 201);
  });

  app.openapi(routes.inspect, async (c) => c.json(await trust.inspect(c.req.valid('query').reference), 200));
}
