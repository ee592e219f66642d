import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Joins two connections until both ways have ended: what comes of one goes to the other as fast as that takes it, the end
 * of one way is told and the other way goes on, and a broken one breaks the other.
 * @param idleMs milliseconds without a byte either way until both are broken off
 */
export function splice(near: Socket, far: Duplex, idleMs: number): void {
  far.allowHalfOpen = true;
  near.setTimeout(idleMs, () => near.resetAndDestroy());
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.on('error', () => {});
    from.on('close', () => {
      // One that ended whole has given all that it had: what the other has not taken yet is still on its way.
      if (from.readableEnded && from.writableFinished) return;
      breakOff(to);
    });
    from.pipe(to);
  }
}

/** Ends a connection so that nobody can take what came over it for whole. */
export function breakOff(connection: Duplex): void {
  if ('resetAndDestroy' in connection) (connection as Socket).resetAndDestroy();
  else connection.destroy();
}
