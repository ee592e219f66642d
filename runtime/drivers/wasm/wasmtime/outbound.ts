/** An outbound request of a guest on the native engine. Its other half is native/wasm/src/{outgoing,answers}.rs. */
import type { EgressErrorKind, EgressRequest, EgressTimeouts } from '../../../egress/egress.ts';
import type { FlatHeaders } from '../../../exchange.ts';
import type { GuestEnd, OutboundStart } from '../outbound-request.ts';
import { flag, type NativeEvent, packHeaders } from './events.ts';
import { type NativeEngine, pushed } from './library.ts';

/** What the event says that began the call. */
export function outboundStart({ head, flags, body }: NativeEvent): OutboundStart {
  return { head: parseHead(head), first: body, whole: (flags & flag.end) !== 0 };
}

export class NativeGuestEnd implements GuestEnd {
  readonly #native: NativeEngine;
  readonly #slot: number;
  /** The number of the guest's call. */
  readonly #call: number;

  constructor(native: NativeEngine, slot: number, call: number) {
    this.#native = native;
    this.#slot = slot;
    this.#call = call;
  }

  head(status: number, headers: FlatHeaders): void {
    this.#native.outboundHead(this.#slot, this.#call, status, packHeaders(headers));
  }

  chunk(data: Uint8Array): 'taken' | 'full' | 'unwanted' {
    const outcome = this.#native.outboundPush(this.#slot, this.#call, data);
    if (outcome === pushed.full) return 'full';
    return outcome === pushed.unwanted ? 'unwanted' : 'taken';
  }

  end(trailers: FlatHeaders | null): void {
    this.#native.outboundEnd(this.#slot, this.#call, trailers === null ? '' : packHeaders(trailers));
  }

  fail(kind: EgressErrorKind): void {
    this.#native.outboundFail(this.#slot, this.#call, kind);
  }

  taken(bytes: number): void {
    this.#native.outboundTaken(this.#slot, this.#call, bytes);
  }

  unwanted(): void {
    this.#native.outboundUnwanted(this.#slot, this.#call);
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
