import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { createRoute, z } from '@hono/zod-openapi';
import type { FlatHeaders } from '../../../runtime/exchange.ts';
import { reconcilerErrors } from '../../../runtime/reconciler/errors.ts';
import { WorkloadName } from '../../../runtime/workload/settings.ts';
import { gatewayErrors } from '../../errors.ts';
import { makeFront } from '../../listener/front.ts';
import { Http1Exchange } from '../../listener/http1-exchange.ts';
import { admitRevisions } from '../admit-revisions.ts';
import type { AdminApp } from '../base-app.ts';
import { checkedDeploys } from '../checked-deploys.ts';
import { exportWorkload } from '../export-workload.ts';
import {
  DeployRequest,
  Export,
  Plan,
  PlanRequest,
  RollbackRequest,
  ScaleRequest,
  TrafficRequest,
  WorkloadList,
  WorkloadView,
} from '../schemas.ts';
import type { AdminServices } from '../services.ts';
import { workloadView } from '../views.ts';

/** A client that waits for a roll-out is answered after this long at the latest, in milliseconds. */
const MAX_WAIT_MS = 10 * 60_000;

const params = z.object({ name: WorkloadName });
const body = <T extends z.ZodType>(schema: T) => ({
  required: true as const,
  content: { 'application/json': { schema } },
});
const view = { 200: { description: 'The workload', content: { 'application/json': { schema: WorkloadView } } } };

const routes = {
  list: createRoute({
    method: 'get',
    path: '/v1/workloads',
    responses: { 200: { description: 'All workloads', content: { 'application/json': { schema: WorkloadList } } } },
  }),
  get: createRoute({ method: 'get', path: '/v1/workloads/{name}', request: { params }, responses: view }),
  deploy: createRoute({
    method: 'put',
    path: '/v1/workloads/{name}',
    description: 'Deploys an artifact as a new revision; answered when the change would survive a power cut.',
    request: { params, body: body(DeployRequest) },
    responses: view,
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/workloads/{name}',
    request: { params },
    responses: { 204: { description: 'Removed; what runs of it is drained' } },
  }),
  settled: createRoute({
    method: 'get',
    path: '/v1/workloads/{name}/settled',
    description:
      'Answered when the node has brought the workload to this generation, or failed to, or at the timeout. Of a removed ' +
      'workload: 404 when nothing of it runs any more, 503 REMOVING at the timeout.',
    request: {
      params,
      query: z.object({
        generation: z.coerce.number().int().min(0).default(0),
        timeoutMs: z.coerce.number().int().min(0).max(MAX_WAIT_MS).default(60_000),
      }),
    },
    responses: view,
  }),
  scale: createRoute({
    method: 'put',
    path: '/v1/workloads/{name}/scale',
    request: { params, body: body(ScaleRequest) },
    responses: view,
  }),
  traffic: createRoute({
    method: 'put',
    path: '/v1/workloads/{name}/traffic',
    request: { params, body: body(TrafficRequest) },
    responses: view,
  }),
  rollback: createRoute({
    method: 'post',
    path: '/v1/workloads/{name}/rollback',
    request: { params, body: body(RollbackRequest) },
    responses: view,
  }),
  apply: createRoute({
    method: 'post',
    path: '/v1/apply',
    description: 'Deploys many workloads in one change, or none; with dryRun says what that would change.',
    request: { body: body(PlanRequest) },
    responses: { 200: { description: 'The plan', content: { 'application/json': { schema: Plan } } } },
  }),
  export: createRoute({
    method: 'get',
    path: '/v1/export',
    request: { query: z.object({ name: WorkloadName.optional() }) },
    responses: { 200: { description: 'As apply takes it', content: { 'application/json': { schema: Export } } } },
  }),
};

