/** Requests to another registry and to where it sends its clients: with time limits, TLS, and an eye on addresses. */
import { type LookupAddress, lookup } from 'node:dns';
import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import { remoteErrors } from './errors.ts';

export interface TransportOptions {
  /** `HOST[:PORT]`, as users name it. */
  readonly registry: string;
  /** Where it is, when that is not what its name says. */
  readonly url?: string;
  /** It is spoken to without TLS, or with a certificate that nobody vouches for. */
  readonly insecure: boolean;
  /** Whom the node trusts. */
  readonly trust: () => SecureContext;
  /** True for an address that is not on the internet; given in its canonical form. */
  readonly isSpecialAddress: (address: string) => boolean;
  /** Until a connection is made, and until an answer begins, in milliseconds. */
  readonly connectMs?: number;
  readonly answerMs?: number;
  /** Of proxies: HTTPS_PROXY, HTTP_PROXY, NO_PROXY. */
  readonly env?: NodeJS.ProcessEnv;
}

export interface Sent {
  readonly method: string;
  readonly headers?: Record<string, string>;
  readonly body?: Dispatcher.DispatchOptions['body'];
  readonly signal: AbortSignal;
}

export type Answer = Dispatcher.ResponseData;

/** What happens to a connection on which nothing moves, in milliseconds. */
const STALL_MS = 60_000;
const CONNECT_MS = 10_000;
const ANSWER_MS = 60_000;
/** Where docker.io is. */
const DOCKER_HUB = 'registry-1.docker.io';

const PROHIBITED = 'SKERRY_PROHIBITED_ADDRESS';

export class Transport {
  readonly registry: string;
  readonly #options: TransportOptions;
  /** Of the registry itself; null until it is known whether it speaks TLS. */
  #base: URL | null;
  readonly #own: Dispatcher;
  readonly #foreign: Dispatcher;
  /** Whether the registry is itself at an address that is not on the internet. */
  #private: Promise<boolean> | null = null;

  constructor(options: TransportOptions) {
    this.registry = options.registry;
    this.#options = options;
    const host = options.registry === 'docker.io' ? DOCKER_HUB : options.registry;
    this.#base =
      options.url === undefined ? (options.insecure ? null : new URL(`https://${host}`)) : new URL(options.url);
    this.#own = this.#agent(options.insecure, false);
    this.#foreign = this.#agent(false, true);
  }

  #agent(unverified: boolean, guarded: boolean): Dispatcher {
    const { trust, connectMs = CONNECT_MS, answerMs = ANSWER_MS, env = process.env } = this.#options;
    // Made when a connection needs it: reading the authorities takes long.
    const connect = {
      timeout: connectMs,
      ...(unverified ? { rejectUnauthorized: false } : {}),
      get secureContext() {
        return unverified ? undefined : trust();
      },
      ...(guarded ? { lookup: this.#guardedLookup } : {}),
    };
    const options: Agent.Options = {
      connect,
      headersTimeout: answerMs,
      bodyTimeout: STALL_MS,
      keepAliveTimeout: 10_000,
      connections: 8,
    };
    const proxied = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'].some((name) => env[name]);
    return proxied ? new EnvHttpProxyAgent(options) : new Agent(options);
  }

  /** Where the registry is; https unless it is insecure and has been found to speak without. */
  async base(signal: AbortSignal): Promise<URL> {
    if (this.#base) return this.#base;
    const secure = new URL(`https://${this.registry}`);
    try {
      const answer = await this.#request(this.#own, secure, '/v2/', { method: 'GET', signal });
      await answer.body.dump();
      this.#base = secure;
    } catch (error) {
      signal.throwIfAborted();
      if (!isTlsFailure(error)) throw this.explain(error);
      this.#base = new URL(`http://${this.registry}`);
    }
    return this.#base;
  }

  /** To a path of the registry. Throws the errors of `explain`, and what `signal` aborts with. */
  async send(path: string, sent: Sent): Promise<Answer> {
    const base = await this.base(sent.signal);
    try {
      return await this.#request(this.#own, base, path, sent);
    } catch (error) {
      sent.signal.throwIfAborted();
      throw this.explain(error);
    }
  }

  /**
   * To where the registry sends its clients: storage of blobs, a server of tokens. Without TLS only if the registry itself is
   * without, and to addresses that are not on the internet only if the registry itself has one. Throws REGISTRY_REDIRECT.
   */
  async sendTo(url: URL, sent: Sent): Promise<Answer> {
    const base = await this.base(sent.signal);
    if (url.origin === base.origin) return this.send(`${url.pathname}${url.search}`, sent);
    const refuse = (why: string) => remoteErrors.REGISTRY_REDIRECT(this.registry, url.origin, why);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && base.protocol === 'http:'))
      throw refuse('which is not secure');
    this.#private ??= isPrivate(base.hostname, this.#options.isSpecialAddress);
    const free = await this.#private;
    const address = url.hostname.replace(/^\[|\]$/g, '');
    const prohibited = refuse('which is an address of its own network');
    if (!free && isIP(address) && this.#options.isSpecialAddress(address)) throw prohibited;
    try {
      return await this.#request(free ? this.#freeForeign() : this.#foreign, url, `${url.pathname}${url.search}`, sent);
    } catch (error) {
      sent.signal.throwIfAborted();
      throw codeOf(error) === PROHIBITED ? prohibited : this.explain(error, url.host);
    }
  }

  #free: Dispatcher | null = null;
  #freeForeign(): Dispatcher {
    this.#free ??= this.#agent(false, false);
    return this.#free;
  }

