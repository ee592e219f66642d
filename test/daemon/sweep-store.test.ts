import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sweepStore } from '../../daemon/sweep-store.ts';
import { ImageCatalog, type ImageRecord } from '../../images/oci/index.ts';
import { Repositories } from '../../images/registry/index.ts';
import { digestOf, openContentStore } from '../../images/store/index.ts';
import { openStateStore } from '../../runtime/state/index.ts';

const DAY_S = 86_400;

test('of the store are kept what revisions are made from, its source maps, and what is young', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-sweep-'));
  const state = await openStateStore(join(folder, 'state'), { onCorrupt: () => {} });
  const images = new ImageCatalog(state);
  try {
    const blobs = await openContentStore(join(folder, 'content'));
    const put = async (text: string, ageS: number) => {
      const { digest } = await blobs.putBytes(Buffer.from(text));
      const time = Date.now() / 1000 - ageS;
      utimesSync(blobs.path(digest), time, time);
      return digest;
    };
    const component = await put('a component', DAY_S);
    const map = await put('its source map', DAY_S);
    const young = await put('an upload', 60);
    await put('a component of a removed workload', DAY_S);
    await put('its source map, too', DAY_S);
    const asked: string[][] = [];
    const sourceMaps = (components: ReadonlySet<string>) => {
      asked.push([...components]);
      return [map];
    };
    const kept = async (artifacts: (onCorrupt: () => void) => Set<string>) => {
      await sweepStore({
        blobs,
        desired: { artifacts: (onCorrupt) => artifacts(() => onCorrupt('', null as never)) },
        builds: { sourceMaps },
        images,
        repositories: new Repositories(state, blobs),
      });
      return (await blobs.list()).map(({ digest }) => digest).sort();
    };
    const unreadable = await kept((onCorrupt) => {
      onCorrupt();
      return new Set();
    });
    assert.is(unreadable.length, 5, 'a revision that cannot be read may be made from any of them');
    assert.equal(await kept(() => new Set([component])), [component, map, young].sort());
    assert.equal(asked.at(-1), [component]);
  } finally {
    await state.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('of images are kept those with a name, those deployed, and young ones; the rest goes, record and all', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-sweep-'));
  const state = await openStateStore(join(folder, 'state'), { onCorrupt: () => {} });
  const images = new ImageCatalog(state);
  try {
    const blobs = await openContentStore(join(folder, 'content'));
    const image = async (text: string, importedMs: number): Promise<ImageRecord> => {
      const put = async (part: string) => {
        const { digest } = await blobs.putBytes(Buffer.from(`${part} of ${text}`));
        const old = Date.now() / 1000 - DAY_S;
        utimesSync(blobs.path(digest), old, old);
        return { digest, size: 1 };
      };
      const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json', ...(await put('manifest')) };
      const layer = {
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        ...(await put('layer')),
        diffId: digestOf(Buffer.from(text)),
      };
      const platform = { os: 'linux', architecture: 'amd64', variant: null };
      return { manifest, root: manifest.digest, config: await put('config'), layers: [layer], platform, importedMs };
    };
    const old = Date.now() - DAY_S * 1000;
    const named = await image('named', old);
    const deployed = await image('deployed', old);
    const young = await image('young', Date.now());
    const gone = await image('gone', old);
    await images.put('app:1', named);
    for (const each of [deployed, young, gone]) await images.put(each.manifest.digest, each);
    const artifacts = () => new Set([deployed.manifest.digest]);
    const damaged = {
      list: (tell?: (key: string, error: never) => void) => {
        tell?.('', null as never);
        return [];
      },
      delete: () => assert.unreachable(),
    };
    const builds = { sourceMaps: () => [] };
    const sources = { blobs, desired: { artifacts }, builds, images, repositories: new Repositories(state, blobs) };
    await sweepStore({ ...sources, images: damaged as never });
    assert.is((await blobs.list()).length, 12, 'an image that cannot be read may be made from any of them');
    const told = await sweepStore(sources, { dryRun: true });
    const swept = await sweepStore(sources);
    assert.equal([swept.blobs, swept], [3, told], 'a dry run tells what will be done');
    const left = images.list().map(({ name }) => name);
    assert.equal(left.sort(), ['app:1', deployed.manifest.digest, young.manifest.digest].sort());
    const parts = [named, deployed, young].flatMap((each) => [each.manifest, each.config, ...each.layers]);
    assert.equal((await blobs.list()).map(({ digest }) => digest).sort(), parts.map(({ digest }) => digest).sort());
  } finally {
    await state.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
