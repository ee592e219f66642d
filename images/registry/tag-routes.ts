import type { Hono } from 'hono';
import { allows } from './auth/scope.ts';
import type { RegistryEnv, RegistryParts } from './context.ts';
import { registryErrors } from './errors.ts';
import { page } from './pages.ts';

export function tagRoutes(app: Hono<RegistryEnv>, { repositories, guard }: RegistryParts): void {
  app.get('/v2/_catalog', (c) => {
    const caller = guard.caller(c, 'registry:catalog:*');
    if (caller.name === null) throw registryErrors.DENIED('a list of the repositories');
    const names = repositories.names().filter((name) => allows(caller.grants, name, 'pull'));
    return c.json({ repositories: page(c, names) });
  });

  app.get('/v2/:name{.+}/tags/list', (c) => {
    const name = c.req.param('name');
    guard.require(c, name, 'pull');
    if (!repositories.has(name)) throw registryErrors.NAME_UNKNOWN(name);
    return c.json({
      name,
      tags: page(
        c,
        repositories.tags(name).map(({ tag }) => tag),
      ),
    });
  });
}
