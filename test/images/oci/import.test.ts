import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import {
  type ArchiveReference,
  hostPlatform,
  type ImportedImage,
  type ImportOptions,
  importImage,
  type LayoutReference,
  openImageSource,
  parseReference,
} from '../../../images/oci/index.ts';
import { type ContentStore, openContentStore } from '../../../images/store/index.ts';
import { busyboxLayer, LayoutBuilder, layerOf, skopeo, types } from '../../support/image-builder.ts';
import { file, symlink, tar } from '../../support/tar-writer.ts';

interface Context {
  folder: string;
  store: ContentStore;
  layout: LayoutBuilder;
}

const images = suite<Context>('importing images');
images.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-images-'));
  context.store = await openContentStore(join(context.folder, 'content'));
  context.layout = new LayoutBuilder(join(context.folder, 'layout'));
});
images.after.each(({ folder, store }) => {
  assert.equal(readdirSync(join(store.folder, 'incoming')), [], 'nothing half made is left');
  rmSync(folder, { recursive: true, force: true });
});

async function importFrom({ store }: Context, reference: string, options: ImportOptions = {}) {
  const parsed = parseReference(reference) as LayoutReference | ArchiveReference;
  return importImage(await openImageSource(parsed), store, options);
}

async function refusal(context: Context, reference: string, options: ImportOptions = {}): Promise<SkerryError> {
  let imported: ImportedImage;
  try {
    imported = await importFrom(context, reference, options);
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error(`imported ${imported.record.manifest.digest}`);
}

const refuse = async (context: Context, code: string, what: RegExp, reference = `oci:${context.layout.folder}`) => {
  const error = await refusal(context, reference);
  assert.is(error.code, code, error.stack);
  assert.match(error.message, what);
};

const host = { os: hostPlatform().os, architecture: hostPlatform().architecture };

images('an OCI layout gives a record, a configuration, and every blob of the image', async (context) => {
  const layers = [busyboxLayer(), layerOf([file('a', 'one')], '+zstd'), layerOf([file('b', 'two')], '')];
  const manifest = context.layout.image(layers, undefined, { Cmd: ['/bin/httpd', '-f'] });
  const { record, config } = await importFrom(context, `oci:${context.layout.folder}`);
  assert.equal(record.manifest, manifest);
  assert.is(record.root, manifest.digest);
  assert.equal(
    record.layers.map(({ diffId, mediaType }) => ({ diffId, mediaType })),
    layers.map(({ diffId, mediaType }) => ({ diffId, mediaType })),
  );
  assert.equal(config!.argv, ['/bin/httpd', '-f']);
  assert.equal(
    config!.diffIds,
    layers.map(({ diffId }) => diffId),
  );
  for (const { digest } of [record.manifest, record.config, ...record.layers])
    assert.equal(readFileSync((await context.store.open(digest)).path), readFileSync(context.layout.path(digest)));
});

images('what is there already is not read again, and progress counts it', async (context) => {
  const [base, first, second] = [busyboxLayer(), layerOf([file('a', 'one')]), layerOf([file('a', 'two')])];
  context.layout.image([base, first], 'one');
  context.layout.image([base, second], 'two');
  await importFrom(context, `oci:${context.layout.folder}:one`);
  context.layout.remove(context.layout.blob(base.blob, base.mediaType).digest);
  const reported: number[][] = [];
  const { record } = await importFrom(context, `oci:${context.layout.folder}:two`, {
    progress: (bytes, total) => reported.push([bytes, total]),
  });
  assert.is(record.layers.length, 2);
  const total = base.blob.length + second.blob.length;
  assert.equal(reported.at(-1), [total, total]);
});

images('an archive of a layout is the same image as the folder', async (context) => {
  const { digest } = context.layout.image([layerOf([file('a', 'one')])], 'v1');
  const archive = context.layout.archive(join(context.folder, 'image.tar'));
  for (const reference of [`oci:${archive}`, `oci:${archive}:v1`, `docker-archive:${archive}`])
    assert.is((await importFrom(context, reference)).record.manifest.digest, digest);
});

images('what skopeo writes in the form of docker save is the same layers and configuration', async (context) => {
  const layers = [busyboxLayer(), layerOf([file('a', 'one')])];
  context.layout.image(layers, 'v1', { Entrypoint: ['/bin/sh'], Env: ['A=b'] });
  const archive = join(context.folder, 'docker.tar');
  skopeo('copy', '--quiet', `oci:${context.layout.folder}:v1`, `docker-archive:${archive}:example/app:v1`);
  const { record, config } = await importFrom(context, `docker-archive:${archive}`);
  assert.equal(
    record.layers.map(({ diffId }) => diffId),
    layers.map(({ diffId }) => diffId),
  );
  assert.equal([config!.argv, config!.env], [['/bin/sh'], ['A=b']]);
  for (const { digest } of [record.manifest, record.config, ...record.layers]) await context.store.open(digest);
  const again = await importFrom(context, `docker-archive:${archive}`);
  assert.is(again.record.manifest.digest, record.manifest.digest);
});

/** As docker before version 25 writes it: a layer that is there twice is a link the second time. */
function dockerArchive(context: Context, change: { config?: object; layers?: string[]; images?: number } = {}): string {
  const layer = tar([file('a', 'one')]);
  const { diffId } = layerOf([file('a', 'one')]);
  const config = JSON.stringify({ ...host, rootfs: { type: 'layers', diff_ids: [diffId, diffId] }, ...change.config });
  const image = { Config: 'c.json', RepoTags: ['app:v1'], Layers: change.layers ?? ['1/layer.tar', '2/layer.tar'] };
  const manifest = JSON.stringify(Array.from({ length: change.images ?? 1 }, () => image));
  const path = join(context.folder, 'docker.tar');
  const link = symlink('2/layer.tar', '../1/layer.tar');
  writeFileSync(path, tar([file('1/layer.tar', layer), link, file('c.json', config), file('manifest.json', manifest)]));
  return `docker-archive:${path}`;
}

images('an archive of docker save may hold a layer once for two places', async (context) => {
  assert.is((await importFrom(context, dockerArchive(context))).record.layers.length, 2);
});

images('damaged archives of docker save are refused', async (context) => {
  const cases: [Parameters<typeof dockerArchive>[1], string, RegExp][] = [
    [{ layers: ['1/layer.tar'] }, 'IMAGE_MALFORMED', /2 layers, and its manifest.json 1/],
    [{ layers: ['1/layer.tar', '../../etc/passwd'] }, 'IMAGE_BLOB_MISSING', /etc\/passwd/],
    [{ images: 2 }, 'IMAGE_AMBIGUOUS', /app:v1/],
    [{ images: 0 }, 'IMAGE_NOT_FOUND', /there is no image/],
    [{ config: { architecture: 'vax' } }, 'IMAGE_PLATFORM', /linux\/vax/],
  ];
  for (const [change, code, what] of cases) await refuse(context, code, what, dockerArchive(context, change));
  const reference = dockerArchive(context);
  const path = reference.slice('docker-archive:'.length);
  const bytes = readFileSync(path);
  bytes[600]! ^= 1;
  writeFileSync(path, bytes);
  await refuse(context, 'IMAGE_BLOB_MISMATCH', /other bytes/, reference);
  truncateSync(path, 700);
  await refuse(context, 'IMAGE_SOURCE_UNREADABLE', /cut off/, reference);
  spawnSync('gzip', ['-f', path]);
  await refuse(context, 'IMAGE_SOURCE_UNREADABLE', /gunzip/, `${reference}.gz`);
  writeFileSync(path, 'hello '.repeat(200));
  await refuse(context, 'IMAGE_SOURCE_UNREADABLE', /not a tar archive/, reference);
  writeFileSync(path, tar([file('other', 'x')]));
  await refuse(context, 'IMAGE_SOURCE_UNREADABLE', /neither manifest.json nor oci-layout/, reference);
});

images('of several images one is named by its tag', async (context) => {
  const one = context.layout.image([layerOf([file('a', 'one')])], 'one');
  context.layout.image([layerOf([file('a', 'two')])], 'two');
  const { record } = await importFrom(context, `oci:${context.layout.folder}:one`);
  assert.is(record.manifest.digest, one.digest);
  await refuse(context, 'IMAGE_AMBIGUOUS', /one, two/);
  await refuse(context, 'IMAGE_NOT_FOUND', /what is there: one, two/, `oci:${context.layout.folder}:three`);
});

images('of an image for several platforms the one for this machine is taken', async (context) => {
  const { layout } = context;
  const mine = { ...layout.manifest([layerOf([file('a', 'mine')])]), platform: host };
  const other = {
    ...layout.manifest([layerOf([file('a', 'other')])], { architecture: 'vax' }),
    platform: { os: 'linux', architecture: 'vax' },
  };
  const attestation = { ...layout.manifest([]), platform: { os: 'unknown', architecture: 'unknown' } };
  const index = layout.json(
    { schemaVersion: 2, mediaType: types.index, manifests: [other, attestation, mine] },
    types.index,
  );
  layout.name(index, 'v1');
  const { record } = await importFrom(context, `oci:${layout.folder}:v1`);
  assert.is(record.manifest.digest, mine.digest);
  assert.is(record.root, index.digest);
  const list = 'application/vnd.docker.distribution.manifest.list.v2+json';
  layout.name(layout.json({ schemaVersion: 2, mediaType: list, manifests: [mine] }, list), 'docker');
  assert.is((await importFrom(context, `oci:${layout.folder}:docker`)).record.manifest.digest, mine.digest);
  const arm = await importFrom(context, `oci:${layout.folder}:v1`, {
    platform: { os: 'linux', architecture: 'vax', variant: null },
  });
  assert.is(arm.record.manifest.digest, other.digest);
});

images('the best variant of arm that a machine can run is taken', async (context) => {
  const { layout } = context;
  const variants = ['v5', 'v6', 'v8', 'v7'].map((variant) => ({
    ...layout.manifest([layerOf([file('v', variant)])], { architecture: 'arm', variant }),
    platform: { os: 'linux', architecture: 'arm', variant },
  }));
  layout.name(layout.json({ schemaVersion: 2, manifests: variants }, types.index));
  for (const [variant, best] of [
    ['v7', 3],
    ['v6', 1],
    ['v8', 2],
  ] as const) {
    const platform = { os: 'linux', architecture: 'arm', variant };
    const { record } = await importFrom(context, `oci:${layout.folder}`, { platform });
    assert.is(record.manifest.digest, variants[best]!.digest, variant);
  }
  const { message } = await refusal(context, `oci:${layout.folder}`);
  assert.match(message, 'it offers linux/arm/v5, linux/arm/v6, linux/arm/v8, linux/arm/v7');
});

images('an image for another architecture is refused, and what it is for is said', async (context) => {
  context.layout.name(context.layout.manifest([], { architecture: 'vax' }));
  await refuse(context, 'IMAGE_PLATFORM', new RegExp(`nothing for linux/${host.architecture}.*offers linux/vax`));
});

images('an index that is nested once is searched; one that is nested deep is refused', async (context) => {
  const { layout } = context;
  let nested = { ...layout.manifest([layerOf([file('a', 'x')])]), platform: host } as ReturnType<LayoutBuilder['json']>;
  const { digest } = nested;
  for (let depth = 1; depth <= 6; depth++) {
    nested = layout.json({ schemaVersion: 2, manifests: [nested], annotations: { depth: String(depth) } }, types.index);
    layout.name(nested, `d${depth}`);
  }
  assert.is((await importFrom(context, `oci:${layout.folder}:d2`)).record.manifest.digest, digest);
  await refuse(context, 'IMAGE_MALFORMED', /nested deeper than 4/, `oci:${layout.folder}:d6`);
  const wide = Array.from({ length: 100 }, (_, number) =>
    layout.json({ schemaVersion: 2, manifests: [], annotations: { number: String(number) } }, types.index),
  );
  layout.name(layout.json({ schemaVersion: 2, manifests: wide }, types.index), 'wide');
  await refuse(context, 'IMAGE_MALFORMED', /more than 16 indexes/, `oci:${layout.folder}:wide`);
});

images('a missing layer, manifest or configuration is named', async (context) => {
  const { layout } = context;
  const layer = layerOf([file('a', 'x')]);
  const manifest = layout.image([layer]);
  const { config, layers } = JSON.parse(readFileSync(layout.path(manifest.digest), 'utf8'));
  for (const { digest } of [layers[0], config, manifest]) {
    layout.remove(digest);
    await refuse(context, 'IMAGE_BLOB_MISSING', new RegExp(digest));
  }
});

images('a blob with other bytes or another length than it was said to have is refused', async (context) => {
  const { layout } = context;
  const manifest = layout.image([layerOf([file('a', 'x')])]);
  const { config, layers } = JSON.parse(readFileSync(layout.path(manifest.digest), 'utf8'));
  for (const { digest } of [layers[0], config, manifest]) {
    const whole = readFileSync(layout.path(digest));
    const flipped = Buffer.from(whole);
    flipped[whole.length - 1]! ^= 1;
    for (const [bytes, what] of [
      [flipped, /other bytes than its digest says|not JSON/],
      [whole.subarray(1), new RegExp(`has ${whole.length - 1} bytes`)],
      [Buffer.concat([whole, whole]), /has (more|[0-9]+) bytes/],
    ] as const) {
      writeFileSync(layout.path(digest), bytes);
      await refuse(context, 'IMAGE_BLOB_MISMATCH', what);
    }
    writeFileSync(layout.path(digest), whole);
  }
  await importFrom(context, `oci:${layout.folder}`);
});

images('a manifest with the wrong size of a layer is refused', async (context) => {
  const { layout } = context;
  const { blob, mediaType, diffId } = layerOf([file('a', 'x')]);
  const layer = layout.blob(blob, mediaType);
  const changed = { layers: [{ ...layer, size: layer.size - 1 }] };
  layout.name(layout.manifest([{ blob, mediaType, diffId }], {}, changed));
  await refuse(context, 'IMAGE_BLOB_MISMATCH', /has more bytes/);
});

/** What stands in a manifest or a configuration, and what is said of it. */
const manifests: Record<string, [object, string, RegExp]> = {
  'an unknown type of layer': [
    { layers: [{ mediaType: 'application/x-layer', digest: `sha256:${'0'.repeat(64)}`, size: 1 }] },
    'IMAGE_MALFORMED',
    /1 layers, and its configuration 0/,
  ],
  'an unknown media type': [{ mediaType: 'application/x-manifest' }, 'IMAGE_MALFORMED', /application\/x-manifest/],
  'Docker schema 1': [{ schemaVersion: 1, mediaType: undefined }, 'IMAGE_MEDIA_TYPE', /manifest\.v1\+json/],
  'an index in it': [{ manifests: [] }, 'IMAGE_MALFORMED', /a manifest and an index at once/],
  'a digest that leads elsewhere': [
    { layers: [{ mediaType: types.layer, digest: 'sha256:../../../../etc/passwd', size: 1 }] },
    'IMAGE_MALFORMED',
    /layers\.0\.digest of its manifest/,
  ],
  'a digest of another kind': [
    { layers: [{ mediaType: types.layer, digest: `sha384:${'0'.repeat(96)}`, size: 1 }] },
    'IMAGE_MALFORMED',
    /not a digest of sha256 or sha512/,
  ],
  'a digest that is too short': [
    { layers: [{ mediaType: types.layer, digest: `sha512:${'0'.repeat(64)}`, size: 1 }] },
    'IMAGE_MALFORMED',
    /not a digest of sha256 or sha512/,
  ],
  'a negative size': [
    { layers: [{ mediaType: types.layer, digest: `sha256:${'0'.repeat(64)}`, size: -1 }] },
    'IMAGE_MALFORMED',
    /layers\.0\.size/,
  ],
  'a thousand layers': [
    {
      layers: Array.from({ length: 1000 }, () => ({
        mediaType: types.layer,
        digest: `sha256:${'0'.repeat(64)}`,
        size: 1,
      })),
    },
    'IMAGE_MALFORMED',
    /layers of its manifest/,
  ],
  'no layers at all': [{ layers: undefined }, 'IMAGE_MALFORMED', /layers of its manifest/],
  'a component of an older kind': [
    { config: { mediaType: 'application/vnd.wasm.config.v1+json', digest: `sha256:${'0'.repeat(64)}`, size: 2 } },
    'IMAGE_NOT_A_CONTAINER',
    /vnd\.wasm\.config/,
  ],
  'a huge configuration': [
    { config: { mediaType: types.config, digest: `sha256:${'0'.repeat(64)}`, size: 2 ** 40 } },
    'IMAGE_MALFORMED',
    /configuration has more than/,
  ],
};

for (const [what, [change, code, message]] of Object.entries(manifests))
  images(`a manifest with ${what} is refused with ${code}`, async (context) => {
    context.layout.name(context.layout.manifest([], {}, change));
    await refuse(context, code, message);
  });

images('an unknown type of layer is refused', async (context) => {
  context.layout.image([{ ...layerOf([file('a')]), mediaType: 'application/x-layer' }]);
  await refuse(context, 'IMAGE_MEDIA_TYPE', /layer 1 of .* "application\/x-layer"/);
});

const configurations: Record<string, [object, RegExp]> = {
  'no JSON': ['{' as never, /its configuration is not JSON/],
  'no platform': [{ os: undefined }, /os of its configuration/],
  'other layers than the manifest': [
    { rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] } },
    /0 layers, and its configuration 1/,
  ],
  'a command that is no list': [{ config: { Cmd: 'httpd' } }, /config\.Cmd of its configuration/],
  'a NUL in its command': [{ config: { Cmd: ['a\0b'] } }, /config\.Cmd\.0 of its configuration: it has a NUL/],
  'an environment without a name': [{ config: { Env: ['=b'] } }, /NAME=VALUE/],
  'a port that is none': [{ config: { ExposedPorts: { '99999/tcp': {} } } }, /"99999\/tcp" in ExposedPorts/],
  'a signal that is none': [{ config: { StopSignal: 'rm -rf' } }, /not a signal/],
};

