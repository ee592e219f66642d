/** Who may do what: every path under /v2/ asks here first. https://distribution.github.io/distribution/spec/auth/token/ */
import type { Context } from 'hono';
import { isRepository } from '../../oci/index.ts';
import { registryErrors } from '../errors.ts';
import { type Bearers, type Caller, mayDo } from './bearer.ts';
import { type Action, allows } from './scope.ts';

const SERVICE = 'skerry';

/** A host and perhaps a port, and nothing that could end the quotes around it. */
const authorityGrammar = /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

export class Guard {
  readonly #bearers: Bearers;
  readonly #baseUrl: () => string;

  /** @param baseUrl of the listener: where a client is sent that does not say which host it asks */
  constructor(bearers: Bearers, baseUrl: () => string) {
    this.#bearers = bearers;
    this.#baseUrl = baseUrl;
  }

  /** Anybody with a good bearer token. Throws UNAUTHORIZED, with the challenge in the answer's head. */
  caller(c: Context, scope: string | null): Caller {
    const header = c.req.header('authorization');
    if (header === undefined) throw this.#challenge(c, scope, '', 'no credentials were shown');
    const [scheme = '', credentials = ''] = header.split(' ', 2);
    const caller = scheme.toLowerCase() === 'bearer' ? this.#bearers.verify(credentials) : null;
    if (!caller)
      throw this.#challenge(c, scope, 'invalid_token', 'what was shown is no bearer token that is valid here and now');
    return caller;
  }

  /** Throws UNAUTHORIZED, NAME_INVALID, DENIED. */
  require(c: Context, repository: string, action: Action): Caller {
    const named = isRepository(repository);
    const wanted = action === 'push' ? 'pull,push' : action;
    const scope = named ? `repository:${repository}:${wanted}` : null;
    const caller = this.caller(c, scope);
    if (!named) throw registryErrors.NAME_INVALID(repository);
    if (mayDo(caller, repository, action)) return caller;
    // Another bearer token of the same holder, or of somebody with a name, would do.
    if (caller.name === null || allows(caller.grants, repository, action))
      throw this.#challenge(
        c,
        scope,
        'insufficient_scope',
        `the bearer token was not issued for ${action} in ${repository}`,
      );
    throw registryErrors.DENIED(`${action} in ${repository}`);
  }

  #challenge(c: Context, scope: string | null, error: string, why: string) {
    const host = c.req.header('host') ?? '';
    const base = authorityGrammar.test(host) ? `${new URL(this.#baseUrl()).protocol}//${host}` : this.#baseUrl();
    const parameters = [`realm="${base}/token"`, `service="${SERVICE}"`];
    if (scope !== null) parameters.push(`scope="${scope}"`);
    if (error !== '') parameters.push(`error="${error}"`);
    c.header('www-authenticate', `Bearer ${parameters.join(',')}`);
    return registryErrors.UNAUTHORIZED(why);
  }
}
