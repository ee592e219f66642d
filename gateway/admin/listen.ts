/** The admin API's listeners: a Unix socket for its owner alone, and TCP behind a token. */
import { chmodSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { asSkerryError } from '../../errors/skerry-error.ts';
import type { ListenAt } from '../listener/listen.ts';
import { type AdminApp, newAdminApp, noSuchPath, problemResponse } from './base-app.ts';
import { adminGuard } from './guard.ts';

export interface AdminListener {
  close(): Promise<void>;
}

/** Marks RESPONSE_ALREADY_SENT, and what is copied from it. */
const ALREADY_SENT = 'x-hono-already-sent';

function makeServer(app: AdminApp): Server {
  const server = createAdaptorServer({
    fetch: async (request, env) => {
      const answer = await app.fetch(request, env as HttpBindings);
      // Hono answers HEAD with a copy of the answer to GET, which the server would send over the workload's own.
      return request.method === 'HEAD' && answer.headers.has(ALREADY_SENT) ? RESPONSE_ALREADY_SENT : answer;
    },
  }) as Server;
  // Uploads and builds take their time; `logs -f` has no end.
  server.requestTimeout = 0;
  server.headersTimeout = 15_000;
  return server;
}

function closer(server: Server): AdminListener {
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** `path` must be in a folder that only its owner can enter; what a dead node left there is replaced. */
export async function listenUnix(app: AdminApp, path: string): Promise<AdminListener> {
  await rm(path, { force: true });
  const server = makeServer(app);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      // In the same turn as the bind: nobody gets in between, and the folder is closed to others anyway.
      chmodSync(path, 0o600);
      resolve();
    });
  });
  return closer(server);
}

/** `host`: what requests must name. */
export async function listenTcp(app: AdminApp, at: ListenAt, host: string, token: string): Promise<AdminListener> {
  let bound = 0;
  const guarded = newAdminApp();
  guarded.onError((error) => problemResponse(asSkerryError(error)));
  guarded.notFound(noSuchPath);
  guarded.use(adminGuard(token, host, () => bound));
  guarded.route('/', app);
  const server = makeServer(guarded);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      bound = (server.address() as AddressInfo).port;
      resolve();
    });
  });
  return closer(server);
}
