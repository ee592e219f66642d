/** The resolver inside the network of a workload: it knows allowed names, and asks nobody. */
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import type { Socket } from 'node:net';
import { parseHost } from '../egress/host.ts';
import { answerTo, CLASS_IN, parseQuery, TYPE_A, TYPE_ANY } from './dns-message.ts';
import { NETWORK_LIMITS, NETWORK_TIMEOUTS } from './limits.ts';

/** Names as the workload may know them; each in lower case, without a dot at its end. */
export interface Names {
  allows(name: string): boolean;
  /** The address that stands for an allowed name; null when no more names can have one now. */
  addressOf(name: string): string | null;
  /** It was asked for a name that is not allowed. */
  refused(name: string): void;
}

/** What is said to a question; null: nothing. */
export function answer(message: Buffer, names: Names): Buffer | null {
  const query = parseQuery(message);
  if (!query) return null;
  if (query.opcode !== 0) return answerTo(query, 'notImplemented');
  if (query.class !== CLASS_IN) return answerTo(query, 'refused');
  const host = query.name === null ? null : parseHost(query.name);
  if (!host || host.isAddress || host.name !== query.name || !names.allows(host.name)) {
    if (host) names.refused(host.name);
    return answerTo(query, 'noSuchName');
  }
  // There is IPv4 alone in here: of other kinds an allowed name has nothing.
  if (query.type !== TYPE_A && query.type !== TYPE_ANY) return answerTo(query, 'ok');
  const address = names.addressOf(host.name);
  return address === null ? answerTo(query, 'failed') : answerTo(query, 'ok', address, NETWORK_TIMEOUTS.answerTtl);
}

/** Answers over UDP on a descriptor, which it closes with the socket that is returned. `count` is told of each question. */
export function answerDatagrams(fd: number, names: Names, count: () => void): Datagrams {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  socket.on('message', (message, from) => {
    const reply = answer(message, names);
    if (reply) socket.send(reply, from.port, from.address, () => {});
    count();
  });
  socket.bind({ fd });
  return socket;
}

/**
 * Answers over TCP (RFC 7766): each message with its length before it, one after the other. `count` is told of each question;
 * when it says that they are too many the connection ends.
 */
export function answerStream(socket: Socket, names: Names, count: () => boolean): void {
  let seen = Buffer.alloc(0);
  socket.setTimeout(NETWORK_TIMEOUTS.queryIdle, () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.on('data', (piece) => {
    seen = Buffer.concat([seen, piece]);
    while (seen.length >= 2) {
      const length = seen.readUInt16BE(0);
      if (length > NETWORK_LIMITS.queryBytes) return void socket.destroy();
      if (seen.length < 2 + length) return;
      const reply = answer(seen.subarray(2, 2 + length), names);
      seen = seen.subarray(2 + length);
      if (!count() || !reply) return void socket.destroy();
      const prefix = Buffer.alloc(2);
      prefix.writeUInt16BE(reply.length);
      // Who takes no answers gets no more of them.
      if (!socket.write(Buffer.concat([prefix, reply]))) return void socket.destroy();
    }
  });
  socket.resume();
}
