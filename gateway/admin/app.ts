/** The admin API: a Hono app described by OpenAPI, the same over the Unix socket and over TCP. */
import type { HttpBindings } from '@hono/node-server';
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import { problemBody, problemHeaders } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { logRoutes } from './routes/logs.ts';
import { nodeRoutes } from './routes/node.ts';
import { workloadRoutes } from './routes/workloads.ts';
import type { AdminServices } from './services.ts';

export type AdminApp = OpenAPIHono<{ Bindings: HttpBindings }>;

/** `settings.memory: must be …; settings.cpus: …`: what the schema says is wrong, each with its key. */
export function describeIssues(issues: readonly { path: PropertyKey[]; message: string }[]): string {
  return issues
    .slice(0, 5)
    .map((issue) => (issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ${issue.message}` : issue.message))
    .join('; ');
}

export function newAdminApp(): AdminApp {
  return new OpenAPIHono<{ Bindings: HttpBindings }>({
    defaultHook: (result) => {
      if (!result.success) throw gatewayErrors.INVALID_REQUEST(describeIssues(result.error.issues));
    },
  });
}

export function problemResponse(error: SkerryError): Response {
  const id = nextRequestId();
  const flat = problemHeaders(error, id);
  const headers = new Headers();
  for (let i = 0; i < flat.length; i += 2) headers.append(flat[i] as string, flat[i + 1] as string);
  return new Response(problemBody(error, id), { status: error.status, headers });
}

export function noSuchPath(c: Context): Response {
  return problemResponse(gatewayErrors.NOT_FOUND(`${c.req.method} ${c.req.path} in the admin API`));
}

/** `log` gets what the node itself did wrong. */
export function makeAdminApp(services: AdminServices, log: (message: string, error: unknown) => void): AdminApp {
  const app = newAdminApp();
  app.onError((reason, c) => {
    // Hono's own word on a body that is not JSON.
    if (reason instanceof HTTPException) return problemResponse(gatewayErrors.INVALID_REQUEST(reason.message));
    const error = asSkerryError(reason);
    if (error.status >= 500) log(`${c.req.method} ${c.req.path} failed`, error.cause ?? error);
    return problemResponse(error);
  });
  app.notFound(noSuchPath);
  nodeRoutes(app, services);
  artifactRoutes(app, services);
  workloadRoutes(app, services);
  logRoutes(app, services);
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Skerry admin API',
      version: '1',
      description: 'Desired state, status, logs and metrics of one node.',
    },
  });
  return app;
}
