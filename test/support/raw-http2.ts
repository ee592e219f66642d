/** HTTP/2 by hand over a socket, for frames that no client library would send. */
import { connect, type Socket } from 'node:net';
import type { FlatHeaders } from '../../runtime/exchange.ts';

export const TYPE = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4 } as const;
/** RFC 9113, 7. */
export const CODE = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  ENHANCE_YOUR_CALM: 11,
} as const;

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string of HPACK (RFC 7541, 5.2), not Huffman coded. */
function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const head = [];
  if (bytes.length < 127) head.push(bytes.length);
  else {
    head.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) head.push((rest & 127) | 128);
    head.push(rest);
  }
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** A header block of literals without indexing: says whatever it is given. */
export function hpack(headers: FlatHeaders): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    parts.push(Buffer.from([0]), hpackString(headers[i]!), hpackString(headers[i + 1]!));
  }
  return Buffer.concat(parts);
}

export const GET: FlatHeaders = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'];
export const POST: FlatHeaders = [':method', 'POST', ...GET.slice(2)];

export class RawHttp2 {
  /** Every frame that came. */
  readonly frames: Frame[] = [];
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #over = false;
  #wake: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data) => {
      this.#rest = Buffer.concat([this.#rest, data]);
      for (let next = this.#next(); next; next = this.#next()) this.#take(next);
      this.#tell();
    });
    socket.on('error', () => {});
    this.closed = new Promise((resolve) =>
      socket.on('close', () => {
        this.#over = true;
        this.#tell();
        resolve();
      }),
    );
  }

  /** Connects and, unless told otherwise, sends the preface and empty SETTINGS. */
  static async open(url: string, { preface = true } = {}): Promise<RawHttp2> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const connection = new RawHttp2(socket);
    if (preface) connection.write(Buffer.concat([PREFACE, frame(TYPE.SETTINGS, 0, 0)]));
    return connection;
  }

  write(bytes: Uint8Array): void {
    if (!this.#over) this.#socket.write(bytes);
  }

  /** Resolves when what was written has been handed to the system, or never will be. */
  flushed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) return resolve();
      this.#socket.write('', () => resolve());
    });
  }

  headers(stream: number, headers: FlatHeaders, flags: number = FLAG.END_HEADERS | FLAG.END_STREAM): void {
    this.write(frame(TYPE.HEADERS, flags, stream, hpack(headers)));
  }

  /** The first frame that fits. Throws when the connection ends without one. */
  async until(fits: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(fits);
      if (found) return found;
      if (this.#over)
        throw new Error(`the connection ended after frames of type ${this.frames.map(({ type }) => type)}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** How a stream ended: the error code of its reset, or the body of its answer. */
  async outcome(stream: number): Promise<number | string> {
    const last = await this.until(
      (each) => each.stream === stream && (each.type === TYPE.RST_STREAM || (each.flags & FLAG.END_STREAM) !== 0),
    );
    if (last.type === TYPE.RST_STREAM) return last.payload.readUInt32BE();
    const data = this.frames.filter((each) => each.stream === stream && each.type === TYPE.DATA);
    return Buffer.concat(data.map(({ payload }) => payload)).toString();
  }

  /** The error code of the connection's end. */
  async goaway(): Promise<number> {
    return (await this.until(({ type }) => type === TYPE.GOAWAY)).payload.readUInt32BE(4);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #next(): Frame | null {
    if (this.#rest.length < 9) return null;
    const length = this.#rest.readUIntBE(0, 3);
    if (this.#rest.length < 9 + length) return null;
    const payload = this.#rest.subarray(9, 9 + length);
    const next = { type: this.#rest[3]!, flags: this.#rest[4]!, stream: this.#rest.readUInt32BE(5), payload };
    this.#rest = this.#rest.subarray(9 + length);
    return next;
  }

  #take(next: Frame): void {
    this.frames.push(next);
    if (next.type === TYPE.SETTINGS && !(next.flags & FLAG.ACK)) this.write(frame(TYPE.SETTINGS, FLAG.ACK, 0));
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
