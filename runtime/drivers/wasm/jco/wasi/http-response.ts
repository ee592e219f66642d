/** wasi:http/types: the answer that a guest makes. */
import type { FlatHeaders } from '../../../../exchange.ts';
import { currentRun } from './current-run.ts';
import { HostTrap } from './failure.ts';
import { Handle } from './handle.ts';
import type { ErrorCode } from './http-error-code.ts';
import { Fields } from './http-fields.ts';
import { type ByteSink, OutputStream } from './io.ts';

/** What takes the bytes of an outgoing body, and its end. */
export interface BodySink extends ByteSink {
  /** Throws an `error-code`. */
  finish(trailers: FlatHeaders | null): void;
  /** The guest has dropped it before its end. */
  unfinished(): void;
}

export class OutgoingBody extends Handle {
  readonly #sink: BodySink;
  #taken = false;
  #finished = false;

  constructor(sink: BodySink) {
    super();
    this.#sink = sink;
  }

  write(): OutputStream {
    if (this.#taken) throw undefined;
    this.#taken = true;
    return new OutputStream(this.#sink);
  }

  static finish(body: OutgoingBody, trailers: Fields | undefined): void {
    body.#finished = true;
    body.release();
    const flat = trailers ? Fields.flat(trailers) : null;
    trailers?.release();
    body.#sink.finish(flat);
  }

  protected override closed(): void {
    if (!this.#finished) this.#sink.unfinished();
  }
}

/** The body of the answer: its end counts only once the answer was given. */
class AnswerBody implements BodySink {
  #finished = false;
  #trailers: FlatHeaders | null = null;
  #given = false;

  ready(): boolean {
    return currentRun().answer.ready();
  }
  room(): number {
    return currentRun().answer.room();
  }
  write(data: Uint8Array): void {
    currentRun().answer.write(data);
  }
  flush(): void {
    currentRun().answer.flush();
  }
  close(): void {}

  finish(trailers: FlatHeaders | null): void {
    this.#finished = true;
    this.#trailers = trailers;
    if (this.#given) currentRun().answer.finish(trailers);
  }

  /** That shows when the guest has returned. */
  unfinished(): void {}

  /** The answer was given: what is finished already ends it. */
  give(): void {
    this.#given = true;
    if (this.#finished) currentRun().answer.finish(this.#trailers);
  }
}

export class OutgoingResponse extends Handle {
  readonly #headers: Fields;
  #status = 200;
  #body: AnswerBody | null = null;

  constructor(headers: Fields) {
    super();
    headers.release();
    this.#headers = Fields.freeze(headers);
    this.charge(Fields.bytes(headers));
  }

  statusCode(): number {
    return this.#status;
  }

  setStatusCode(status: number): void {
    if (status < 100 || status > 999) throw undefined;
    this.#status = status;
  }

  headers(): Fields {
    return Fields.view(this.#headers);
  }

  body(): OutgoingBody {
    if (this.#body) throw undefined;
    this.#body = new AnswerBody();
    return new OutgoingBody(this.#body);
  }

  static give(response: OutgoingResponse): void {
    const run = currentRun();
    response.release();
    const headers = Fields.flat(response.#headers);
    const status = response.#status;
    if (status < 200) throw run.failed({ code: 'FUNCTION_BAD_ANSWER', why: `${status} is not a final status` });
    run.answer.start(status, headers, Fields.contentLength(response.#headers));
    if (response.#body) response.#body.give();
    else run.answer.finish(null);
  }
}

export class ResponseOutparam extends Handle {
  sendInformational(status: number, headers: Fields): void {
    const run = currentRun();
    headers.release();
    if (status < 100 || status > 199 || status === 101 || run.answer.given) {
      throw { tag: 'internal-error', val: 'not an informational status' } satisfies ErrorCode;
    }
    run.answer.informational(status, Fields.flat(headers));
  }

  static set(out: ResponseOutparam, response: { tag: 'ok'; val: OutgoingResponse } | { tag: 'err'; val: ErrorCode }) {
    const run = currentRun();
    out.release();
    if (run.answer.given) throw new HostTrap('the answer was given twice');
    if (response.tag === 'err') throw run.failed({ code: 'FUNCTION_ERROR', why: describe(response.val) });
    OutgoingResponse.give(response.val);
  }
}

/** `internal-error: what it said`; the other codes by their names. */
function describe({ tag, val }: ErrorCode): string {
  const name = tag.toLowerCase();
  return (typeof val === 'string' ? `${name}: ${val.split('\n', 1)[0]}` : name).slice(0, 512);
}
