/** One outbound request of the guest and its answer, while they are under way. */
import type { EgressErrorKind, EgressRequest } from '../../../../egress/egress.ts';
import type { FlatHeaders } from '../../../../exchange.ts';
import { downloadWindow, type OutboundAnswer } from '../guest-call-protocol.ts';
import { BodyStream, type Break } from './body-stream.ts';
import type { Calls } from './calls.ts';
import { type ErrorCode, errorCode } from './http-error-code.ts';
import { ownBuffer } from './pieces.ts';
import type { Upload } from './upload.ts';

export type OutboundHead = Omit<EgressRequest, 'body'>;

/** The request that it comes of is over, or its client has gone. */
const requestOver: Break = { code: errorCode('connection-terminated'), why: 'the request is over' };

export class OutboundCall {
  /** The answer's body. */
  readonly body: BodyStream;
  readonly #calls: Calls;
  readonly #upload: Upload | null;
  readonly #origin: string;
  /** Null once it was sent. */
  #unsent: OutboundHead | null = null;
  /** All of it was handed over. */
  #sentAll = false;
  /** 0 until it was sent. */
  #number = 0;
  #head: { readonly status: number; readonly headers: FlatHeaders } | null = null;
  #error: ErrorCode | null = null;
  /** It takes a place among those that the guest may hold. */
  #held = false;

  /** `origin` is where it goes, as `https://example.com`. */
  constructor(calls: Calls, upload: Upload | null, origin: string) {
    this.#calls = calls;
    this.#origin = origin;
    this.#upload = upload;
    this.body = new BodyStream(
      {
        read: (bytes) => this.#calls.ask(this.#number, { what: 'read', bytes }),
        discarded: (ended) => this.#drop(ended),
        gone: () => (this.#calls.gone ? requestOver : null),
      },
      downloadWindow,
    );
  }

  /** Sends it, or has it refused: that is an outcome like any other. */
  send(head: OutboundHead): void {
    const outcome = this.#calls.admit();
    if (outcome !== 'admitted') return this.refuse(outcome);
    this.#held = true;
    this.#unsent = head;
    // A body that was begun is waited for, so that a small one goes out with its length.
    if (this.#upload === null) this.flush();
    else this.#upload.open(this, this.#calls);
  }

  /** Ends it before it was sent. */
  refuse(kind: EgressErrorKind): void {
    this.#note(kind);
    this.#upload?.unwanted();
  }

  /** The status and headers of the answer; null until they have come. */
  get head(): { readonly status: number; readonly headers: FlatHeaders } | null {
    return this.#head;
  }

  /** Why there is no answer; null when there may be one. */
  get error(): ErrorCode | null {
    return this.#error ?? (this.#head === null && this.#calls.gone ? requestOver.code : null);
  }

  /** Hands over what the guest has written of its body, the first time behind the head. */
  flush(): void {
    if (this.#error !== null || this.#sentAll) return;
    const data = this.#upload?.gather() ?? null;
    const whole = this.#upload?.whole ?? true;
    const transfer = ownBuffer(data);
    const head = this.#unsent;
    this.#sentAll = whole;
    if (head !== null) {
      this.#unsent = null;
      this.#number = this.#calls.open(this);
      this.#calls.ask(this.#number, { what: 'send', head, data, whole }, transfer);
    } else if (this.#number > 0 && (whole || data !== null)) {
      this.#calls.ask(this.#number, { what: 'body', data, whole }, transfer);
    }
  }

  /** The guest has left the body of its request unfinished. */
  breakOff(): void {
    if (this.#error !== null) return;
    if (this.#head !== null) return this.#calls.ask(this.#number, { what: 'broken' });
    this.#fail('HTTP-protocol-error');
    this.#cancel();
  }

  /** The guest holds nothing more of it. */
  drop(): void {
    this.body.discard();
  }

  hear(answer: OutboundAnswer): void {
    switch (answer.what) {
      case 'head':
        this.#head = { status: answer.status, headers: answer.headers };
        return;
      case 'chunk':
        return this.body.push(answer.data);
      case 'end':
        this.body.end(answer.trailers);
        // All of it has come: what is left to read is bounded by the window.
        this.#release();
        return this.#over();
      case 'fail':
        if (this.#head === null) this.#fail(answer.kind);
        else this.body.fail({ code: errorCode(answer.kind), why: answer.kind });
        this.#release();
        return this.#over();
      case 'taken':
        return this.#upload?.taken(answer.bytes);
      case 'unwanted':
        return this.#upload?.unwanted();
    }
  }

  #drop(ended: boolean): void {
    this.#upload?.unwanted();
    if (!ended) this.#cancel();
    this.#release();
  }

  /** There will be no answer. */
  #fail(kind: EgressErrorKind): void {
    this.#note(kind);
    this.#release();
  }

  #note(kind: EgressErrorKind): void {
    this.#error = errorCode(kind);
    this.#calls.failures.note(this.#origin, kind);
  }

  #release(): void {
    if (this.#held) this.#calls.released();
    this.#held = false;
  }

  #cancel(): void {
    this.#unsent = null;
    if (this.#number > 0) this.#calls.ask(this.#number, { what: 'cancel' });
    this.#over();
  }

  #over(): void {
    this.#calls.forget(this.#number);
    this.#upload?.unwanted();
  }
}
