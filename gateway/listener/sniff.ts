/** Tells HTTP/2 by prior knowledge from HTTP/1.1 on a connection in the clear, by its first bytes. */
import type { Socket } from 'node:net';
import type { StallWatch, Watched } from './stall-watch.ts';

/** RFC 9113, 3.4. No HTTP/1.1 request begins so. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** True when `bytes` begin with the preface, false when they cannot, null while that is not known. */
export function beginsHttp2(bytes: Buffer): boolean | null {
  const known = Math.min(bytes.length, PREFACE.length);
  if (bytes.compare(PREFACE, 0, known, 0, known) !== 0) return false;
  return known === PREFACE.length ? true : null;
}

/**
 * A connection of which it is not known yet what it speaks. What it costs is paid once a connection: afterwards Node's
 * parsers read from the system directly, as if nobody had looked.
 */
class Newcomer implements Watched {
  place = -1;
  readonly #socket: Socket;
  readonly #lobby: Lobby;
  readonly #since = performance.now();
  #seen: Buffer | null = null;
  readonly #look = (chunk: Buffer) => this.#read(chunk);
  readonly #stop = () => this.expire();

  constructor(socket: Socket, lobby: Lobby) {
    this.#socket = socket;
    this.#lobby = lobby;
    socket.on('data', this.#look).on('end', this.#stop).on('error', this.#stop).on('close', this.#stop);
  }

  overdue(now: number): boolean {
    return now - this.#since > this.#lobby.timeoutMs;
  }

  expire(): void {
    this.#lobby.leave(this);
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const seen = this.#seen === null ? chunk : Buffer.concat([this.#seen, chunk]);
    const http2 = beginsHttp2(seen);
    if (http2 === null) {
      this.#seen = seen;
      return;
    }
    const socket = this.#socket;
    socket.off('data', this.#look).off('end', this.#stop).off('error', this.#stop).off('close', this.#stop);
    this.#lobby.leave(this);
    if (http2) {
      // Node's HTTP/2 takes what waits in the socket.
      socket.pause();
      socket.unshift(seen);
      this.#lobby.http2(socket);
    } else {
      this.#lobby.http1(socket, seen);
    }
  }
}

/** Where connections wait until they are known; a silent one is closed. */
export class Lobby {
  readonly timeoutMs: number;
  readonly http2: (socket: Socket) => void;
  /** `seen`: what has been read of it. */
  readonly http1: (socket: Socket, seen: Buffer) => void;
  readonly #watch: StallWatch;
  readonly #waiting = new Set<Newcomer>();

  constructor(timeoutMs: number, watch: StallWatch, http2: Lobby['http2'], http1: Lobby['http1']) {
    this.timeoutMs = timeoutMs;
    this.#watch = watch;
    this.http2 = http2;
    this.http1 = http1;
  }

  enter(socket: Socket): void {
    const newcomer = new Newcomer(socket, this);
    this.#waiting.add(newcomer);
    this.#watch.add(newcomer);
  }

  leave(newcomer: Newcomer): void {
    this.#waiting.delete(newcomer);
    this.#watch.delete(newcomer);
  }

  /** Closes those that wait: none of them has asked for anything. */
  close(): void {
    for (const newcomer of this.#waiting) newcomer.expire();
  }
}
