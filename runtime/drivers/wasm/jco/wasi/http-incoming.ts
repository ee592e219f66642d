/** wasi:http/types: the request that came in, and bodies that come in with their trailers. */

import type { RequestHead } from '../protocol.ts';
import type { BodyStream } from './body-stream.ts';
import { currentRunOrNull } from './current-run.ts';
import { Handle } from './handle.ts';
import { Fields } from './http-fields.ts';
import { InputStream, Pollable } from './io.ts';

export type Method = { tag: string; val?: string };

const methods = new Set(['get', 'head', 'post', 'put', 'delete', 'connect', 'options', 'trace', 'patch']);

export class IncomingRequest extends Handle {
  readonly #head: RequestHead;
  readonly #body: BodyStream;
  #consumed = false;

  constructor(head: RequestHead, body: BodyStream) {
    super();
    this.#head = head;
    this.#body = body;
  }

  method(): Method {
    // Methods are case-sensitive (RFC 9110, section 9.1): "get" is another one.
    const name = this.#head.method;
    const tag = name.toLowerCase();
    return methods.has(tag) && name === name.toUpperCase() ? { tag } : { tag: 'other', val: name };
  }

  pathWithQuery(): string | undefined {
    return this.#head.target;
  }

  scheme(): Method | undefined {
    return { tag: this.#head.scheme === 'https' ? 'HTTPS' : 'HTTP' };
  }

  authority(): string {
    // HTTP/1.0 may leave it out; a component must have one (the native engine says the same: native/wasm/src/head.rs).
    return this.#head.authority || 'localhost';
  }

  headers(): Fields {
    return Fields.received(this.#head.headers);
  }

  consume(): IncomingBody {
    if (this.#consumed) throw undefined;
    this.#consumed = true;
    return new IncomingBody(this.#body);
  }

  protected override closed(): void {
    if (!this.#consumed) this.#body.discard();
  }
}

export class IncomingBody extends Handle {
  readonly #body: BodyStream;
  #taken = false;
  #finished = false;

  constructor(body: BodyStream) {
    super();
    this.#body = body;
  }

  stream(): InputStream {
    if (this.#taken) throw undefined;
    this.#taken = true;
    return new InputStream(this.#body);
  }

  static finish(body: IncomingBody): FutureTrailers {
    body.#finished = true;
    body.release();
    return new FutureTrailers(body.#body);
  }

  protected override closed(): void {
    if (!this.#finished) this.#body.discard();
  }
}

export class FutureTrailers extends Handle {
  readonly #body: BodyStream;
  #taken = false;

  constructor(body: BodyStream) {
    super();
    this.#body = body;
  }

  subscribe(): Pollable {
    const body = this.#body;
    return new Pollable({ ready: () => body.over });
  }

  get(): unknown {
    currentRunOrNull()?.receive();
    if (!this.#body.over) return undefined;
    if (this.#taken) return { tag: 'err', val: undefined };
    this.#taken = true;
    const { broken } = this.#body;
    if (broken) return { tag: 'ok', val: { tag: 'err', val: broken.code } };
    const flat = this.#body.trailers;
    return { tag: 'ok', val: { tag: 'ok', val: flat ? Fields.received(flat) : undefined } };
  }

  protected override closed(): void {
    this.#body.discard();
  }
}
