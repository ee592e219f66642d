/** One outbound request of a guest: what the native engine says of it, for the client, and what the client says, for the guest. */
import type {
  EgressCall,
  EgressErrorKind,
  EgressReply,
  EgressRequest,
  EgressSession,
  EgressTimeouts,
} from '../../../egress/egress.ts';
import type { FlatHeaders } from '../../../exchange.ts';
import { flag, type NativeEvent, packHeaders } from './events.ts';
import { type NativeEngine, pushed } from './library.ts';
import { OutboundBody } from './outbound-body.ts';

export class OutboundRequest implements EgressReply {
  /** Null when the request has none. */
  readonly body: OutboundBody | null;
  readonly #native: NativeEngine;
  readonly #slot: number;
  /** The number of the guest's call. */
  readonly #call: number;
  readonly #request: EgressRequest;
  readonly #note: (text: string) => void;
  readonly #onOver: () => void;
  #sent: EgressCall | null = null;
  /** Nothing more is said to the guest: its slot may be another request's by now. */
  #over = false;

  /** `event` began the call; `note` takes lines for the function's log; `onOver` is called when nothing more comes of it. */
  constructor(
    native: NativeEngine,
    slot: number,
    event: NativeEvent,
    note: (text: string) => void,
    onOver: () => void,
  ) {
    this.#native = native;
    this.#slot = slot;
    this.#call = event.status;
    this.#note = note;
    this.#onOver = onOver;
    const whole = (event.flags & flag.end) !== 0;
    this.body = whole && event.body === null ? null : this.#bodyOf(event.body, whole);
    this.#request = { ...parseHead(event.head), body: this.body };
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
    this.#native.outboundHead(this.#slot, this.#call, status, packHeaders(headers));
  }

  chunk(data: Uint8Array): void {
    if (data.byteLength === 0) return;
    const outcome = this.#native.outboundPush(this.#slot, this.#call, data);
    if (outcome === pushed.full) this.#sent?.pause();
    else if (outcome === pushed.unwanted) this.cancel();
  }

  end(trailers: FlatHeaders | null): void {
    this.#end();
    this.#native.outboundEnd(this.#slot, this.#call, trailers === null ? '' : packHeaders(trailers));
  }

  /** The guest is told the kind alone: what there is to know beside it is for its developer. */
  error(kind: EgressErrorKind, detail: string): void {
    this.#end();
    this.#native.outboundFail(this.#slot, this.#call, kind);
    const { method, scheme, authority } = this.#request;
    this.#note(`${method} ${scheme}://${authority} failed: ${detail} [${kind}]`);
  }

  #end(): void {
    this.#over = true;
    this.#onOver();
  }

  #bodyOf(first: Buffer | null, whole: boolean): OutboundBody {
    const body = new OutboundBody(
      whole ? (first?.byteLength ?? 0) : null,
      (bytes) => {
        if (!this.#over) this.#native.outboundTaken(this.#slot, this.#call, bytes);
      },
      () => {
        if (!this.#over) this.#native.outboundUnwanted(this.#slot, this.#call);
      },
    );
    body.take(first, whole);
    return body;
  }
}

/** As native/wasm/src/outgoing.rs packs it. */
function parseHead(packed: string): Omit<EgressRequest, 'body'> {
  const [connect, firstByte, betweenBytes, scheme, method, authority, target, ...headers] = packed.split('\n');
  const timeouts: EgressTimeouts = {
    connectMs: milliseconds(connect),
    firstByteMs: milliseconds(firstByte),
    betweenBytesMs: milliseconds(betweenBytes),
  };
  return {
    method: method!,
    // The engine lets no other one pass.
    scheme: scheme === 'http' ? 'http' : 'https',
    authority: authority!,
    target: target!,
    headers,
    timeouts,
  };
}

function milliseconds(text: string | undefined): number | null {
  return text ? Number(text) : null;
}
