/** The registry: a Hono app over the OCI distribution specification 1.1, behind docker's token protocol. */
import type { IncomingMessage } from 'node:http';
import { Hono } from 'hono';
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import type { Bearers } from './auth/bearer.ts';
import { tokenRoutes } from './auth/token-endpoint.ts';
import type { Tokens } from './auth/tokens.ts';
import { blobRoutes } from './blob-routes.ts';
import type { RegistryEnv, RegistryParts } from './context.ts';
import { registryCode, registryErrors, registryStatus } from './errors.ts';
import { manifestRoutes } from './manifest-routes.ts';
import { tagRoutes } from './tag-routes.ts';
import { uploadRoutes } from './upload-routes.ts';

/** Of a body that nobody wants, in bytes: as much as is on its way to a node far away. */
const DISCARD_BYTES = 16 * 2 ** 20;

export interface RegistryAppOptions extends RegistryParts {
  readonly tokens: Tokens;
  readonly bearers: Bearers;
  /** Gets what the node itself did wrong. */
  readonly log: (message: string, error: unknown) => void;
}

export type RegistryApp = Hono<RegistryEnv>;

export function makeRegistryApp({ tokens, bearers, log, ...parts }: RegistryAppOptions): RegistryApp {
  const app = new Hono<RegistryEnv>();

  app.use(async (c, next) => {
    c.header('docker-distribution-api-version', 'registry/2.0');
    // What was pushed is nobody's page.
    c.header('x-content-type-options', 'nosniff');
    await next();
  });

  app.onError((reason, c) => {
    const error = asSkerryError(reason);
    const { incoming } = c.env;
    const left = incoming.readableAborted || incoming.destroyed;
    if (error.status >= 500 && !left) log(`${c.req.method} ${c.req.path} failed`, error.cause ?? error);
    if (error.retryAfter !== undefined) c.header('retry-after', String(error.retryAfter));
    discardBody(incoming);
    const status = registryStatus(error);
    return c.json({ errors: [{ code: registryCode(error), message: messageOf(error), detail: null }] }, status as 400);
  });

  tokenRoutes(app, tokens, bearers);
  app.on('GET', ['/v2/', '/v2'], (c) => {
    parts.guard.caller(c, null);
    return c.json({});
  });
  tagRoutes(app, parts);
  manifestRoutes(app, parts);
  uploadRoutes(app, parts);
  blobRoutes(app, parts);

  app.all('*', (c) => {
    if (c.req.path.startsWith('/v2/')) parts.guard.caller(c, null);
    const known = /^\/(?:v2\/?|token|v2\/_catalog|v2\/.+\/(?:tags\/list|(?:manifests|blobs|referrers)\/.+))$/;
    if (known.test(c.req.path)) throw registryErrors.UNSUPPORTED(`${c.req.method} on this path`);
    throw registryErrors.NOT_AN_ENDPOINT(c.req.path);
  });
  return app;
}

/** Paths and causes of the node's own troubles are for its log. */
function messageOf(error: SkerryError): string {
  if (error.code === 'STORE_DISK_FULL')
    return 'no room on the disk of the node: nothing was stored; make room, then push again';
  if (error.code === 'UPSTREAM_FAILED' || error.code === 'STORE_FULL') return `${error.what}; ${error.fix}`;
  if (registryStatus(error) >= 500) return 'the node could not do it; its log says why';
  return `${error.what}; ${error.fix}`;
}

/**
 * Reads the rest of a body that nobody wants: a connection that is closed before takes the answer with it. Clients stop
 * sending when they have read that; one that does not is cut off.
 */
function discardBody(incoming: IncomingMessage): void {
  let bytes = 0;
  incoming.on('error', () => {});
  incoming.on('data', (piece: Uint8Array) => {
    bytes += piece.length;
    if (bytes > DISCARD_BYTES) incoming.destroy();
  });
  incoming.resume();
}
