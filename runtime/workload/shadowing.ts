/**
 * Routes that take requests from another workload's default routes. They are accepted, since the most specific route
 * wins by design, but nobody wrote the default ones down: whoever looks at either workload is told.
 */
import { defaultRoutes, splitRoute } from './routes.ts';

export interface Shadowing {
  /** The more specific route, and whose it is. */
  readonly route: string;
  readonly owner: string;
  /** The default route that it lies in, and whose that is. */
  readonly shadowed: string;
  readonly of: string;
}

interface Routed {
  readonly name: string;
  readonly routes: readonly string[];
}

const DEFAULT_HOST = /^([^.]+)\.localhost$/;

/** By the names of the two workloads of each. */
export function shadowingsOf(workloads: readonly Routed[]): Map<string, Shadowing[]> {
  const names = new Set(workloads.map(({ name }) => name));
  const found = new Map<string, Shadowing[]>();
  for (const { name: owner, routes } of workloads) {
    for (const route of routes) {
      const within = defaultAround(route, names);
      if (!within || within.of === owner) continue;
      const shadowing = { route, owner, ...within };
      for (const name of [owner, within.of]) found.set(name, [...(found.get(name) ?? []), shadowing]);
    }
  }
  return found;
}

/**
 * The default route, of one of `names`, whose requests the route takes: the one of its host, else the one of its path. A
 * route for all paths of a host of its own (`example.com/*`) is there to take what comes to that host, and shadows nothing.
 */
function defaultAround(route: string, names: ReadonlySet<string>): Pick<Shadowing, 'shadowed' | 'of'> | null {
  const { host, path } = splitRoute(route);
  const byHost = DEFAULT_HOST.exec(host)?.[1];
  if (byHost !== undefined && names.has(byHost)) return { shadowed: defaultRoutes(byHost).host, of: byHost };
  const byPath = path.split('/')[1] as string;
  return names.has(byPath) ? { shadowed: defaultRoutes(byPath).path, of: byPath } : null;
}
