import { createRoute, z } from '@hono/zod-openapi';
import type { AdminApp } from '../base-app.ts';
import { Doctor, NodeView, UsageSample } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
});

const getNode = createRoute({
  method: 'get',
  path: '/v1/node',
  responses: { 200: json(NodeView, 'What this node is') },
});

const getDoctor = createRoute({
  method: 'get',
  path: '/v1/doctor',
  responses: { 200: json(Doctor, 'What this machine can run, how well, and what would help') },
});

/** Longest window of a sample, in milliseconds: whoever wants more takes several. */
const MAX_WINDOW_MS = 60_000;

const getUsage = createRoute({
  method: 'get',
  path: '/v1/usage',
  description: 'Watches for a window, then answers with what the node and each workload did in it.',
  request: {
    query: z.object({ windowMs: z.coerce.number().int().min(100).max(MAX_WINDOW_MS).default(1000) }),
  },
  responses: { 200: json(UsageSample, 'Rates, latencies, CPU time and memory') },
});

const getMetrics = createRoute({
  method: 'get',
  path: '/metrics',
  responses: { 200: { description: 'For Prometheus', content: { 'text/plain': { schema: z.string() } } } },
});

export function nodeRoutes(app: AdminApp, services: AdminServices): void {
  app.openapi(getNode, (c) => c.json(services.node(), 200));
  app.openapi(getDoctor, async (c) => c.json(await services.doctor(), 200));
  app.openapi(getUsage, async (c) =>
    c.json(await services.usage(c.req.valid('query').windowMs, c.req.raw.signal), 200),
  );
  app.openapi(getMetrics, async (c) =>
    c.text(await services.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
}
