/** Who may call the admin API over TCP: the holder of the token, by the right host, not a web page of another origin. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { gatewayErrors } from '../errors.ts';

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

const LOCAL_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);

/** `host` and `port` are those of the listener; a name that points here by DNS (rebinding) is not one of ours. */
export function adminGuard(token: string, host: string, port: () => number): MiddlewareHandler {
  const names = new Set([...LOCAL_NAMES, host.includes(':') ? `[${host}]` : host]);
  const expected = digest(token);
  return async (c, next) => {
    const authority = c.req.header('host') ?? '';
    const [, name = '', given = '80'] = /^(.*?)(?::(\d+))?$/.exec(authority.toLowerCase()) ?? [];
    if (!names.has(name) || Number(given) !== port()) throw gatewayErrors.FORBIDDEN_HOST('the Host is not its own');
    const origin = c.req.header('origin');
    if (origin !== undefined && origin !== `http://${authority}`) {
      throw gatewayErrors.FORBIDDEN_HOST('the Origin is another one');
    }
    const [scheme, credentials] = (c.req.header('authorization') ?? '').split(' ', 2);
    const right = timingSafeEqual(digest(credentials ?? ''), expected);
    if (scheme?.toLowerCase() !== 'bearer' || !right) throw gatewayErrors.UNAUTHORIZED();
    await next();
  };
}
