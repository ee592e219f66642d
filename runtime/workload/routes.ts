/** Routes of workloads: `[HOST]/PATH`, PATH exact or ending in `/*`. */
import type { RouteEntry } from '../snapshot.ts';

export function splitRoute(route: string): { host: string; path: string } {
  const slash = route.indexOf('/');
  return { host: route.slice(0, slash), path: route.slice(slash) };
}

/** The routes that each workload has by itself. */
export function defaultRoutes(name: string): { host: string; path: string } {
  return { host: `${name}.localhost/*`, path: `/${name}/*` };
}

/** The default routes, then the workload's own. */
export function routesOf(name: string, own: readonly string[]): RouteEntry[] {
  const { host, path } = defaultRoutes(name);
  return [
    { route: host, workload: name, stripPrefix: '' },
    { route: path, workload: name, stripPrefix: `/${name}` },
    ...own.map((route) => ({ route, workload: name, stripPrefix: '' })),
  ];
}

/**
 * What a route claims. `/a` and `/a/` are other paths, but `/a/*` covers `/a` as well: both forms are one claim, so that
 * nobody takes the root of another's prefix.
 */
export function routeKey(route: string): string {
  const { host, path } = splitRoute(route);
  return `${host.toLowerCase()}${path.endsWith('/*') && path !== '/*' ? path.slice(0, -2) : path}`;
}

export function previewHost(workload: string, revision: string): string {
  return `${revision}--${workload}.localhost`;
}

const PREVIEW = /^([0-9a-f]{12})--([a-z0-9-]{1,63})\.localhost$/;

export function parsePreviewHost(host: string): { revision: string; workload: string } | null {
  const match = PREVIEW.exec(host);
  return match ? { revision: match[1] as string, workload: match[2] as string } : null;
}
