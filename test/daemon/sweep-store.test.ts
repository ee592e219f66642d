import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sweepStore } from '../../daemon/sweep-store.ts';
import { openContentStore } from '../../images/store/index.ts';

const DAY_S = 86_400;

test('of the store are kept what revisions are made from, its source maps, and what is young', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-sweep-'));
  try {
    const blobs = await openContentStore(folder);
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
      await sweepStore(
        blobs,
        { artifacts: (onCorrupt) => artifacts(() => onCorrupt('', null as never)) },
        { sourceMaps },
      );
      return (await blobs.list()).map(({ digest }) => digest).sort();
    };
    const unreadable = await kept((onCorrupt) => {
      onCorrupt();
      return new Set();
    });
    assert.is(unreadable.length, 5, 'a revision that cannot be read may be made from any of them');
    assert.equal(await kept(() => new Set([component])), [component, map, young].sort());
    assert.equal(asked, [[component]]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('what an image is made from stays, and so does everything while the record of one cannot be read', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-sweep-'));
  try {
    const blobs = await openContentStore(folder);
    const layer = (await blobs.putBytes(Buffer.from('a layer'))).digest;
    const other = (await blobs.putBytes(Buffer.from('a layer of a removed image'))).digest;
    for (const digest of [layer, other]) utimesSync(blobs.path(digest), 1, 1);
    const nothing = { artifacts: () => new Set<string>(), sourceMaps: () => [] };
    const damaged = (onUnreadable: () => void) => {
      onUnreadable();
      return new Set<string>();
    };
    await sweepStore(blobs, nothing, nothing, { blobs: damaged });
    assert.is((await blobs.list()).length, 2);
    await sweepStore(blobs, nothing, nothing, { blobs: () => new Set([layer]) });
    assert.equal(
      (await blobs.list()).map(({ digest }) => digest),
      [layer],
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
