/** Messages of the DNS (RFC 1035, section 4), as far as a resolver needs them that answers one question with one address. */
import { NETWORK_LIMITS } from './limits.ts';

export const TYPE_A = 1;
export const TYPE_ANY = 255;
export const CLASS_IN = 1;

/** RCODE, section 4.1.1. */
export const RESPONSES = { ok: 0, failed: 2, noSuchName: 3, notImplemented: 4, refused: 5 } as const;
export type Response = keyof typeof RESPONSES;

const HEAD_BYTES = 12;
const MAX_LABEL = 63;
const MAX_NAME = 255;
const FLAG = { answer: 0x8000, recursionWanted: 0x0100, recursionOffered: 0x0080 } as const;
const OPCODE = 0x7800;
/** The name that begins right after the head, section 4.1.4. */
const NAME_OF_QUESTION = 0xc000 | HEAD_BYTES;
/** What host names are made of. Any other byte, a dot in a label above all, would make two names look like one. */
const LABEL = /^[A-Za-z0-9_-]+$/;

export interface Query {
  readonly id: number;
  /** 0: a plain question. */
  readonly opcode: number;
  readonly recursionWanted: boolean;
  /** In lower case, without a dot at its end; null when it has what no host name has. */
  readonly name: string | null;
  readonly type: number;
  readonly class: number;
  /** Its question as it came, to be told back: some clients compare how they wrote the name. */
  readonly question: Uint8Array;
}

/** Null for what is no question: what has another form than resolvers of programs send is not worth an answer. */
export function parseQuery(bytes: Buffer): Query | null {
  if (bytes.length < HEAD_BYTES || bytes.length > NETWORK_LIMITS.queryBytes) return null;
  const flags = bytes.readUInt16BE(2);
  const [questions, answers, authorities] = [4, 6, 8].map((at) => bytes.readUInt16BE(at));
  if ((flags & FLAG.answer) !== 0 || questions !== 1 || answers !== 0 || authorities !== 0) return null;
  const read = readName(bytes);
  if (!read || read.end + 4 > bytes.length) return null;
  return {
    id: bytes.readUInt16BE(0),
    opcode: (flags & OPCODE) >> 11,
    recursionWanted: (flags & FLAG.recursionWanted) !== 0,
    name: read.name,
    type: bytes.readUInt16BE(read.end),
    class: bytes.readUInt16BE(read.end + 2),
    question: bytes.subarray(HEAD_BYTES, read.end + 4),
  };
}

/** The name after the head, and where it ends. Pointers are refused: there is nothing before it to point to. */
function readName(bytes: Buffer): { name: string | null; end: number } | null {
  const labels: string[] = [];
  for (let at = HEAD_BYTES; at < bytes.length && at - HEAD_BYTES < MAX_NAME; ) {
    const length = bytes[at] as number;
    if (length === 0) {
      const plain = labels.every((label) => LABEL.test(label));
      return { name: plain ? labels.join('.').toLowerCase() : null, end: at + 1 };
    }
    if (length > MAX_LABEL || at + 1 + length > bytes.length) return null;
    labels.push(bytes.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return null;
}

/** An answer with one IPv4 address, or with none. `ttl` in seconds. */
export function answerTo(query: Query, response: Response, address: string | null = null, ttl = 0): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt16BE(query.id, 0);
  const wanted = query.recursionWanted ? FLAG.recursionWanted : 0;
  head.writeUInt16BE(FLAG.answer | (query.opcode << 11) | wanted | FLAG.recursionOffered | RESPONSES[response], 2);
  head.writeUInt16BE(1, 4);
  if (address === null) return Buffer.concat([head, query.question]);
  head.writeUInt16BE(1, 6);
  const record = Buffer.alloc(16);
  record.writeUInt16BE(NAME_OF_QUESTION, 0);
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt32BE(ttl, 6);
  record.writeUInt16BE(4, 10);
  for (const [i, part] of address.split('.').entries()) record[12 + i] = Number(part);
  return Buffer.concat([head, query.question, record]);
}
