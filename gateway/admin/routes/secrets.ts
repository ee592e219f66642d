import { createRoute, z } from '@hono/zod-openapi';
import { secretErrors } from '../../../runtime/secrets/errors.ts';
import { SecretName } from '../../../runtime/workload/settings.ts';
import type { AdminApp } from '../base-app.ts';
import { SecretList, SecretRequest, SecretView } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const params = z.object({ name: SecretName });

const routes = {
  list: createRoute({
    method: 'get',
    path: '/v1/secrets',
    description: 'Names and uses; no answer of the API has a value in it.',
    responses: { 200: { description: 'All secrets', content: { 'application/json': { schema: SecretList } } } },
  }),
  set: createRoute({
    method: 'put',
    path: '/v1/secrets/{name}',
    description:
      'Makes or replaces a secret; answered when the change would survive a power cut and every function that uses it has the new value.',
    request: { params, body: { required: true, content: { 'application/json': { schema: SecretRequest } } } },
    responses: { 200: { description: 'The secret', content: { 'application/json': { schema: SecretView } } } },
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/secrets/{name}',
    description: 'Refused while a workload uses it, unless forced: then what runs keeps the value until it is stopped.',
    request: { params, query: z.object({ force: z.enum(['true', 'false']).default('false') }) },
    responses: { 204: { description: 'Removed' } },
  }),
};

export function secretRoutes(app: AdminApp, { secrets, reconciler }: AdminServices): void {
  app.openapi(routes.list, (c) => c.json({ secrets: secrets.list() }, 200));

  app.openapi(routes.set, async (c) => {
    const { name } = c.req.valid('param');
    const summary = await secrets.set(name, c.req.valid('json').value);
    const failed = await reconciler.restart((revision) => revision.secrets.includes(name));
    if (failed) throw secretErrors.SECRET_NOT_TAKEN(name, failed.workload, failed.error.what).because(failed.error);
    return c.json(summary, 200);
  });

  app.openapi(routes.remove, async (c) => {
    await secrets.remove(c.req.valid('param').name, c.req.valid('query').force === 'true');
    return c.body(null, 204);
  });
}
