/**
 * Where clients get bearer tokens: `GET /token` with Basic credentials, and `POST /token` of OAuth2.
 * https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/
 */
import type { Context, Hono } from 'hono';
import { isRepository } from '../../oci/index.ts';
import { readBody } from '../body.ts';
import type { RegistryEnv } from '../context.ts';
import { registryErrors } from '../errors.ts';
import { BEARER_SECONDS, type Bearers } from './bearer.ts';
import { type Access, parseRequest } from './scope.ts';
import type { Holder, Tokens } from './tokens.ts';

/** Scopes of one request, beyond which the rest is not looked at: a bearer token with all of them still fits into a head. */
const MAX_SCOPES = 32;
const MAX_FORM_BYTES = 64 * 1024;

export function tokenRoutes(app: Hono<RegistryEnv>, tokens: Tokens, bearers: Bearers): void {
  app.get('/token', (c) => {
    const holder = basicHolder(c, tokens);
    const wanted = scopesOf(c.req.queries('scope') ?? []);
    const token = issue(bearers, holder, wanted);
    return answer(c, { token, access_token: token });
  });

  app.post('/token', async (c) => {
    const form = new URLSearchParams((await readBody(c, MAX_FORM_BYTES)).toString());
    const { holder, refresh } = formHolder(form, tokens);
    const wanted = scopesOf(form.getAll('scope'));
    const scope = wanted.map(({ repository, actions }) => `repository:${repository}:${actions.join(',')}`).join(' ');
    const offline = form.get('access_type') === 'offline' ? { refresh_token: refresh } : {};
    return answer(c, { access_token: issue(bearers, holder, wanted), scope, ...offline });
  });
}

function answer(c: Context, body: object): Response {
  c.header('cache-control', 'no-store');
  return c.json({ ...body, expires_in: BEARER_SECONDS, issued_at: new Date().toISOString() });
}

function issue(bearers: Bearers, holder: Holder | null, wanted: readonly Access[]): string {
  if (!holder && !bearers.anonymous) throw registryErrors.UNAUTHORIZED('this registry serves nobody without a token');
  return bearers.issue(holder, wanted);
}

/** Several in one parameter, with spaces between them, are as good as several parameters. */
function scopesOf(parameters: readonly string[]): Access[] {
  return parameters
    .flatMap((parameter) => parameter.split(' '))
    .slice(0, MAX_SCOPES)
    .flatMap((scope) => parseRequest(scope) ?? [])
    .filter(({ repository }) => isRepository(repository));
}

/** Null when no credentials are shown. Wrong ones are never taken for none. */
function basicHolder(c: Context, tokens: Tokens): Holder | null {
  const header = c.req.header('authorization');
  if (header === undefined) return null;
  const [scheme = '', credentials = ''] = header.split(' ', 2);
  const [, name = '', token = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(credentials, 'base64').toString()) ?? [];
  return known(scheme.toLowerCase() === 'basic' ? tokens.verify(name, token) : null);
}

function formHolder(form: URLSearchParams, tokens: Tokens): { holder: Holder; refresh: string } {
  const field = (name: string) => form.get(name) ?? '';
  if (field('grant_type') === 'password') {
    const refresh = field('password');
    return { holder: known(tokens.verify(field('username'), refresh)), refresh };
  }
  // What was given as such a token is the token itself.
  const refresh = field('grant_type') === 'refresh_token' ? field('refresh_token') : '';
  return { holder: known(tokens.verifyAlone(refresh)), refresh };
}

function known(holder: Holder | null): Holder {
  if (!holder) throw registryErrors.UNAUTHORIZED('there is no such token, or it is another one');
  return holder;
}
