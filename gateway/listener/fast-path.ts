/**
 * The fast path of HTTP/1.1: simple requests are read and answered on the bare connection. With the first request that is
 * not simple the connection is Node's for good.
 */
import type { Socket } from 'node:net';
import { FastExchange, type FastLink } from './fast-exchange.ts';
import type { Front } from './front.ts';
import { type Handlers, hand } from './handlers.ts';
import { setServed } from './http1.ts';
import { closeLingering } from './http1-exchange.ts';
import { authorityFault, readClientHead, targetFault } from './request-head.ts';
import { readSimpleRequest } from './simple-request.ts';
import { StallWatch, type Watched } from './stall-watch.ts';

/** Of the last answer. */
const CLOSE = 'Connection: close\r\n\r\n';
/** What a client may send ahead while it is being answered, in bytes, before it has to wait. */
const EARLY_BYTES = 16 * 1024;

class FastConnection implements Watched, FastLink {
  place = -1;
  readonly socket: Socket;
  readonly front: Front;
  readonly #path: FastPath;
  /** Requests so far. */
  #served = 0;
  #idleSince = performance.now();
  /** Being answered, or what its socket has still to send. */
  #exchange: FastExchange | null = null;
  /** What came meanwhile. */
  #early: Buffer | null = null;
  readonly #onData = (chunk: Buffer) => this.read(chunk);
  readonly #onEnd = () => this.#ended();
  readonly #onClose = () => this.#closed();
  readonly #onError = () => this.socket.destroy();
  readonly #onDrain = () => this.#exchange?.reply.drained();

  constructor(socket: Socket, path: FastPath) {
    this.socket = socket;
    this.front = path.front;
    this.#path = path;
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
    socket.on('error', this.#onError).on('drain', this.#onDrain);
  }

  get headEnd(): string {
    return this.front.closing ? CLOSE : this.#path.headEnd;
  }

  overdue(now: number): boolean {
    if (this.#exchange) return false;
    const { headTimeoutMs, keepAliveMs } = this.front.limits;
    return now - this.#idleSince > (this.#served === 0 ? headTimeoutMs : keepAliveMs);
  }

  expire(): void {
    this.socket.destroy();
  }

  /** True while nothing is asked of it. */
  get idle(): boolean {
    return this.#exchange === null;
  }

  read(chunk: Buffer): void {
    if (this.#exchange) return this.#keep(chunk);
    const exchange = this.#exchangeOf(chunk);
    if (!exchange) return this.#handOver(chunk);
    this.#served++;
    this.#exchange = exchange;
    hand(exchange, null, this.#path.handlers);
  }

  answered(): void {
    const { socket } = this;
    // An empty piece after it tells when it is out.
    if (socket.writableLength > 0) socket.write('', () => this.#sent());
    else this.#sent();
  }

  detach(): Socket {
    const { socket } = this;
    // `close` still tells when it is over; until then it counts as busy.
    socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain);
    socket.pause();
    if (this.#early) socket.unshift(this.#early);
    this.#early = null;
    return socket;
  }

  #exchangeOf(chunk: Buffer): FastExchange | null {
    const { limits } = this.front;
    // The last request of a connection is told so, by Node.
    if (this.#served + 1 >= limits.requestsPerConnection) return null;
    const request = readSimpleRequest(chunk);
    if (!request) return null;
    const { headers, hosts, host, fault } = readClientHead(request.rawHeaders, 0, limits.headers);
    if (fault || hosts !== 1 || authorityFault(host) || targetFault(request.url)) return null;
    return new FastExchange(this, request, host, headers);
  }

  #keep(chunk: Buffer): void {
    this.#early = this.#early === null ? chunk : Buffer.concat([this.#early, chunk]);
    if (this.#early.length > EARLY_BYTES) this.socket.pause();
  }

  #sent(): void {
    this.#exchange?.reply.closed();
    this.#exchange = null;
    this.#idleSince = performance.now();
    // As its answer may have said.
    if (this.front.closing) return closeLingering(this.socket, this.front.limits.lingerMs);
    if (this.#early === null) return;
    // Not from within the answer.
    process.nextTick(() => {
      const early = this.#early;
      this.#early = null;
      if (early === null || this.socket.destroyed) return;
      this.socket.resume();
      this.read(early);
    });
  }

  #handOver(chunk: Buffer): void {
    const { socket } = this;
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    socket.off('error', this.#onError).off('drain', this.#onDrain);
    this.#path.leave(this);
    setServed(socket, this.#served);
    // Not flowing, nor about to: Node pauses a connection that asks for much at once, and must be heard.
    socket.pause();
    socket.unshift(chunk);
    this.#path.http1(socket);
    process.nextTick(() => socket.resume());
  }

  /** A client that closes its side has left, as with Node's parser. */
  #ended(): void {
    if (this.#exchange) this.socket.destroy();
    else this.socket.end();
  }

  #closed(): void {
    this.#path.leave(this);
    const exchange = this.#exchange;
    this.#exchange = null;
    if (!exchange) return;
    exchange.reply.closed();
    exchange.leave();
  }
}

export class FastPath {
  readonly front: Front;
  readonly handlers: Handlers;
  /** Node's listener for a connection of HTTP/1.1. */
  readonly http1: (socket: Socket) => void;
  readonly headEnd: string;
  readonly #connections: StallWatch<FastConnection>;

  constructor(front: Front, handlers: Handlers, http1: (socket: Socket) => void) {
    this.front = front;
    this.handlers = handlers;
    this.http1 = http1;
    const { headTimeoutMs, keepAliveMs } = front.limits;
    this.headEnd = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n\r\n`;
    this.#connections = new StallWatch(Math.min(headTimeoutMs, keepAliveMs));
  }

  /** A connection that speaks HTTP/1.1; `first` is what has been read of it already. */
  accept(socket: Socket, first: Buffer | null): void {
    const connection = new FastConnection(socket, this);
    this.#connections.add(connection);
    if (first) connection.read(first);
  }

  leave(connection: FastConnection): void {
    this.#connections.delete(connection);
  }

  closeIdle(): void {
    for (const connection of this.#connections) if (connection.idle) connection.expire();
  }

  closeAll(): void {
    for (const connection of this.#connections) connection.expire();
  }
}
