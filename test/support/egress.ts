/** An egress client in a test: an answer as a promise, a resolver that says what the test wants. */
import type { AddressInfo, Server } from 'node:net';
import { openEgressClient } from '../../runtime/egress/client.ts';
import type {
  EgressCall,
  EgressClient,
  EgressErrorKind,
  EgressRequest,
  EgressSession,
} from '../../runtime/egress/egress.ts';
import { EgressFailure } from '../../runtime/egress/failure.ts';
import { systemTrust } from '../../runtime/egress/trust.ts';
import type { FlatHeaders } from '../../runtime/exchange.ts';

export interface Got {
  readonly status: number;
  readonly headers: FlatHeaders;
  readonly body: Buffer;
  readonly trailers: FlatHeaders | null;
}

/** What a call ended with in place of an answer. */
export class Failed extends Error {
  readonly kind: EgressErrorKind;
  /** What had come before. */
  readonly body: Buffer;

  constructor(kind: EgressErrorKind, detail: string, body: Buffer) {
    super(`${kind}: ${detail}`);
    this.kind = kind;
    this.body = body;
  }
}

export interface Sent {
  readonly call: EgressCall;
  /** Rejects with a `Failed`. */
  readonly answer: Promise<Got>;
  /** Status and headers, as soon as they are there. */
  readonly head: Promise<number>;
  /** Bytes of the body so far. */
  readonly received: () => number;
}

/** `url` is taken apart without being changed, save that it must have a path. */
export function send(session: EgressSession, url: string, init: Partial<EgressRequest> = {}): Sent {
  const [, scheme, authority = '', target = ''] = /^(https?):\/\/([^/?]*)(.*)$/.exec(url) ?? [];
  const request: EgressRequest = {
    method: init.body ? 'POST' : 'GET',
    scheme: scheme as 'http' | 'https',
    authority,
    target,
    headers: [],
    body: null,
    timeouts: { connectMs: null, firstByteMs: null, betweenBytesMs: null },
    ...init,
  };
  const chunks: Uint8Array[] = [];
  let received = 0;
  let head: { status: number; headers: FlatHeaders } | null = null;
  let over = false;
  let call!: EgressCall;
  let onHead!: (status: number) => void;
  const headed = new Promise<number>((resolve) => {
    onHead = resolve;
  });
  const answer = new Promise<Got>((resolve, reject) => {
    const running = () => {
      if (over) throw new Error('a call of the reply after its end');
    };
    call = session.send(request, {
      head(status, headers) {
        running();
        head = { status, headers };
        onHead(status);
      },
      chunk(data) {
        running();
        chunks.push(data);
        received += data.byteLength;
      },
      end(trailers) {
        running();
        over = true;
        if (!head) throw new Error('an end without a head');
        resolve({ ...head, body: Buffer.concat(chunks), trailers });
      },
      error(kind, detail) {
        running();
        over = true;
        reject(new Failed(kind, detail, Buffer.concat(chunks)));
      },
    });
  });
  // A test that cancels never looks at it.
  answer.catch(() => {});
  return { call, answer, head: headed, received: () => received };
}

/** Addresses by name; each question takes the next list of the name, and the last one stays. */
export function fakeResolver(names: Record<string, string[][]>) {
  const asked: string[] = [];
  const resolve = async (name: string) => {
    asked.push(name);
    const lists = names[name];
    const found = lists && (lists.length > 1 ? lists.shift() : lists[0]);
    if (!found) throw new EgressFailure('DNS-error', `there is no address for ${name}`);
    return found;
  };
  return { asked, resolve };
}

export interface ClientInit {
  readonly allow?: readonly string[];
  readonly names?: Record<string, string[][]>;
  readonly env?: Record<string, string>;
}

/** A client that trusts what Node does, and `env` in place of the test's environment. */
export function egressClient({ allow = [], names = {}, env = {} }: ClientInit): EgressClient {
  return openEgressClient({ allow, resolve: fakeResolver(names).resolve, trust: systemTrust(env) });
}

/** Listens on a free port of loopback. */
export async function listen(server: Server, host = '127.0.0.1'): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

/** In ten seconds from now. */
export const soon = () => performance.now() + 10_000;
