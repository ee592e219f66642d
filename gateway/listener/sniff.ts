/** Tells HTTP/2 by prior knowledge from HTTP/1.1 on a connection in the clear, by its first bytes. */
import type { Socket } from 'node:net';

/** RFC 9113, 3.4. No HTTP/1.1 request begins so. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** True when `bytes` begin with the preface, false when they cannot, null while that is not known. */
export function beginsHttp2(bytes: Buffer): boolean | null {
  const known = Math.min(bytes.length, PREFACE.length);
  if (bytes.compare(PREFACE, 0, known, 0, known) !== 0) return false;
  return known === PREFACE.length ? true : null;
}

/**
 * Waits for enough bytes to tell, then has the socket accepted with nothing of it lost; a silent one is closed. This is paid once a
 * connection: afterwards Node's parsers read from the system directly, as if nobody had looked.
 */
export function sniffProtocol(socket: Socket, timeoutMs: number, accept: (spoken: 'h2' | 'http/1.1') => void): void {
  let seen: Buffer = Buffer.alloc(0);
  const stop = () => socket.destroy();
  const timer = setTimeout(stop, timeoutMs);
  const letGo = () => {
    clearTimeout(timer);
    socket.off('data', look).off('end', stop).off('error', stop).off('close', letGo);
  };
  const look = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const http2 = beginsHttp2(seen);
    if (http2 === null) return;
    letGo();
    socket.pause();
    socket.unshift(seen);
    accept(http2 ? 'h2' : 'http/1.1');
    // Node's HTTP/2 takes what is waiting by itself.
    if (!http2) socket.resume();
  };
  socket.on('data', look).on('end', stop).on('error', stop).on('close', letGo);
}
