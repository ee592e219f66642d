/** An Exchange in memory, for tests of what serves exchanges: no socket, no listener. */
import type { BodyReader, BodySource, Exchange, FlatHeaders, ReplySink } from '../../runtime/exchange.ts';

export interface ExchangeInit {
  method?: string;
  scheme?: 'http' | 'https';
  authority?: string;
  target?: string;
  headers?: FlatHeaders;
  /**
   * Null for no body. A string or bytes come as one piece of known length; pieces of an iterable come one by one, as
   * fast as the reader takes them, without a declared length.
   */
  body?: string | Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array> | null;
  /** Trailers of the request. */
  trailers?: FlatHeaders;
  /** Milliseconds from now. */
  deadlineMs?: number;
  /** What it is expected to take, in microseconds. */
  expectedUs?: number;
  /** Bytes of the answer that are taken before `write` says "full"; it throws when called again before `drain()`. */
  replyWindow?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: FlatHeaders;
  readonly body: Buffer;
  readonly trailers: FlatHeaders | null;
  /** It was handed over in one call, so that a listener knows its length. */
  readonly whole: boolean;
}

export interface TestExchange {
  readonly exchange: Exchange;
  /** The answer when it is complete; rejects when the transfer was broken off (`reply.abort`). */
  readonly answer: Promise<Answer>;
  /** Status and headers as soon as they were handed over, body still to come. */
  readonly head: Promise<{ status: number; headers: FlatHeaders }>;
  /** Bytes of the answer's body received so far. */
  readonly received: () => number;
  /** 1xx answers seen. */
  readonly informational: number[];
  /** Bytes of the request's body that were taken so far. */
  readonly sent: () => number;
  /** The client leaves. */
  abort(): void;
  /** Makes room for `replyWindow` more bytes. */
  drain(): void;
}

let serial = 0;

/** The values of a header in an answer, in order. */
export function headerValues(headers: FlatHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]!.toLowerCase() === name.toLowerCase()) values.push(headers[i + 1]!);
  }
  return values;
}

export function makeExchange(init: ExchangeInit = {}): TestExchange {
  const reply = makeReply(init.replyWindow ?? Number.POSITIVE_INFINITY);
  const body = makeBody(init.body ?? null, init.trailers ?? null);
  let aborted = false;
  let onAbort: (() => void) | null = null;
  const exchange: Exchange = {
    id: `test-${process.pid}-${++serial}`,
    method: init.method ?? (body.source ? 'POST' : 'GET'),
    scheme: init.scheme ?? 'http',
    authority: init.authority ?? 'hello.localhost:8080',
    target: init.target ?? '/',
    headers: init.headers ?? [],
    body: body.source,
    reply: reply.sink,
    upgrade: null,
    deadline: performance.now() + (init.deadlineMs ?? 10_000),
    priority: 5,
    expectedUs: init.expectedUs ?? 0,
    get aborted() {
      return aborted;
    },
    onAbort(callback) {
      onAbort = callback;
      if (aborted) callback();
    },
  };
  return {
    exchange,
    answer: reply.answer,
    head: reply.head,
    received: reply.received,
    informational: reply.informational,
    sent: body.sent,
    drain: reply.drain,
    abort() {
      if (aborted) return;
      aborted = true;
      onAbort?.();
    },
  };
}

function makeBody(content: NonNullable<ExchangeInit['body']> | null, trailers: FlatHeaders | null) {
  let sent = 0;
  if (content === null) return { source: null, sent: () => sent };
  const whole = typeof content === 'string' ? Buffer.from(content) : content instanceof Uint8Array ? content : null;
  const pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array> =
    whole === null ? (content as Iterable<Uint8Array>) : whole.byteLength === 0 ? [] : [whole];
  let opened = false;
  let cancelled = false;
  let paused = false;
  let wake: (() => void) | null = null;

  async function pump(reader: BodyReader): Promise<void> {
    try {
      for await (const piece of pieces) {
        while (paused && !cancelled) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        if (cancelled) return;
        sent += piece.byteLength;
        reader.chunk(piece);
      }
    } catch (error) {
      if (!cancelled) reader.error(error as Error);
      return;
    }
    if (!cancelled) reader.end(trailers);
  }

  const source: BodySource = {
    length: whole === null ? null : whole.byteLength,
    open(reader) {
      if (opened) throw new Error('a body was opened twice');
      opened = true;
      void pump(reader);
    },
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      wake?.();
    },
    cancel() {
      cancelled = true;
      wake?.();
    },
  };
  return { source, sent: () => sent };
}

function makeReply(window: number) {
  const chunks: Uint8Array[] = [];
  const informational: number[] = [];
  let status = 0;
  let headers: FlatHeaders = [];
  let started = false;
  let ended = false;
  let received = 0;
  let room = window;
  let full = false;
  let onDrain: (() => void) | null = null;
  let answered!: (answer: Answer) => void;
  let broke!: (reason: Error) => void;
  let headed!: (head: { status: number; headers: FlatHeaders }) => void;
  const answer = new Promise<Answer>((resolve, reject) => {
    answered = resolve;
    broke = reject;
  });
  // A test that expects a failure looks at what `handle` throws and may never look at the answer.
  answer.catch(() => {});
  const head = new Promise<{ status: number; headers: FlatHeaders }>((resolve) => {
    headed = resolve;
  });

  function begin(code: number, fields: FlatHeaders): void {
    if (started) throw new Error('the answer was started twice');
    started = true;
    status = code;
    headers = fields;
    headed({ status, headers });
  }
  function take(chunk: Uint8Array): void {
    // A copy, as a socket would make: the writer may use its memory again.
    chunks.push(Uint8Array.from(chunk));
    received += chunk.byteLength;
    room -= chunk.byteLength;
  }
  function finish(trailers: FlatHeaders | null, whole: boolean): void {
    ended = true;
    answered({ status, headers, body: Buffer.concat(chunks), trailers, whole });
  }

  const sink: ReplySink = {
    get started() {
      return started;
    },
    get ended() {
      return ended;
    },
    informational(code) {
      if (started) throw new Error('a 1xx answer after the final one');
      informational.push(code);
    },
    send(code, fields, body) {
      begin(code, fields);
      if (body) take(body);
      finish(null, true);
    },
    start: begin,
    write(chunk) {
      if (!started || ended) throw new Error('write outside start and end');
      if (full) throw new Error('write before there was room again');
      take(chunk);
      full = room <= 0;
      return !full;
    },
    onDrain(callback) {
      onDrain = callback;
    },
    end(trailers) {
      if (!started || ended) throw new Error('end outside start and end');
      finish(trailers, false);
    },
    abort(reason) {
      ended = true;
      broke(reason);
    },
  };
  return {
    sink,
    answer,
    head,
    informational,
    received: () => received,
    drain() {
      room = window;
      if (!full) return;
      full = false;
      onDrain?.();
    },
  };
}
