/**
 * Opens connections for workloads: by allow-list, then by the address that is really used. The name is resolved once, and
 * the connection goes to an address that was checked: what the name says a moment later (DNS rebinding) is of no effect.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { AllowList } from './allow-list.ts';
import { EgressFailure } from './failure.ts';
import type { Host } from './host.ts';
import { isInternalName, workloadNamed } from './internal-name.ts';
import { EGRESS_TIMEOUTS } from './limits.ts';
import type { Resolve } from './resolver.ts';
import type { Trust } from './trust.ts';

/** An address that does not answer leaves the others at least this long, in milliseconds. */
const MIN_ATTEMPT_MS = 1000;

export interface ConnectorOptions {
  readonly allow: AllowList;
  readonly resolve: Resolve;
  readonly trust: Trust;
  /** Left out: there are no other workloads. */
  readonly inside?: ConnectInside | undefined;
}

/** A connection to a port of another workload of the node; `signal` ends the attempt. */
export type ConnectInside = (workload: string, port: number, signal: AbortSignal) => Promise<Duplex>;

export interface Destination {
  readonly host: Host;
  readonly port: number;
}

export class Connector {
  readonly #allow: AllowList;
  readonly #resolve: Resolve;
  readonly #trust: Trust;
  readonly #inside: ConnectInside | undefined;

  constructor({ allow, resolve, trust, inside }: ConnectorOptions) {
    this.#allow = allow;
    this.#resolve = resolve;
    this.#trust = trust;
    this.#inside = inside;
  }

  /** Throws HTTP-request-denied when the destination is not on the allow-list. */
  check({ host, port }: Destination): void {
    if (this.#allow.permits(host, port)) return;
    throw new EgressFailure(
      'HTTP-request-denied',
      `${host.name} port ${port} is not on the allow-list of this workload`,
    );
  }

  /**
   * A TCP connection, or one to another workload of the node. Rejects with an EgressFailure, connection-timeout when it takes longer than the connect timeout.
   * `signal` ends the attempt.
   */
  async connect(destination: Destination, signal: AbortSignal): Promise<Duplex> {
    return inTime(signal, (ending) => this.#open(destination, ending));
  }

  /** The same, with TLS over it: the certificate must be good for the host. `alpn` in the order of preference. */
  async connectSecurely(destination: Destination, alpn: readonly string[], signal: AbortSignal): Promise<TLSSocket> {
    return inTime(signal, async (ending) => {
      const socket = await this.#open(destination, ending);
      return this.#secure(socket, destination.host, alpn, ending);
    });
  }

  async #open(destination: Destination, ending: Ending): Promise<Duplex> {
    const { host, port } = destination;
    this.check(destination);
    if (isInternalName(host.name)) {
      const workload = workloadNamed(host.name);
      if (workload === null || !this.#inside)
        throw new EgressFailure('DNS-error', `${host.name} is no workload's name`);
      return this.#inside(workload, port, ending.signal);
    }
    const found = host.isAddress ? [host.name] : await this.#resolve(host.name, ending.signal);
    const addresses = found.filter((address) => this.#allow.permitsAddress(address, port));
    if (addresses.length === 0) throw prohibited(destination, found);
    let last: unknown;
    for (const [index, address] of addresses.entries()) {
      const left = ending.at - performance.now();
      const share = Math.max(MIN_ATTEMPT_MS, left / (addresses.length - index));
      try {
        return await attempt(address, port, Math.min(left, share), ending.signal);
      } catch (error) {
        last = error;
        if (ending.signal.aborted) break;
      }
    }
    throw last;
  }

  #secure(socket: Duplex, host: Host, alpn: readonly string[], { signal }: Ending): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const secure = connectTls({
        socket,
        host: host.name,
        // Server names are names only (RFC 6066, section 3); the certificate is then checked for the address.
        ...(host.isAddress ? {} : { servername: host.name }),
        secureContext: this.#trust(),
        rejectUnauthorized: true,
        ALPNProtocols: [...alpn],
      });
      const abort = () => secure.destroy(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      const settle = (act: () => void) => {
        signal.removeEventListener('abort', abort);
        secure.off('error', onError);
        secure.off('close', onClose);
        act();
      };
      const onError = (error: Error) => settle(() => reject(error));
      const onClose = () =>
        settle(() => reject(new EgressFailure('TLS-protocol-error', 'closed in the TLS handshake')));
      secure.on('error', onError);
      secure.on('close', onClose);
      secure.once('secureConnect', () => settle(() => resolve(secure)));
    });
  }
}

function prohibited({ host, port }: Destination, found: readonly string[]): EgressFailure {
  const where = host.isAddress ? host.name : `${host.name} (${found.join(', ')})`;
  const detail = `${where} is a loopback, private or otherwise special address; allow the address itself with its port ${port}`;
  return new EgressFailure('destination-IP-prohibited', detail);
}

interface Ending {
  readonly signal: AbortSignal;
  /** On the clock of `performance.now()`. */
  readonly at: number;
}

/** Runs `work` until the connect timeout, or until `outer` is aborted. */
async function inTime<T>(outer: AbortSignal, work: (ending: Ending) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timeout = new EgressFailure('connection-timeout', `no connection within ${EGRESS_TIMEOUTS.connect} ms`);
  const timer = setTimeout(() => controller.abort(timeout), EGRESS_TIMEOUTS.connect);
  const abort = () => controller.abort(outer.reason);
  outer.addEventListener('abort', abort, { once: true });
  if (outer.aborted) abort();
  try {
    return await work({ signal: controller.signal, at: performance.now() + EGRESS_TIMEOUTS.connect });
  } finally {
    clearTimeout(timer);
    outer.removeEventListener('abort', abort);
  }
}

/** One connection to one address. */
function attempt(address: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    // An address, so that nothing is resolved again.
    const socket = connectTcp({ host: address, port, noDelay: true, keepAlive: true });
    const settle = (act: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      socket.off('error', onError);
      act();
    };
    const onError = (error: Error) => settle(() => reject(error));
    const give = (reason: unknown) =>
      settle(() => {
        // What it still says is of no interest.
        socket.on('error', () => {});
        socket.destroy();
        reject(reason);
      });
    const abort = () => give(signal.reason);
    const timer = setTimeout(
      () => give(new EgressFailure('connection-timeout', `${address} port ${port} does not answer`)),
      timeoutMs,
    );
    signal.addEventListener('abort', abort, { once: true });
    socket.on('error', onError);
    socket.once('connect', () => settle(() => resolve(socket)));
  });
}
