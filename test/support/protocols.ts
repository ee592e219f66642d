/** The protocols of the gateway, each with a client, so that one test in words runs over all of them. */
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { Readable, Writable } from 'node:stream';
import type { Certificate } from '../../gateway/listener/certificate.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';
import { makeCertificate } from './certificates.ts';

export interface Ask {
  readonly method?: string;
  readonly path: string;
  /** Host and port that the client names. */
  readonly host?: string;
  readonly headers?: FlatHeaders;
  /** Undefined: none. `'open'`: `write` and `end` give it. */
  readonly body?: string | Uint8Array | 'open';
}

export interface Head {
  readonly status: number;
  /** Names in lower case, in the order received. */
  readonly headers: FlatHeaders;
}

export interface Answer extends Head {
  readonly body: Buffer;
  readonly trailers: FlatHeaders;
}

/** One request under way. */
export interface Asked {
  /** 1xx answers other than 100, as they come. */
  readonly informational: Head[];
  /** Resolves when the node asks for the body with 100. */
  readonly continued: Promise<void>;
  /** Resolves with the head; rejects when there is none. Does not read the body. */
  readonly head: Promise<Head>;
  /** What comes of the answer's body; paused until it is read. */
  body(): Promise<Readable>;
  /** Reads the whole answer; rejects when it breaks off. */
  answer(): Promise<Answer>;
  /** Resolves when there is room for more. */
  write(piece: string | Uint8Array): Promise<void>;
  /** Bytes written that the other side has not taken. */
  readonly unsent: number;
  end(trailers?: FlatHeaders): void;
  /** Leaves: resets the stream, or the connection where there are none. */
  leave(): void;
}

export interface Client {
  ask(ask: Ask): Asked;
  close(): void;
}

export interface Protocol {
  readonly name: string;
  readonly http2: boolean;
  readonly certificate: Certificate | undefined;
  /** One connection at a time. */
  connect(url: string): Client;
}

/** The values of a header, in order. */
export function values(flat: FlatHeaders, name: string): string[] {
  return flat.filter((_, i) => i % 2 === 1 && flat[i - 1] === name);
}

function lower(raw: readonly string[]): FlatHeaders {
  return raw.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text));
}

function grouped(flat: FlatHeaders): Record<string, string[]> {
  const named: Record<string, string[]> = {};
  for (let i = 0; i < flat.length; i += 2) {
    named[flat[i]!] ??= [];
    named[flat[i]!]!.push(flat[i + 1]!);
  }
  return named;
}

function writeWithRoom(stream: Writable, piece: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (stream.write(piece)) return resolve();
    const done = () => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

async function readAll(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

class Http1Asked implements Asked {
  readonly informational: Head[] = [];
  readonly continued: Promise<void>;
  readonly head: Promise<Head>;
  readonly #request: ClientRequest;
  readonly #response: Promise<IncomingMessage>;

  constructor(request: ClientRequest, body: Ask['body']) {
    this.#request = request;
    request.on('information', ({ statusCode, rawHeaders }) =>
      this.informational.push({ status: statusCode, headers: lower(rawHeaders) }),
    );
    this.continued = new Promise((resolve) => request.once('continue', resolve));
    this.#response = new Promise((resolve, reject) => {
      request.once('response', resolve).once('error', reject);
    });
    request.on('error', () => {});
    this.head = this.#response.then(({ statusCode, rawHeaders }) => ({
      status: statusCode!,
      headers: lower(rawHeaders),
    }));
    this.head.catch(() => {});
    if (body === 'open') request.flushHeaders();
    else request.end(body);
  }

  async body(): Promise<Readable> {
    return this.#response;
  }

  async answer(): Promise<Answer> {
    const response = await this.#response;
    const body = await readAll(response);
    return { ...(await this.head), body, trailers: lower(response.rawTrailers) };
  }

  write(piece: string | Uint8Array): Promise<void> {
    return writeWithRoom(this.#request, piece);
  }

  get unsent(): number {
    return this.#request.writableLength;
  }

  end(trailers?: FlatHeaders): void {
    if (trailers) {
      const pairs = Object.entries(grouped(trailers)).flatMap(([name, all]) => all.map((each) => [name, each]));
      this.#request.addTrailers(pairs as [string, string][]);
    }
    this.#request.end();
  }

  leave(): void {
    this.#request.destroy();
  }
}

class Http1Client implements Client {
  readonly #url: URL;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #hop: FlatHeaders;

  /** `hop`: headers for the gateway alone, with each request. */
  constructor(url: string, hop: FlatHeaders) {
    this.#url = new URL(url);
    this.#hop = hop;
    const options = { keepAlive: true, maxSockets: 1, rejectUnauthorized: false };
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
  }

