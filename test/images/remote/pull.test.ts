import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { remoteAccess } from '../../../daemon/remote-access.ts';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { type ImportedImage, importImage, parseReference, type RegistryReference } from '../../../images/oci/index.ts';
import { type RemoteOptions, RemoteSource } from '../../../images/remote/index.ts';
import { type ContentStore, openContentStore } from '../../../images/store/index.ts';
import { DockerRegistry, hasDockerRegistry } from '../../support/docker-registry.ts';
import { busyboxLayer, LayoutBuilder, layerOf, skopeo } from '../../support/image-builder.ts';
import { file } from '../../support/tar-writer.ts';

interface Context {
  registry: DockerRegistry;
  folder: string;
  store: ContentStore;
  layout: LayoutBuilder;
}

const pulls = suite<Context>('pulling from a registry');
pulls.before(async (context) => {
  context.registry = await DockerRegistry.start();
});
pulls.after(({ registry }) => registry.end());
pulls.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-pull-'));
  context.store = await openContentStore(join(context.folder, 'content'));
  context.layout = new LayoutBuilder(join(context.folder, 'layout'));
});
pulls.after.each(({ folder }) => {
  rmSync(folder, { recursive: true, force: true });
});

const push = ({ layout, registry }: Context, tag: string, as = tag, ...options: string[]) =>
  skopeo(
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    ...options,
    `oci:${layout.folder}:${tag}`,
    `docker://${registry.address}/app:${as}`,
  );

async function pull(
  { store, registry }: Context,
  reference: string,
  { signal, insecure = true, ...rest }: Partial<RemoteOptions> & { signal?: AbortSignal } = {},
): Promise<ImportedImage> {
  const parsed = parseReference(reference) as RegistryReference;
  const options = { ...remoteAccess(), credentials: null, insecure, ...rest };
  assert.ok(registry);
  return importImage(new RemoteSource(parsed, options), store, signal ? { signal } : {});
}

