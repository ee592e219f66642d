import { createRoute, z } from '@hono/zod-openapi';
import { gatewayErrors } from '../../errors.ts';
import type { AdminApp } from '../base-app.ts';
import { VolumeList } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const routes = {
  list: createRoute({
    method: 'get',
    path: '/v1/volumes',
    responses: { 200: { description: 'All volumes', content: { 'application/json': { schema: VolumeList } } } },
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/volumes/{name}',
    description: 'Removes a volume with all that is in it.',
    request: { params: z.object({ name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/) }) },
    responses: { 204: { description: 'Removed' } },
  }),
};

export function volumeRoutes(app: AdminApp, { volumes, desired, processes }: AdminServices): void {
  /** Whoever would find it empty, now or after a rollback. */
  const wantedBy = (name: string): string | null => {
    const unreadable = (key: string, error: Error) => {
      // It may want any of them.
      throw gatewayErrors.VOLUME_WANTED(name, key).because(error);
    };
    const revisions = [...desired.keptRevisions(unreadable), ...processes.list().map(({ revision }) => revision)];
    return revisions.find((each) => each.volumes?.some((volume) => volume.name === name))?.workload ?? null;
  };

  app.openapi(routes.list, async (c) => {
    const found = (await volumes?.list()) ?? [];
    return c.json({ volumes: found.map((each) => ({ ...each, usedBy: [...each.usedBy] })) }, 200);
  });

  app.openapi(routes.remove, async (c) => {
    const { name } = c.req.valid('param');
    // What is deployed or run meanwhile finds it gone, and has a new one.
    await desired.exclusively(async () => {
      const who = wantedBy(name);
      if (who !== null) throw gatewayErrors.VOLUME_WANTED(name, who);
      if (!(await volumes?.delete(name))) throw gatewayErrors.NO_VOLUME(name);
    });
    return c.body(null, 204);
  });
}
