/** HTTP/1.1 by hand over a socket, for requests that no client library would send and answers it would tidy up. */
import { connect, type Socket } from 'node:net';

export interface RawResponse {
  readonly status: number;
  /** Names in lower case, in the order received. */
  readonly headers: readonly (readonly [string, string])[];
  /** Without its framing. */
  readonly body: Buffer;
  /** The body came to the end that its framing promised. A body that ends with its connection: that ended without a reset. */
  readonly complete: boolean;
  /** Framing included. */
  readonly raw: Buffer;
}

export function header(response: RawResponse, name: string): string | undefined {
  return response.headers.find(([key]) => key === name)?.[1];
}

type End = 'open' | 'ended' | 'reset';

export class RawConnection {
  readonly #socket: Socket;
  #room: Buffer = Buffer.alloc(0);
  /** What came and was not read: the beginning of `#room`, until an answer is taken off it. */
  #buffer: Buffer = Buffer.alloc(0);
  #end: End = 'open';
  #wake: (() => void)[] = [];
  /** How the other side ended the connection. */
  readonly closed: Promise<'ended' | 'reset'>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data) => {
      this.#append(data);
      this.#tell();
    });
    this.closed = new Promise((resolve) => {
      const end = (how: 'ended' | 'reset') => {
        if (this.#end === 'open') this.#end = how;
        this.#tell();
        resolve(this.#end as 'ended' | 'reset');
      };
      socket.on('end', () => end('ended'));
      socket.on('error', () => end('reset'));
      socket.on('close', () => end('ended'));
    });
  }

  /** `url` is `http://HOST:PORT`. */
  static open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      // Half open, so that the end of the other side is seen apart from ours.
      const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  /** Bytes as Latin-1; resolves when they were handed to the system. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.write(Buffer.from(bytes as string, 'latin1'), () => resolve()));
  }

  /** Bytes that the other side has not taken yet. */
  get unsent(): number {
    return this.#socket.writableLength;
  }

  /** Takes no more bytes from the other side until `resume`. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** What came and was not read. */
  get text(): string {
    return this.#buffer.toString('latin1');
  }

  /** Resolves when `text` has come. Throws when the connection ends before. */
  async until(text: string): Promise<void> {
    while (!this.#buffer.includes(text)) {
      if (this.#end !== 'open') throw new Error(`the connection ${this.#end} without "${text}": ${this.#buffer}`);
      await this.#more();
    }
  }

  /** The next answer; `head`: to a HEAD request. Throws when the connection ends before its head has come. */
  async response({ head = false } = {}): Promise<RawResponse> {
    for (;;) {
      const blank = this.#buffer.indexOf('\r\n\r\n');
      if (blank >= 0) return this.#read(blank, head);
      if (this.#end !== 'open') throw new Error(`the connection ${this.#end} without an answer: ${this.#buffer}`);
      await this.#more();
    }
  }

  /** What came after the answers that were read. */
  get rest(): string {
    return this.#buffer.toString('latin1');
  }

  /** Goes away without a word. */
  /** Closes this side and goes on reading. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Goes away with a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  async #read(blank: number, head: boolean): Promise<RawResponse> {
    const lines = this.#buffer.subarray(0, blank).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(lines[0]!)?.[1]);
    const headers = lines.slice(1).map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
    const start = blank + 4;
    const value = (name: string) => headers.find(([key]) => key === name)?.[1];
    const length = value('content-length');
    let body: Buffer = Buffer.alloc(0);
    let end = start;
    let complete = true;
    if (head || status === 204 || status === 304 || status < 200) {
      // No body whatever the head says.
    } else if (value('transfer-encoding')?.toLowerCase() === 'chunked') {
      ({ body, end, complete } = await this.#chunks(start));
    } else {
      const wanted = length === undefined ? Number.POSITIVE_INFINITY : Number(length);
      while (this.#buffer.length - start < wanted && this.#end === 'open') await this.#more();
      end = Math.min(this.#buffer.length, start + wanted);
      body = this.#buffer.subarray(start, end);
      complete = length === undefined ? this.#end === 'ended' : body.length === wanted;
    }
    const raw = this.#buffer.subarray(0, end);
    this.#buffer = this.#buffer.subarray(end);
    return { status, headers, body, complete, raw };
  }

  async #chunks(start: number): Promise<{ body: Buffer; end: number; complete: boolean }> {
    const pieces: Buffer[] = [];
    let at = start;
    for (;;) {
      const line = this.#buffer.indexOf('\r\n', at);
      const size = line < 0 ? null : Number.parseInt(this.#buffer.subarray(at, line).toString('latin1'), 16);
      // The last chunk is followed by trailers and an empty line.
      const end =
        size === null ? -1 : size === 0 ? this.#buffer.indexOf('\r\n\r\n', line - 2) + 4 : line + 2 + size + 2;
      if (size === null || end < 4 || end > this.#buffer.length) {
        if (this.#end !== 'open') return { body: Buffer.concat(pieces), end: this.#buffer.length, complete: false };
        await this.#more();
        continue;
      }
      if (size === 0) return { body: Buffer.concat(pieces), end, complete: true };
      pieces.push(this.#buffer.subarray(line + 2, line + 2 + size));
      at = end;
    }
  }

  /** Room is doubled when it runs out, so that a large answer is not copied for each of its pieces. */
  #append(data: Buffer): void {
    const used = this.#buffer.length;
    if (used + data.length > this.#room.length) {
      const room = Buffer.alloc(2 * (used + data.length));
      this.#buffer.copy(room);
      this.#room = room;
    } else if (this.#buffer.byteOffset !== this.#room.byteOffset) {
      this.#room = Buffer.alloc(2 * (used + data.length));
      this.#buffer.copy(this.#room);
    }
    data.copy(this.#room, used);
    this.#buffer = this.#room.subarray(0, used + data.length);
  }

  #more(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Sends one request on a connection of its own and reads the answer. */
export async function exchangeRaw(
  url: string,
  request: string,
  options: { head?: boolean } = {},
): Promise<RawResponse> {
  const connection = await RawConnection.open(url);
  try {
    await connection.write(request);
    return await connection.response(options);
  } finally {
    connection.destroy();
  }
}