for (const [what, [change, message]] of Object.entries(configurations))
  images(`a configuration with ${what} is refused`, async (context) => {
    const { layout } = context;
    const config = typeof change === 'string' ? { config: layout.blob(change, types.config) } : {};
    layout.name(layout.manifest([], typeof change === 'string' ? {} : change, config));
    await refuse(context, 'IMAGE_MALFORMED', message);
  });

images('all that an image says of how it is run is read', async (context) => {
  const { layout } = context;
  layout.image([], undefined, {
    Entrypoint: ['/bin/app'],
    Cmd: ['--port', '80'],
    Env: ['PATH=/bin', 'EMPTY='],
    User: '1000:50',
    WorkingDir: 'srv',
    ExposedPorts: { '80/tcp': {}, '53/udp': {}, '8080': {} },
    Volumes: { '/data': {} },
    Labels: { maintainer: 'me' },
    StopSignal: 'SIGQUIT',
    Healthcheck: { Test: ['CMD', '/bin/check'], Interval: 5e9, Timeout: 0, Retries: 3 },
  });
  const { config } = await importFrom(context, `oci:${layout.folder}`);
  assert.equal(config, {
    platform: { ...host, variant: null },
    entrypoint: ['/bin/app'],
    command: ['--port', '80'],
    argv: ['/bin/app', '--port', '80'],
    env: ['PATH=/bin', 'EMPTY='],
    user: '1000:50',
    workingDir: '/srv',
    // JSON puts keys that are whole numbers first.
    exposedPorts: [
      { port: 8080, protocol: 'tcp' },
      { port: 80, protocol: 'tcp' },
      { port: 53, protocol: 'udp' },
    ],
    volumes: ['/data'],
    labels: { maintainer: 'me' },
    stopSignal: 'SIGQUIT',
    healthcheck: { test: ['CMD', '/bin/check'], intervalMs: 5000, timeoutMs: null, startPeriodMs: null, retries: 3 },
    diffIds: [],
  });
});

