/** One outbound request of a guest: what its engine says of it, for the client, and what the client says, for the guest. */
import type { EgressCall, EgressErrorKind, EgressReply, EgressRequest, EgressSession } from '../../egress/egress.ts';
import { withoutUserinfo } from '../../egress/host.ts';
import type { FlatHeaders } from '../../exchange.ts';
import { OutboundBody } from './outbound-body.ts';

/** The guest's end of the request, on the other side of its engine. Nothing is said to it behind `end` or `fail`. */
export interface GuestEnd {
  head(status: number, headers: FlatHeaders): void;
  /** `full`: it was taken, and the next piece shall wait for `resume`; `unwanted`: the guest wants no more. */
  chunk(data: Uint8Array): 'taken' | 'full' | 'unwanted';
  end(trailers: FlatHeaders | null): void;
  fail(kind: EgressErrorKind): void;
  /** So many bytes of the request's body were taken. */
  taken(bytes: number): void;
  /** No more of the request's body is taken. */
  unwanted(): void;
}

/** What begins a request: its head, and its body as far as the guest has written it. */
export interface OutboundStart {
  readonly head: Omit<EgressRequest, 'body'>;
  readonly first: Uint8Array | null;
  /** `first` is all of it. */
  readonly whole: boolean;
}

export class OutboundRequest implements EgressReply {
  /** Null when the request has none. */
  readonly body: OutboundBody | null;
  readonly #guest: GuestEnd;
  readonly #request: EgressRequest;
  readonly #note: (text: string) => void;
  readonly #onOver: () => void;
  #sent: EgressCall | null = null;
  /** Nothing more is said to the guest: what it is known by may be another one's by now. */
  #over = false;

  /** `note` takes lines for the function's log; `onOver` is called when nothing more comes of the request. */
  constructor(start: OutboundStart, guest: GuestEnd, note: (text: string) => void, onOver: () => void) {
    this.#guest = guest;
    this.#note = note;
    this.#onOver = onOver;
    this.body = start.whole && start.first === null ? null : this.#bodyOf(start);
    this.#request = { ...start.head, body: this.body };
  }

  send(session: EgressSession): void {
    this.#sent = session.send(this.#request, this);
  }

  /** The guest has room again. */
  resume(): void {
    this.#sent?.resume();
  }

  /** The guest wants no answer any more. */
  cancel(): void {
    this.#end();
    this.#sent?.cancel();
  }

  head(status: number, headers: FlatHeaders): void {
    this.#guest.head(status, headers);
  }

  chunk(data: Uint8Array): void {
    if (data.byteLength === 0) return;
    const outcome = this.#guest.chunk(data);
    if (outcome === 'full') this.#sent?.pause();
    else if (outcome === 'unwanted') this.cancel();
  }

  end(trailers: FlatHeaders | null): void {
    this.#end();
    this.#guest.end(trailers);
  }

  /** The guest is told the kind alone: what there is to know beside it is for its developer. */
  error(kind: EgressErrorKind, detail: string): void {
    this.#end();
    this.#guest.fail(kind);
    const { method, scheme, authority } = this.#request;
    this.#note(`${method} ${scheme}://${withoutUserinfo(authority)} failed: ${detail} [${kind}]`);
  }

  #end(): void {
    this.#over = true;
    this.#onOver();
  }

  #bodyOf({ first, whole }: OutboundStart): OutboundBody {
    const body = new OutboundBody(
      whole ? (first?.byteLength ?? 0) : null,
      (bytes) => {
        if (!this.#over) this.#guest.taken(bytes);
      },
      () => {
        if (!this.#over) this.#guest.unwanted();
      },
    );
    body.take(first, whole);
    return body;
  }
}
