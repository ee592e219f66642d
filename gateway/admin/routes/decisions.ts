import { createRoute, z } from '@hono/zod-openapi';
import { WorkloadName } from '../../../runtime/workload/settings.ts';
import type { AdminApp } from '../base-app.ts';
import { DecisionList } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const list = createRoute({
  method: 'get',
  path: '/v1/workloads/{name}/decisions',
  description:
    'What the scheduler decided of a workload, the oldest first: of each revision its sandbox, and the last others.',
  request: { params: z.object({ name: WorkloadName }) },
  responses: { 200: { description: 'Its decisions', content: { 'application/json': { schema: DecisionList } } } },
});

export function decisionRoutes(app: AdminApp, { desired, decisions }: AdminServices): void {
  app.openapi(list, (c) => {
    const { name } = c.req.valid('param');
    const placements = desired.require(name).value.revisions.flatMap((id) => {
      const revision = desired.revision(name, id);
      if (!revision) return [];
      const { createdAt: at, decision, decidedFrom = {} } = revision;
      return [
        {
          at,
          kind: 'placement' as const,
          decision: `${id}: ${revision.isolation}, ${decision}`,
          inputs: { ...decidedFrom },
        },
      ];
    });
    const others = decisions
      .of(name)
      .map(({ at, kind, decision, inputs }) => ({ at, kind, decision, inputs: { ...inputs } }));
    const all = [...placements, ...others].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    return c.json({ decisions: all }, 200);
  });
}