images('an image that says nothing, or null, has no command and is root in /', async (context) => {
  for (const config of [undefined, null, { Cmd: null, Env: null, Entrypoint: null, Healthcheck: null }]) {
    const layout = new LayoutBuilder(join(context.folder, `plain-${typeof config}-${config === null}`));
    layout.name(layout.manifest([], { config }));
    const { argv, user, workingDir, healthcheck } = (await importFrom(context, `oci:${layout.folder}`)).config!;
    assert.equal({ argv, user, workingDir, healthcheck }, { argv: [], user: '', workingDir: '/', healthcheck: null });
  }
});

images('a manifest of more than 4 MiB is refused before it is read', async (context) => {
  const { layout } = context;
  layout.name(layout.manifest([], {}, { annotations: { large: 'x'.repeat(4 * 2 ** 20) } }));
  await refuse(context, 'IMAGE_MALFORMED', /more than 4194304/);
});

images('what is no layout is refused, and so is a damaged one', async (context) => {
  const { folder, layout } = context;
  await refuse(context, 'IMAGE_NOT_FOUND', /nowhere/, `oci:${folder}/nowhere`);
  await refuse(context, 'IMAGE_NOT_FOUND', /there is no image/);
  await refuse(context, 'IMAGE_SOURCE_UNREADABLE', /oci-layout is missing/, `oci:${folder}/content`);
  await refuse(context, 'IMAGE_SOURCE_UNREADABLE', /neither a folder nor a file/, 'oci:/dev/null');
  for (const [name, text, what] of [
    ['index.json', '{"schemaVersion":2,"manifests":"none"}', /manifests of its index.json/],
    ['index.json', '\xff\xfe', /index.json is not JSON/],
    ['index.json', '[]', /its index.json/],
    ['oci-layout', '{"imageLayoutVersion":"2.0.0"}', /imageLayoutVersion/],
  ] as const) {
    writeFileSync(join(layout.folder, name), text, 'latin1');
    await refuse(context, 'IMAGE_MALFORMED', what);
  }
});

