/** An Exchange of the fast path: its answer is written to the connection without Node's `http`. */
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { Socket } from 'node:net';
import type { FlatHeaders, UpgradeOffer } from '../../runtime/exchange.ts';
import type { Front } from './front.ts';
import { ListenerExchange } from './listener-exchange.ts';
import { Reply } from './reply.ts';
import type { SimpleRequest } from './simple-request.ts';
import { latin1Of, ONE_WRITE_BYTES } from './small-body.ts';

/** The connection as its exchange sees it. */
export interface FastLink {
  readonly front: Front;
  readonly socket: Socket;
  /** `Connection` and `Keep-Alive` of every answer, and the end of the head. */
  readonly headEnd: string;
  /** All of the answer has been handed to the socket. */
  answered(): void;
  /** The connection speaks HTTP no more: it is given over, with what has been read of it. */
  detach(): Socket;
}

let dateLine = '';
let dateSecond = 0;

/** `Date` (RFC 9110, 6.6.1), which is the same for a second. */
function date(): string {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateLine = `Date: ${new Date(now).toUTCString()}\r\n`;
  }
  return dateLine;
}

/** Throws when one of them cannot stand in a message. */
function lines(headers: FlatHeaders): string {
  let text = '';
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    validateHeaderName(name);
    validateHeaderValue(name, value);
    text += `${name}: ${value}\r\n`;
  }
  return text;
}

function find(headers: FlatHeaders, lower: string): string | null {
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() === lower) return headers[i + 1] as string;
  }
  return null;
}

class FastReply extends Reply {
  started = false;
  readonly #link: FastLink;
  /** Bytes of a body of declared length that are still to come; null while there is no such body. */
  #left: number | null = null;
  #chunked = false;
  #onDrain: (() => void) | null = null;

  constructor(exchange: FastExchange, link: FastLink) {
    super(exchange);
    this.#link = link;
  }

  protected get takesTrailers(): boolean {
    return true;
  }

  protected get gone(): boolean {
    return this.#link.socket.destroyed;
  }

  protected get waiting(): number {
    return this.#link.socket.writableLength;
  }

  protected hint(status: number, headers: FlatHeaders): void {
    if (status === 103 && find(headers, 'link') === null) return;
    this.#link.socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines(headers)}\r\n`, 'latin1');
  }

  onDrain(callback: () => void): void {
    this.#onDrain = callback;
  }

  /** The socket has room again. */
  drained(): void {
    if (!this.#onDrain) return;
    this.over();
    this.#onDrain();
  }

  protected whole(status: number, headers: FlatHeaders, body: Uint8Array | null): void {
    const head = this.#head(status, headers, this.#link.headEnd);
    const { socket } = this.#link;
    this.started = true;
    if (body === null) socket.write(head, 'latin1');
    else if (body.byteLength <= ONE_WRITE_BYTES) socket.write(head + latin1Of(body), 'latin1');
    else {
      socket.cork();
      socket.write(head, 'latin1');
      socket.write(body);
      socket.uncork();
    }
    this.#link.answered();
  }

  protected begin(status: number, headers: FlatHeaders, bodyless: boolean): void {
    const length = bodyless ? null : find(headers, 'content-length');
    this.#chunked = !bodyless && length === null;
    const { headEnd } = this.#link;
    const head = this.#head(status, headers, this.#chunked ? `Transfer-Encoding: chunked\r\n${headEnd}` : headEnd);
    if (length !== null) this.#left = Number(length);
    this.started = true;
    this.#link.socket.write(head, 'latin1');
  }

  protected put(chunk: Uint8Array): boolean {
    const { socket } = this.#link;
    const bytes = chunk.byteLength;
    if (this.#left !== null) {
      this.#left -= bytes;
      // More than was declared would be taken for the next answer.
      if (this.#left < 0) {
        this.breakOff();
        return true;
      }
      socket.write(chunk);
    } else if (bytes > ONE_WRITE_BYTES) {
      socket.cork();
      socket.write(`${bytes.toString(16)}\r\n`, 'latin1');
      socket.write(chunk);
      socket.write('\r\n', 'latin1');
      socket.uncork();
    } else if (bytes > 0) {
      // One of no bytes would be the last chunk.
      socket.write(`${bytes.toString(16)}\r\n${latin1Of(chunk)}\r\n`, 'latin1');
    }
    // Not what `write` says, which is from before the system took it.
    return socket.writableLength < socket.writableHighWaterMark;
  }

  protected finish(trailers: FlatHeaders | null): void {
    if (this.#left !== null && this.#left > 0) return this.breakOff();
    if (this.#chunked) this.#link.socket.write(`0\r\n${trailers ? lines(trailers) : ''}\r\n`, 'latin1');
    this.#link.answered();
  }

  protected breakOff(): void {
    this.#link.socket.destroy();
  }

  leave(): void {
    this.ended = true;
    this.over();
    this.#link.socket.destroy();
  }

  /** The answer is out, or its connection is gone. */
  closed(): void {
    this.over();
  }

  /** 101 is the answer, and the connection no longer one of HTTP. */
  switchProtocols(protocol: string, headers: FlatHeaders): Socket {
    if (this.gone || this.started || this.ended) throw new Error('the client has gone');
    const head = `HTTP/1.1 101 ${STATUS_CODES[101]}\r\nUpgrade: ${protocol}\r\nConnection: Upgrade\r\n${lines(headers)}\r\n`;
    this.started = true;
    this.ended = true;
    const socket = this.#link.detach();
    socket.write(head, 'latin1');
    return socket;
  }

  #head(status: number, headers: FlatHeaders, end: string): string {
    const dated = find(headers, 'date') === null ? date() : '';
    return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines(headers)}${dated}${end}`;
  }
}

export class FastExchange extends ListenerExchange {
  readonly body = null;
  readonly reply: FastReply;
  override readonly upgrade: UpgradeOffer | null;

  /** `request`: without its headers; `headers`: the client's as they may reach a workload. */
  constructor(link: FastLink, request: SimpleRequest, authority: string, headers: FlatHeaders) {
    super(link.front, request.method, authority, request.url, headers, link.socket.remoteAddress);
    const reply = new FastReply(this, link);
    this.reply = reply;
    this.upgrade = request.webSocket
      ? { protocol: 'websocket', accept: (answer) => reply.switchProtocols('websocket', answer) }
      : null;
  }
}
