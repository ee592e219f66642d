/** The gateway's listener: HTTP/1.1 and HTTP/2 on one port, in the clear or over TLS. */
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Certificate } from './certificate.ts';
import { FastPath } from './fast-path.ts';
import { type Front, makeFront } from './front.ts';
import type { Handlers } from './handlers.ts';
import { http1Options, serveHttp1 } from './http1.ts';
import { Http2Front } from './http2.ts';
import { LISTENER_LIMITS, type ListenerLimits } from './limits.ts';
import { Lobby } from './sniff.ts';

export interface Listener {
  /** `http://127.0.0.1:8080`, or `https://…` over TLS. */
  readonly url: string;
  /** New connections are made with this one, those that are open go on. Only over TLS. */
  setCertificate(certificate: Certificate): void;
  /** Takes no new connections, lets requests in flight finish for `graceMs`, then breaks them. */
  close(graceMs: number): Promise<void>;
}

/** An address (port 0 takes a free one), or a socket that listens already. */
export type ListenAt = { readonly host: string; readonly port: number } | { readonly fd: number };

export interface ListenOptions {
  readonly at: ListenAt;
  readonly handlers: Handlers;
  /** With it the listener speaks TLS and nothing else. */
  readonly certificate?: Certificate | undefined;
  readonly limits?: ListenerLimits | undefined;
}

/** Connections that wait to be accepted. */
const BACKLOG = 4096;
/** How often connections that have become idle are looked for while the listener closes, in milliseconds. */
const CLOSE_SWEEP_MS = 50;

function tlsOptions({ cert, key }: Certificate) {
  return { cert, key, minVersion: 'TLSv1.2' as const };
}

/** Takes away Node's own listener for an event of connections, and returns what it does. */
function takeOver(server: Server, event: string): (socket: Socket) => void {
  const [own] = server.listeners(event) as ((socket: Socket) => void)[];
  if (!own) throw new Error(`Node's server has no listener for ${event}`);
  server.removeListener(event, own);
  return (socket) => own.call(server, socket);
}

/** Plain connections: the first bytes tell the protocol. Returns what closes those of which it is not known yet. */
function acceptPlain(server: Server, http2: Http2Front, fast: FastPath): () => void {
  const { limits, watch } = fast.front;
  const lobby = new Lobby(
    limits.headTimeoutMs,
    watch,
    (socket) => http2.accept(socket),
    (socket, seen) => fast.accept(socket, seen),
  );
  server.on('connection', (socket) => lobby.enter(socket));
  return () => lobby.close();
}

/** TLS connections: the handshake tells the protocol (ALPN). Returns what closes those whose handshake is not over. */
function acceptTls(server: TlsServer, http2: Http2Front, fast: FastPath): () => void {
  // Node gives the socket below and the one above, and does not say which belong together: their other end does.
  const otherEnd = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort}`;
  const shaking = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const name = otherEnd(socket);
    shaking.set(name, socket);
    socket.on('close', () => shaking.delete(name));
  });
  server.on('secureConnection', (socket) => {
    shaking.delete(otherEnd(socket));
    if (socket.alpnProtocol === 'h2') http2.accept(socket);
    else fast.accept(socket, null);
  });
  // There is no answer to a failed handshake but its end.
  server.removeAllListeners('tlsClientError');
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  return () => {
    for (const socket of shaking.values()) socket.destroy();
  };
}

/** Listens; rejects with the system's error when the port is taken or not allowed. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { at, handlers, certificate, limits = LISTENER_LIMITS } = options;
  const front = makeFront(certificate ? 'https' : 'http', limits);
  const http2 = new Http2Front(handlers, front);
  const http1 = http1Options(limits);
  const tls = certificate
    ? createTlsServer({
        ...http1,
        ...tlsOptions(certificate),
        ALPNProtocols: ['h2', 'http/1.1'],
        handshakeTimeout: limits.headTimeoutMs,
      })
    : null;
  const server = tls ?? createServer(http1);
  server.maxConnections = limits.connections;
  serveHttp1(server, handlers, front);
  const fast = new FastPath(front, handlers, takeOver(server, tls ? 'secureConnection' : 'connection'));
  const closeUnknown = tls ? acceptTls(tls, http2, fast) : acceptPlain(server, http2, fast);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Of a socket that listens Node takes the backlog from its own place only.
    server.listen({ ...at, backlog: BACKLOG }, BACKLOG as never, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  return {
    url: urlOf(front.scheme, server.address() as AddressInfo),
    setCertificate: (next) => tls?.setSecureContext(tlsOptions(next)),
    async close(graceMs) {
      front.closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const closeIdle = () => {
        server.closeIdleConnections();
        fast.closeIdle();
      };
      closeIdle();
      http2.close();
      closeUnknown();
      const timer = setTimeout(() => {
        server.closeAllConnections();
        fast.closeAll();
        http2.destroy();
      }, graceMs);
      // Kept-alive connections that finish their request while we wait would otherwise stay until they time out.
      const sweep = setInterval(closeIdle, CLOSE_SWEEP_MS);
      await closed;
      clearTimeout(timer);
      clearInterval(sweep);
    },
  };
}

/** Serves connections in the clear that somebody else has accepted. */
export interface HandedOver {
  accept(connection: Duplex): void;
  /** When it has no connections any more. */
  close(): void;
}

export function serveHandedOver(handlers: Handlers, front: Front): HandedOver {
  const http2 = new Http2Front(handlers, front);
  const server = createServer(http1Options(front.limits));
  serveHttp1(server, handlers, front);
  const fast = new FastPath(front, handlers, takeOver(server, 'connection'));
  const closeUnknown = acceptPlain(server, http2, fast);
  // It never listens, and Node looks after the time that heads take from then on.
  server.emit('listening');
  return {
    accept: (connection) => void server.emit('connection', connection),
    close() {
      closeUnknown();
      http2.close();
    },
  };
}

function urlOf(scheme: string, address: AddressInfo): string {
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `${scheme}://${host}:${address.port}`;
}
