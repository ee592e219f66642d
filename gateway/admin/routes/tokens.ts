import { createRoute, z } from '@hono/zod-openapi';
import type { AdminApp } from '../base-app.ts';
import { TokenList, TokenRequest, TokenSecret } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const params = z.object({ name: z.string() });

const routes = {
  list: createRoute({
    method: 'get',
    path: '/v1/tokens',
    description:
      'Tokens of the registry by name, and what each allows; no answer has a token in it but that of its making.',
    responses: { 200: { description: 'All tokens', content: { 'application/json': { schema: TokenList } } } },
  }),
  create: createRoute({
    method: 'put',
    path: '/v1/tokens/{name}',
    description: 'Makes a token. It is not to be had again: the node keeps a hash of it.',
    request: { params, body: { required: true, content: { 'application/json': { schema: TokenRequest } } } },
    responses: { 201: { description: 'The token', content: { 'application/json': { schema: TokenSecret } } } },
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/tokens/{name}',
    description: 'Removes a token; what was issued for it is void at once.',
    request: { params },
    responses: { 204: { description: 'Removed' } },
  }),
};

export function tokenRoutes(app: AdminApp, { tokens }: AdminServices): void {
  app.openapi(routes.list, (c) =>
    c.json({ tokens: tokens.list().map((each) => ({ ...each, scopes: [...each.scopes] })) }, 200),
  );

  app.openapi(routes.create, async (c) => {
    const { name } = c.req.valid('param');
    return c.json({ token: await tokens.create(name, c.req.valid('json').scopes) }, 201);
  });

  app.openapi(routes.remove, async (c) => {
    await tokens.remove(c.req.valid('param').name);
    return c.body(null, 204);
  });
}