export function workloadRoutes(app: AdminApp, services: AdminServices): void {
  const { desired, reconciler } = services;
  const show = (name: string) => workloadView(desired.require(name), services);

  app.openapi(routes.list, (c) =>
    c.json({ workloads: desired.list().map((document) => workloadView(document, services)) }, 200),
  );
  app.openapi(routes.get, (c) => c.json(show(c.req.valid('param').name), 200));

  app.openapi(routes.deploy, async (c) => {
    const { name } = c.req.valid('param');
    const { artifact, label, settings, expectGeneration } = c.req.valid('json');
    const revisions = [{ artifact, label, percent: 100, settings: {} }];
    await checkedDeploys(services, [{ name, settings, revisions, expectGeneration }], true);
    return c.json(show(name), 200);
  });

  app.openapi(routes.remove, async (c) => {
    await desired.remove(c.req.valid('param').name);
    return c.body(null, 204);
  });

  app.openapi(routes.settled, async (c) => {
    const { name } = c.req.valid('param');
    const { generation, timeoutMs } = c.req.valid('query');
    const done = () => {
      if (!desired.get(name)) return reconciler.gone(name);
      const status = reconciler.controller(name)?.status;
      return status !== undefined && status.observedGeneration >= generation && status.phase !== 'progressing';
    };
    await reconciler.until(done, timeoutMs);
    if (!desired.get(name) && !reconciler.gone(name)) throw gatewayErrors.REMOVING(name);
    return c.json(show(name), 200);
  });

  app.openapi(routes.scale, async (c) => {
    const { name } = c.req.valid('param');
    const { min, max } = c.req.valid('json');
    await desired.scale(name, min, max);
    return c.json(show(name), 200);
  });

  app.openapi(routes.traffic, async (c) => {
    const { name } = c.req.valid('param');
    const { traffic } = c.req.valid('json');
    const given = traffic.filter(({ percent }) => percent > 0).map(({ revision }) => revision);
    await admitRevisions(services, name, desired.resolve(name, given));
    await desired.traffic(name, traffic);
    return c.json(show(name), 200);
  });

  app.openapi(routes.rollback, async (c) => {
    const { name } = c.req.valid('param');
    const target = desired.rollbackTarget(name, c.req.valid('json').revision);
    await admitRevisions(services, name, [target]);
    await desired.rollback(name, target);
    return c.json(show(name), 200);
  });

  app.openapi(routes.apply, async (c) => {
    const request = c.req.valid('json');
    const changes = await checkedDeploys(services, request.workloads, !request.dryRun);
    return c.json({ changes, applied: !request.dryRun }, 200);
  });

  app.openapi(routes.export, (c) => {
    const { name } = c.req.valid('query');
    const documents = name === undefined ? desired.list() : [desired.require(name)];
    const workloads = documents.map(({ value }) =>
      exportWorkload(value, (id) => {
        const revision = desired.revision(value.name, id);
        if (!revision) throw reconcilerErrors.REVISION_MISSING(value.name, id);
        return revision;
      }),
    );
    return c.json({ workloads }, 200);
  });

  // Not described: it speaks the function's own language.
  app.all('/v1/workloads/:name/invoke/*', (c) => {
    const name = c.req.param('name');
    desired.require(name);
    const { incoming, outgoing } = c.env;
    const exchange = new Http1Exchange(incoming, outgoing, INVOKE_FRONT, invokeTarget(incoming.url as string));
    // Over TCP it is the node's own token, which is not for workloads.
    if (incoming.socket.remoteAddress !== undefined) dropHeader(exchange.headers, 'authorization');
    services.dispatcher.dispatchTo(name, exchange);
    return RESPONSE_ALREADY_SENT;
  });
}

/** Invocations are held to the same limits as what comes by the gateway. */
const INVOKE_FRONT = makeFront('http');

const INVOKE = /^\/v1\/workloads\/[^/]*\/invoke/;

/** Path and query as the workload shall see them, byte for byte. */
function invokeTarget(url: string): string {
  const rest = url.replace(INVOKE, '');
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function dropHeader(headers: FlatHeaders, name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) if (headers[i] === name) headers.splice(i, 2);
}