images('an image that is larger than the room there is is refused before its layers are read', async (context) => {
  context.layout.image([busyboxLayer()]);
  const { code } = await refusal(context, `oci:${context.layout.folder}`, { maxBytes: 1000 });
  assert.is(code, 'IMAGE_TOO_LARGE');
  assert.equal(await context.store.list(), []);
});

images('an image that is here already needs no room', async (context) => {
  context.layout.image([busyboxLayer()]);
  const reference = `oci:${context.layout.folder}`;
  const { record } = await importFrom(context, reference);
  assert.equal((await importFrom(context, reference, { maxBytes: 0 })).record.manifest, record.manifest);
});

images('an import that is called off ends with the reason', async (context) => {
  context.layout.image([busyboxLayer()]);
  const stop = new AbortController();
  const progress = () => stop.abort(new Error('enough'));
  const options = { signal: stop.signal, progress };
  assert.is((await refusal(context, `oci:${context.layout.folder}`, options)).message, 'enough');
});

images('a layer that is damaged in the store is taken from the image again', async (context) => {
  const { store, layout } = context;
  layout.image([layerOf([file('a', 'x')])]);
  const { record } = await importFrom(context, `oci:${layout.folder}`);
  appendFileSync(store.path(record.layers[0]!.digest), 'x');
  await importFrom(context, `oci:${layout.folder}`);
  await store.open(record.layers[0]!.digest);
});

images.run();
