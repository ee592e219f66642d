/** The registry's own listener: HTTP/1.1, in the clear or over TLS. */
import { createServer } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { RegistryApp } from './app.ts';
import type { RegistryEnv } from './context.ts';

/** PEM: the certificate with its chain, and its private key. */
export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface RegistryListener {
  /** `http://127.0.0.1:5050`, or `https://…` over TLS. */
  readonly url: string;
  /** New connections are made with this one, those that are open go on. Only over TLS. */
  setCertificate(pair: KeyPair): void;
  /** Takes no new connections, lets requests in flight finish for `graceMs`, then breaks them. */
  close(graceMs: number): Promise<void>;
}

/** Connections that wait to be accepted. Of a socket that listens Node takes it from its own place only. */
const BACKLOG = 512;

export interface RegistryListenOptions {
  /** An address (port 0 takes a free one), or a socket that listens already. */
  readonly at: { readonly host: string; readonly port: number } | { readonly fd: number };
  /** With it the listener speaks TLS and nothing else. */
  readonly pair?: KeyPair | null;
  readonly stallMs?: number;
}

/** A connection on which nothing moves for so long is ended, unless the node itself is at work for it; in milliseconds. */
const STALL_MS = 60_000;
const HEAD_TIMEOUT_MS = 15_000;
const KEEP_ALIVE_MS = 30_000;
/** Connections at once; more are closed as they come. */
const CONNECTIONS = 1024;
const HEAD_BYTES = 32 * 1024;
/** How often connections that have become idle are looked for while the listener closes, in milliseconds. */
const CLOSE_SWEEP_MS = 50;

/** Marks RESPONSE_ALREADY_SENT, and what is copied from it. */
const ALREADY_SENT = 'x-hono-already-sent';

function tlsOptions({ cert, key }: KeyPair) {
  return { cert, key, minVersion: 'TLSv1.2' as const };
}

/** Listens; rejects with the system's error when the port is taken or not allowed. */
export async function listenRegistry(
  app: RegistryApp,
  { at, pair = null, stallMs = STALL_MS }: RegistryListenOptions,
): Promise<RegistryListener> {
  const serve = getRequestListener(
    async (request, env) => {
      const answer = await app.fetch(request, env as RegistryEnv['Bindings']);
      return answer.headers.has(ALREADY_SENT) ? RESPONSE_ALREADY_SENT : answer;
    },
    { overrideGlobalObjects: false },
  );
  const options = {
    // Pushes of large blobs take their time; what stalls is ended below.
    requestTimeout: 0,
    headersTimeout: HEAD_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: HEAD_BYTES,
  };
  const tls = pair ? createTlsServer({ ...options, ...tlsOptions(pair), handshakeTimeout: HEAD_TIMEOUT_MS }) : null;
  const server = tls ?? createServer(options);
  server.maxConnections = CONNECTIONS;
  server.on('request', serve);
  endStalled(server, stallMs);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...at, backlog: BACKLOG }, BACKLOG as never, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  return {
    url: urlOf(tls ? 'https' : 'http', server.address() as AddressInfo),
    setCertificate: (next) => tls?.setSecureContext(tlsOptions(next)),
    close: (graceMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), graceMs);
        // Kept-alive connections that finish their request while we wait would otherwise stay until they time out.
        const sweep = setInterval(() => server.closeIdleConnections(), CLOSE_SWEEP_MS);
        server.close(() => {
          clearTimeout(timer);
          clearInterval(sweep);
          resolve();
        });
      }),
  };
}

/** A sender that sends nothing, and a reader that takes nothing. */
function endStalled(server: ReturnType<typeof createServer> | TlsServer, stallMs: number): void {
  const waiting = new Map<Socket, () => boolean>();
  server.on('request', (request, response) => {
    const { socket } = request;
    // All of the request is here, and no answer has begun: it is the node that takes its time.
    waiting.set(socket, () => request.complete && !response.headersSent);
    response.once('close', () => waiting.delete(socket));
  });
  server.setTimeout(stallMs, (socket: Socket) => {
    if (!waiting.get(socket)?.()) socket.destroy();
  });
}

function urlOf(scheme: string, { family, address, port }: AddressInfo): string {
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
