/** The node's own registry: its parts over the node's stores, its listener, and its certificate. */
import type { CertificateReload } from '../gateway/listener/certificate.ts';
import {
  Bearers,
  Guard,
  listenRegistry,
  makeRegistryApp,
  PullThrough,
  type RegistryListener,
  Repositories,
  Tokens,
  Uploads,
} from '../images/registry/index.ts';
import type { ContentStore } from '../images/store/index.ts';
import type { StateStore } from '../runtime/state/index.ts';
import { isLoopback, orListenError, parseAddress } from './address.ts';
import { certificateOf, followCertificate } from './certificate.ts';
import type { Settings } from './config.ts';
import { daemonErrors } from './errors.ts';
import type { ImageTrust } from './image-trust.ts';
import type { Logger } from './log.ts';
import type { Privileges } from './privileges.ts';
import type { RemoteAccess } from './remote-access.ts';
import type { Undo } from './undo.ts';
import { upstreamsOf } from './upstreams.ts';

/** How often uploads that nothing comes for are looked for, in milliseconds. */
const EXPIRE_EVERY_MS = 600_000;

export interface RegistryService {
  /** Also without a listener: what was pushed is there. */
  readonly repositories: Repositories;
  readonly tokens: Tokens;
}

export function registryOf(state: StateStore, blobs: ContentStore): RegistryService {
  return { repositories: new Repositories(state, blobs), tokens: new Tokens(state) };
}

/** Throws REGISTRY_NOT_LOOPBACK. */
export function checkRegistry(settings: Settings): void {
  if (settings.registry === 'off' || settings['registry-tls-cert'] !== undefined) return;
  if (!isLoopback(settings.registry)) throw daemonErrors.REGISTRY_NOT_LOOPBACK(settings.registry);
}

export interface OpenRegistry {
  readonly url: string;
  readonly certificate: CertificateReload | null;
}

/** Null when it is switched off. Requests under way have `graceMs` when the node stops. */
export async function openRegistry(
  settings: Settings,
  { repositories, tokens }: RegistryService,
  {
    blobs,
    key,
    log,
    undo,
    graceMs,
    privileges,
    trust,
    remote,
  }: {
    blobs: ContentStore;
    key: Uint8Array;
    log: Logger;
    undo: Undo;
    graceMs: number;
    privileges: Privileges;
    trust: Pick<ImageTrust, 'admitTags'>;
    remote: RemoteAccess;
  },
): Promise<OpenRegistry | null> {
  if (settings.registry === 'off') return null;
  const pattern = settings['registry-anonymous-pull'];
  const bearers = new Bearers(key, tokens, pattern === undefined ? [] : [{ pattern, actions: ['pull'] }]);
  const uploads = await Uploads.open(blobs);
  undo.add(() => uploads.close());
  const expire = () => void uploads.expire().catch((error) => log.warn({ err: error }, 'old uploads stay'));
  const timer = setInterval(expire, EXPIRE_EVERY_MS).unref();
  undo.add(() => clearInterval(timer));
  expire();
  const upstreams = await upstreamsOf(settings, privileges.files, remote);
  const pullThrough =
    upstreams.length === 0
      ? null
      : await PullThrough.open({
          ...{ upstreams, repositories, blobs },
          checkRoom: (bytes) => uploads.checkRoom(bytes),
          log: (message, error) => log.warn({ err: error }, `registry: ${message}`),
        });
  if (pullThrough) undo.add(() => pullThrough.close());
  let listener: RegistryListener | null = null;
  const guard = new Guard(bearers, () => listener?.url ?? 'http://localhost');
  const app = makeRegistryApp({
    repositories,
    blobs,
    uploads,
    guard,
    admitTags: (...manifest) => trust.admitTags(...manifest),
    pullThrough,
    tokens,
    bearers,
    log: (message, error) => log.error({ err: error }, `registry: ${message}`),
  });
  const certificate = await certificateOf(
    settings['registry-tls-cert'],
    settings['registry-tls-key'],
    privileges.files,
  );
  const where = parseAddress(settings.registry)!;
  const opened = await orListenError(
    'registry',
    settings.registry,
    privileges
      .bind(where.host, where.port)
      .then((at) => listenRegistry(app, { at, pair: certificate?.current ?? null })),
  );
  listener = opened;
  undo.add(() => opened.close(graceMs));
  return { url: opened.url, certificate: certificate && followCertificate('registry', certificate, opened, log, undo) };
}

/** Each way that the registry may be called from this machine. */
export function hostsOf(registry: OpenRegistry | null): readonly string[] {
  if (!registry) return [];
  const { hostname, port } = new URL(registry.url);
  const everywhere = hostname === '0.0.0.0' || hostname === '[::]';
  const names = everywhere
    ? ['localhost', '127.0.0.1', '[::1]']
    : isLoopback(`${hostname}:${port}`)
      ? ['localhost', hostname]
      : [hostname];
  return names.map((name) => `${name}:${port}`);
}
