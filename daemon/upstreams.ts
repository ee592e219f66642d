/** The registries that the node's own one fetches from, and who the node is to them. */
import { z } from 'zod';
import type { FileAccess } from '../gateway/listener/certificate.ts';
import type { Upstream } from '../images/registry/index.ts';
import { Credentials, Transport } from '../images/remote/index.ts';
import type { Settings } from './config.ts';
import { parseUpstreams } from './config-schema.ts';
import { daemonErrors } from './errors.ts';
import type { RemoteAccess } from './remote-access.ts';

const authSchema = z.object({ auths: z.record(z.string(), z.object({ auth: z.string() })) });

/** Until an upstream takes a connection, in milliseconds. */
const CONNECT_MS = 5000;

/** Throws UPSTREAM_AUTH, which does not quote what is there. */
export async function upstreamsOf(settings: Settings, files: FileAccess, access: RemoteAccess): Promise<Upstream[]> {
  const upstreams = parseUpstreams(settings['registry-upstream'] ?? '') ?? [];
  const file = settings['registry-upstream-auth'];
  const known = file === undefined ? new Map<string, Credentials>() : await readCredentials(file, files);
  return upstreams.map(({ prefix, url }) => ({
    prefix,
    // Without TLS only where the setting says so.
    transport: new Transport({
      ...access,
      registry: url.host,
      url: url.origin,
      insecure: false,
      connectMs: CONNECT_MS,
    }),
    credentials: known.get(url.host) ?? null,
  }));
}

async function readCredentials(file: string, files: FileAccess): Promise<Map<string, Credentials>> {
  const bytes = await files.read(file).catch((error) => {
    throw daemonErrors.UPSTREAM_AUTH(file, (error as NodeJS.ErrnoException).code ?? 'it cannot be read');
  });
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString());
  } catch {
    throw daemonErrors.UPSTREAM_AUTH(file, 'it is not JSON');
  }
  const parsed = authSchema.safeParse(json);
  if (!parsed.success) throw daemonErrors.UPSTREAM_AUTH(file, 'auths is not what docker writes');
  return new Map(
    Object.entries(parsed.data.auths).map(([name, { auth }]) => {
      const [, username, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(auth, 'base64').toString()) ?? [];
      const credentials = Credentials.safeParse({ username, password });
      if (!credentials.success)
        throw daemonErrors.UPSTREAM_AUTH(
          file,
          `what is there for ${name.slice(0, 100)} is not USER:PASSWORD in base64`,
        );
      return [name.replace(/^https?:\/\//, '').replace(/\/.*$/, ''), credentials.data] as const;
    }),
  );
}