async function refusal(...args: Parameters<typeof pull>): Promise<SkerryError> {
  try {
    await pull(...args);
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error('it was pulled');
}

pulls('an image is pulled by tag and by digest, and is the one that was pushed', async (context) => {
  const { layout, registry, store } = context;
  const { digest } = layout.image([busyboxLayer(), layerOf([file('a', 'x')], '+zstd')], 'v1', { Cmd: ['/bin/sh'] });
  push(context, 'v1');
  for (const reference of [`${registry.address}/app:v1`, `${registry.address}/app@${digest}`]) {
    const { record, config } = await pull(context, reference);
    assert.is(record.manifest.digest, digest);
    assert.equal(config!.argv, ['/bin/sh']);
    for (const blob of [record.manifest, record.config, ...record.layers]) await store.open(blob.digest);
  }
});

pulls('only layers that are not there are fetched', async (context) => {
  const { layout, registry, store } = context;
  const [base, first, second] = [busyboxLayer(), layerOf([file('a', 'one')]), layerOf([file('a', 'two')])];
  layout.image([base, first], 'one');
  layout.image([base, second], 'two');
  push(context, 'one');
  push(context, 'two');
  await pull(context, `${registry.address}/app:one`);
  // Where the registry has lost the common layer, nobody can fetch it.
  const { digest } = layout.blob(base.blob, base.mediaType);
  const hex = digest.slice('sha256:'.length);
  rmSync(join(registry.folder, 'data/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data'));
  const { record } = await pull(context, `${registry.address}/app:two`);
  for (const layer of record.layers) await store.open(layer.digest);
});

pulls('an image whose tag moves while it is pulled comes whole: the one that the tag named first', async (context) => {
  const { layout, registry, store } = context;
  const first = layout.image([busyboxLayer(), layerOf([file('a', 'first')])], 'first');
  const second = layout.image([busyboxLayer(), layerOf([file('a', 'second')])], 'second');
  push(context, 'first', 'moving');
  const reference = parseReference(`${registry.address}/app:moving`) as RegistryReference;
  const source = new RemoteSource(reference, { ...remoteAccess(), credentials: null, insecure: true });
  // What the tag names is known by then, and no layer has come.
  const { record } = await importImage(source, store, { kind: () => void push(context, 'second', 'moving') });
  assert.is(record.manifest.digest, first.digest);
  for (const blob of [record.config, ...record.layers]) await store.open(blob.digest);
  assert.is((await pull(context, `${registry.address}/app:moving`)).record.manifest.digest, second.digest);
});

pulls('layers that are not compressed stay so', async (context) => {
  const { layout, registry } = context;
  const { digest } = layout.image([layerOf([file('plain', 'x')], '')], 'plain');
  push(context, 'plain', 'plain', '--preserve-digests');
  const { record } = await pull(context, `${registry.address}/app:plain`);
  assert.is(record.manifest.digest, digest);
  assert.is(record.layers[0]!.digest, record.layers[0]!.diffId);
});

pulls("an image in Docker's own format keeps its digest", async (context) => {
  const { layout, registry } = context;
  layout.image([layerOf([file('docker', 'x')])], 'v2s2', { Env: ['A=b'] });
  push(context, 'v2s2', 'docker', '--format=v2s2');
  const url = `http://${registry.address}/v2/app/manifests/docker`;
  const accept = 'application/vnd.docker.distribution.manifest.v2+json';
  const answer = await fetch(url, { method: 'HEAD', headers: { accept } });
  const { record, config } = await pull(context, `${registry.address}/app:docker`);
  assert.is(record.manifest.digest, answer.headers.get('docker-content-digest'));
  assert.is(record.manifest.mediaType, accept);
  assert.equal(config!.env, ['A=b']);
});

pulls('an image or a registry that is not there is told apart', async (context) => {
  const { registry } = context;
  assert.is((await refusal(context, `${registry.address}/app:never`)).code, 'IMAGE_NOT_FOUND');
  assert.is((await refusal(context, `${registry.address}/never:v1`)).code, 'IMAGE_NOT_FOUND');
  assert.is((await refusal(context, `${registry.address}/app@sha256:${'0'.repeat(64)}`)).code, 'IMAGE_NOT_FOUND');
  assert.is((await refusal(context, 'localhost:1/app')).code, 'REGISTRY_UNREACHABLE');
  assert.is((await refusal(context, 'registry.invalid/app')).code, 'REGISTRY_UNREACHABLE');
});

pulls('a registry without TLS is refused unless it is named as insecure', async (context) => {
  const { code, message } = await refusal(context, `${context.registry.address}/app:v1`, { insecure: false });
  assert.is(code, 'REGISTRY_TLS', message);
});

pulls('a layer that the registry has lost is a failed pull', async (context) => {
  const { layout, registry, store } = context;
  const layer = layerOf([file('lost', 'x')]);
  layout.image([layer], 'lost');
  push(context, 'lost');
  const hex = layout.blob(layer.blob, layer.mediaType).digest.slice('sha256:'.length);
  rmSync(join(registry.folder, 'data/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex), { recursive: true });
  const { code, message } = await refusal(context, `${registry.address}/app:lost`);
  assert.match(code, /^(IMAGE_NOT_FOUND|REGISTRY_FAILED)$/, message);
  assert.equal(await store.list(), []);
});

pulls('a registry that never answers is given up after the time limit, or when the caller goes', async (context) => {
  const server = await serve(() => {});
  try {
    const late = await refusal(context, `${server.address}/app`, { answerMs: 1000 });
    assert.is(late.code, 'REGISTRY_TIMEOUT');
    const stop = new AbortController();
    server.onRequest = () => stop.abort(new Error('the node stops'));
    const stopped = await refusal(context, `${server.address}/app`, { signal: stop.signal });
    assert.is(stopped.message, 'the node stops');
  } finally {
    server.end();
  }
});

pulls('a manifest without end is cut off, and what is no manifest is refused', async (context) => {
  const endless = await serve((request, response) => {
    if (request.url === '/v2/') return response.end('{}');
    response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
    const more = () => {
      while (response.write(' '.repeat(2 ** 20)));
    };
    response.on('drain', more);
    response.on('error', () => {});
    more();
  });
  try {
    const { code } = await refusal(context, `${endless.address}/app`);
    assert.match(code, /^(IMAGE_MALFORMED|REGISTRY_FAILED)$/);
  } finally {
    endless.end();
  }
});

pulls('a layer that grows beyond what its manifest says does not fill the disk', async (context) => {
  const { layout } = context;
  const layer = layerOf([file('a', 'x')]);
  const { digest } = layout.image([layer], 'v1');
  const layerDigest = layout.blob(layer.blob, layer.mediaType).digest;
  let sent = 0;
  const endless = await serve((request, response) => {
    const asked = request.url!.split('/').at(-1)!;
    if (request.url === '/v2/') return response.end('{}');
    if (request.url!.includes('/manifests/')) {
      response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
      return response.end(readFileSync(layout.path(digest)));
    }
    if (asked !== layerDigest) return response.end(readFileSync(layout.path(asked)));
    const more = () => {
      while (response.write(Buffer.alloc(2 ** 20))) sent += 2 ** 20;
    };
    response.on('drain', more);
    response.on('error', () => {});
    more();
  });
  try {
    const { code } = await refusal(context, `${endless.address}/app`);
    assert.match(code, /^(REGISTRY_FAILED|IMAGE_BLOB_MISMATCH)$/);
    assert.ok(sent < 64 * 2 ** 20, `${sent} bytes were taken`);
  } finally {
    endless.end();
  }
});

const logins = suite<Context>('a registry with a login');
logins.before(async (context) => {
  context.registry = await DockerRegistry.start({ login: true });
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-login-'));
  context.store = await openContentStore(join(context.folder, 'content'));
  context.layout = new LayoutBuilder(join(context.folder, 'layout'));
});
logins.after(async ({ registry, folder }) => {
  await registry.end();
  rmSync(folder, { recursive: true, force: true });
});

logins('it is denied without credentials and with wrong ones, and given with the right ones', async (context) => {
  const { registry, layout } = context;
  const { digest } = layout.image([layerOf([file('a', 'x')])], 'v1');
  push(context, 'v1', 'v1', '--dest-creds', 'tester:secret');
  const reference = `${registry.address}/app:v1`;
  for (const credentials of [null, { username: 'tester', password: 'wrong' }, { identityToken: 'x' }]) {
    const refused = await refusal(context, reference, { credentials });
    assert.is(refused.code, 'REGISTRY_DENIED');
    assert.not.match(refused.message, 'wrong');
  }
  const { record } = await pull(context, reference, { credentials: { username: 'tester', password: 'secret' } });
  assert.is(record.manifest.digest, digest);
});

interface FakeRegistry {
  readonly address: string;
  onRequest: () => void;
  end(): void;
}

async function serve(answer: RequestListener): Promise<FakeRegistry> {
  const server: Server = createServer((request, response) => {
    fake.onRequest();
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const fake: FakeRegistry = {
    address: `127.0.0.1:${(server.address() as { port: number }).port}`,
    onRequest: () => {},
    end: () => {
      server.close();
      server.closeAllConnections();
    },
  };
  return fake;
}

if (hasDockerRegistry()) {
  pulls.run();
  logins.run();
} else console.log('skipped: pulling from a registry, since docker-registry is not installed');
