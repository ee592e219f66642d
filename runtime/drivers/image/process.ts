/** What a revision of an image says of its process. */
import type { StoredImage } from '../../../images/oci/index.ts';
import { type HealthCheck, parseHealthCheck } from '../../health/health-check.ts';
import type { SecretStore } from '../../secrets/secret-store.ts';
import type { Revision } from '../../workload/revision.ts';

const DEFAULT_PORT = 8080;
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

type Configured = Pick<StoredImage, 'config'>;

/** Arguments of a process take the place of the image's command, behind its entrypoint. */
export function commandOf({ process }: Revision, { config }: Configured): readonly string[] {
  const given = process?.arguments ?? [];
  return given.length === 0 ? config.argv : [...config.entrypoint, ...given];
}

export function portOf({ port }: Pick<Revision, 'port'>, { config }: Configured): number {
  if (port !== undefined) return port;
  const exposed = config.exposedPorts.filter(({ protocol }) => protocol === 'tcp').map((each) => each.port);
  return exposed.length > 0 ? Math.min(...exposed) : DEFAULT_PORT;
}

/** The image's own, then what the revision says, then secrets. Throws SECRET_MISSING, SECRET_UNREADABLE. */
export function environmentOf(
  revision: Revision,
  { config }: Configured,
  secrets: Pick<SecretStore, 'valuesFor'>,
): string[] {
  const port = revision.process ? {} : { PORT: String(portOf(revision, { config })) };
  const own = Object.entries({ ...port, ...revision.env, ...secrets.valuesFor(revision) });
  const path = config.env.some((entry) => entry.startsWith('PATH=')) ? [] : [PATH];
  const named = new Set(own.map(([name]) => name));
  const kept = config.env.filter((entry) => !named.has(entry.slice(0, entry.indexOf('='))));
  return [...path, ...kept, ...own.map(([name, value]) => `${name}=${value}`)];
}

/** A name of a process as a host name, and as a part of an id. */
export function slug(name: string): string {
  const text = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return text
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63)
    .replace(/-+$/, '');
}

/** Of a revision, whose settings were checked. */
export function checkOf(text: string): HealthCheck {
  return parseHealthCheck(text) as HealthCheck;
}
