/** The admin API: a Hono app described by OpenAPI, the same over the Unix socket and over TCP. */
import { HTTPException } from 'hono/http-exception';
import { asSkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';
import { type AdminApp, newAdminApp, noSuchPath, problemResponse } from './base-app.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { decisionRoutes } from './routes/decisions.ts';
import { imageRoutes } from './routes/images.ts';
import { logRoutes } from './routes/logs.ts';
import { nodeRoutes } from './routes/node.ts';
import { processRoutes } from './routes/processes.ts';
import { secretRoutes } from './routes/secrets.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { trustRoutes } from './routes/trust.ts';
import { volumeRoutes } from './routes/volumes.ts';
import { workloadRoutes } from './routes/workloads.ts';
import type { AdminServices } from './services.ts';

/** `log` gets what the node itself did wrong. */
export function makeAdminApp(services: AdminServices, log: (message: string, error: unknown) => void): AdminApp {
  const app = newAdminApp();
  app.onError((reason, c) => {
    // Hono's own word on a body that is not JSON.
    if (reason instanceof HTTPException) return problemResponse(gatewayErrors.INVALID_REQUEST(reason.message));
    const error = asSkerryError(reason);
    // Who has left, in the midst of a window or a build, is nobody's failure.
    if (error.status >= 500 && !c.req.raw.signal.aborted)
      log(`${c.req.method} ${c.req.path} failed`, error.cause ?? error);
    return problemResponse(error);
  });
  app.notFound(noSuchPath);
  nodeRoutes(app, services);
  artifactRoutes(app, services);
  imageRoutes(app, services);
  workloadRoutes(app, services);
  decisionRoutes(app, services);
  processRoutes(app, services);
  volumeRoutes(app, services);
  logRoutes(app, services);
  secretRoutes(app, services);
  tokenRoutes(app, services);
  trustRoutes(app, services);
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