  #request(
    dispatcher: Dispatcher,
    origin: URL,
    path: string,
    { method, headers, body, signal }: Sent,
  ): Promise<Answer> {
    return dispatcher.request({
      origin: origin.origin,
      path,
      method: method as Dispatcher.HttpMethod,
      headers: { 'user-agent': 'skerry', ...headers },
      body: body ?? null,
      // One of its own: what listens to it goes with the request.
      signal: AbortSignal.any([signal]),
    });
  }

  /** Resolves once, and gives what may be connected to. */
  readonly #guardedLookup = (
    name: string,
    options: object,
    done: (error: Error | null, addresses: LookupAddress[]) => void,
  ): void => {
    lookup(name, { ...options, all: true }, (error, addresses) => {
      if (error) return done(error, []);
      const good = addresses.filter(({ address }) => !this.#options.isSpecialAddress(address));
      if (good.length > 0) done(null, good);
      else done(Object.assign(new Error(`${name} is not on the internet`), { code: PROHIBITED }), []);
    });
  };

  /** What a failed connection means for the user: one of REGISTRY_TIMEOUT, REGISTRY_TLS, REGISTRY_UNREACHABLE. */
  explain(error: unknown, host = this.registry): Error {
    const { connectMs = CONNECT_MS, answerMs = ANSWER_MS } = this.#options;
    const code = codeOf(error);
    if (code === 'UND_ERR_HEADERS_TIMEOUT') return remoteErrors.REGISTRY_TIMEOUT(host, answerMs / 1000).because(error);
    if (code === 'UND_ERR_BODY_TIMEOUT') return remoteErrors.REGISTRY_TIMEOUT(host, STALL_MS / 1000).because(error);
    if (code === 'UND_ERR_CONNECT_TIMEOUT')
      return remoteErrors.REGISTRY_UNREACHABLE(host, `no connection within ${connectMs / 1000} s`).because(error);
    const why = (error as Error).message?.split('\n')[0] || code;
    if (isTlsFailure(error)) return remoteErrors.REGISTRY_TLS(host, short(why)).because(error);
    return remoteErrors.REGISTRY_UNREACHABLE(host, short(why)).because(error);
  }

  async close(): Promise<void> {
    const all = [this.#own, this.#foreign, ...(this.#free ? [this.#free] : [])];
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }
}

function short(why: string): string {
  // OpenSSL's own way of telling things is for its makers.
  return (/SSL routines:[^:]*:([^:]+)/.exec(why)?.[1] ?? why).slice(0, 200);
}

function codeOf(error: unknown): string {
  const { code, errors } = error as { code?: string; errors?: { code?: string }[] };
  return code ?? errors?.[0]?.code ?? '';
}

const tlsCodes =
  /^(?:ERR_SSL_|ERR_TLS_|EPROTO|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA|PATH_LENGTH|HOSTNAME_MISMATCH|INVALID_PURPOSE)/;

function isTlsFailure(error: unknown): boolean {
  return tlsCodes.test(codeOf(error)) || /before secure TLS connection/.test((error as Error).message ?? '');
}

async function isPrivate(hostname: string, isSpecialAddress: (address: string) => boolean): Promise<boolean> {
  const name = hostname.replace(/^\[|\]$/g, '');
  if (isIP(name)) return isSpecialAddress(name);
  return new Promise((resolve) => {
    lookup(name, { all: true }, (error, addresses) =>
      resolve(!error && addresses.length > 0 && addresses.every(({ address }) => isSpecialAddress(address))),
    );
  });
}