  ask({ method, path, host = 'a', headers = [], body }: Ask): Asked {
    const send = this.#url.protocol === 'https:' ? requestHttps : requestHttp;
    const fallback = body === undefined ? 'GET' : 'POST';
    const { hostname, port } = this.#url;
    const all = ['host', host, ...headers, ...this.#hop];
    if (body !== undefined && body !== 'open' && values(headers, 'content-length').length === 0) {
      all.push('content-length', String(Buffer.byteLength(body)));
    }
    const options = { hostname, port, path, method: method ?? fallback, agent: this.#agent, setHost: false };
    return new Http1Asked(send({ ...options, headers: all as unknown as Record<string, string> }), body);
  }

  close(): void {
    this.#agent.destroy();
  }
}

class Http2Asked implements Asked {
  readonly informational: Head[] = [];
  readonly continued: Promise<void>;
  readonly head: Promise<Head>;
  readonly #stream: ClientHttp2Stream;
  #trailers: FlatHeaders = [];
  #wanted: FlatHeaders = [];
  #error: Error | null = null;

  constructor(stream: ClientHttp2Stream, body: Ask['body']) {
    this.#stream = stream;
    const on = stream.on.bind(stream) as (event: string, listener: (...given: unknown[]) => void) => void;
    const head = (raw: string[]): Head => ({ status: Number(raw[1]), headers: raw.slice(2) });
    this.continued = new Promise((resolve) => {
      on('headers', (_headers, _flags, raw) => {
        const { status, headers } = head(raw as string[]);
        if (status === 100) resolve();
        else this.informational.push({ status, headers });
      });
    });
    on('trailers', (_headers, _flags, raw) => {
      this.#trailers = raw as string[];
    });
    on('wantTrailers', () => stream.sendTrailers(grouped(this.#wanted)));
    this.head = new Promise((resolve, reject) => {
      on('response', (_headers, _flags, raw) => resolve(head(raw as string[])));
      stream.once('error', reject);
      stream.once('close', () => reject(new Error('closed without an answer')));
    });
    this.head.catch(() => {});
    stream.on('error', (error) => {
      this.#error = error;
    });
    if (body !== undefined && body !== 'open') stream.end(body);
  }

  async body(): Promise<Readable> {
    await this.head;
    return this.#stream;
  }

  async answer(): Promise<Answer> {
    const head = await this.head;
    const body = await readAll(this.#stream);
    if (this.#error) throw this.#error;
    return { ...head, body, trailers: this.#trailers };
  }

  write(piece: string | Uint8Array): Promise<void> {
    return writeWithRoom(this.#stream, piece);
  }

  get unsent(): number {
    return this.#stream.writableLength;
  }

  end(trailers?: FlatHeaders): void {
    this.#wanted = trailers ?? [];
    this.#stream.end();
  }

  leave(): void {
    // CANCEL (RFC 9113, 7).
    this.#stream.close(8);
  }
}

class Http2Client implements Client {
  readonly #session: ClientHttp2Session;

  constructor(url: string) {
    this.#session = connect(url, { rejectUnauthorized: false });
    this.#session.on('error', () => {});
  }

  ask({ method, path, host = 'a', headers = [], body }: Ask): Asked {
    const fallback = body === undefined ? 'GET' : 'POST';
    const named = {
      ...grouped(headers),
      ':method': method ?? fallback,
      ':path': path,
      ':authority': host,
    };
    const options = { endStream: body === undefined, waitForTrailers: body === 'open' };
    return new Http2Asked(this.#session.request(named, options), body);
  }

  close(): void {
    this.#session.destroy();
  }
}

const pair = makeCertificate();
const certificate: Certificate = {
  cert: Buffer.from(pair.cert),
  key: Buffer.from(pair.key),
  expires: Number.POSITIVE_INFINITY,
  fingerprint: '',
};
const http1 = (url: string) => new Http1Client(url, []);
/** `TE` is for a neighbour, and none of a simple request's headers. */
const http1ByNode = (url: string) => new Http1Client(url, ['te', 'trailers']);
const http2 = (url: string) => new Http2Client(url);

export const PROTOCOLS: readonly Protocol[] = [
  { name: 'HTTP/1.1', http2: false, certificate: undefined, connect: http1 },
  { name: 'HTTP/1.1 by Node', http2: false, certificate: undefined, connect: http1ByNode },
  { name: 'HTTP/2', http2: true, certificate: undefined, connect: http2 },
  { name: 'HTTP/1.1 over TLS', http2: false, certificate, connect: http1 },
  { name: 'HTTP/2 over TLS', http2: true, certificate, connect: http2 },
];
