/** Requests to one instance that speaks HTTP/1.1 over connections which its driver makes (containers, microVMs). */
import type { Socket } from 'node:net';
import type { Pool } from 'undici';
import type { Exchange } from '../exchange.ts';
import { proxyErrors } from './errors.ts';
import { Forward } from './forward.ts';
import { PROXY_LIMITS } from './limits.ts';

export interface UpstreamOptions {
  /** What it is called in errors. */
  readonly name: string;
  /** Connections at once. */
  readonly connections: number;
  /** A connection to the instance's port; rejects with the system's error (`code` ECONNREFUSED when nobody listens). */
  connect(): Promise<Socket>;
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #pool: Pool;
  readonly #underway = new Set<Forward>();
  #closed = false;

  private constructor(options: UpstreamOptions, undici: { readonly Pool: typeof Pool }) {
    this.#options = options;
    this.#pool = new undici.Pool('http://instance', {
      connections: options.connections,
      // One request at a time on a connection: none waits behind another or falls with it.
      pipelining: 1,
      maxHeaderSize: PROXY_LIMITS.headBytes,
      keepAliveTimeout: PROXY_LIMITS.keepAliveMs,
      keepAliveMaxTimeout: PROXY_LIMITS.keepAliveMs,
      // An exchange has its own deadline.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (_options, callback) => {
        this.#connect().then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        );
      },
    });
  }

  /** undici is loaded with the first instance that needs it: it costs 100 ms. */
  static async open(options: UpstreamOptions): Promise<Upstream> {
    return new Upstream(options, await import('undici'));
  }

  get inFlight(): number {
    return this.#underway.size;
  }

  /** As `Instance.handle`. */
  handle(exchange: Exchange): Promise<void> {
    if (this.#closed) return Promise.reject(proxyErrors.UPSTREAM_STOPPED(this.#options.name));
    const forward = new Forward(exchange, this.#options.name);
    this.#underway.add(forward);
    forward.start(this.#pool);
    return forward.over.finally(() => this.#underway.delete(forward));
  }

  /** Ends what is under way, and all connections. `why`: the process broke off by itself. */
  async close(why: string | null = null): Promise<void> {
    this.#closed = true;
    const { name } = this.#options;
    for (const forward of this.#underway) {
      forward.fail(why === null ? proxyErrors.UPSTREAM_STOPPED(name) : proxyErrors.UPSTREAM_BROKE_OFF(name, why));
    }
    await this.#pool.destroy();
  }

  /** A connection that was refused carried nothing, so that it is safe to try again. */
  async #connect(): Promise<Socket> {
    const until = performance.now() + PROXY_LIMITS.refusedMs;
    for (let wait: number = PROXY_LIMITS.retryMs; ; wait *= 2) {
      try {
        return await this.#options.connect();
      } catch (error) {
        const refused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
        if (!refused || this.#closed || performance.now() + wait > until) {
          throw proxyErrors.UPSTREAM_REFUSED(this.#options.name, (error as Error).message).because(error);
        }
      }
      await later(wait);
    }
  }
}
