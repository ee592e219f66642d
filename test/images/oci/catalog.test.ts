import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ImageCatalog, type ImageRecord } from '../../../images/oci/index.ts';
import { openStateStore, type StateStore } from '../../../runtime/state/index.ts';

const catalogs = suite<{ folder: string; state: StateStore; catalog: ImageCatalog }>('the catalog of images');
catalogs.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-catalog-'));
  context.state = await openStateStore(context.folder);
  context.catalog = new ImageCatalog(context.state);
});
catalogs.after.each(async ({ folder, state }) => {
  await state.close();
  rmSync(folder, { recursive: true, force: true });
});

const image = (name: string, base = 'base'): ImageRecord => ({
  manifest: { mediaType: 'manifest', digest: `manifest ${name}`, size: 1 },
  root: `manifest ${name}`,
  config: { digest: `config ${name}`, size: 1 },
  layers: [base, name].map((layer) => ({ mediaType: 'layer', digest: layer, size: 1, diffId: `diff ${layer}` })),
  platform: { os: 'linux', architecture: 'amd64', variant: null },
  importedMs: 0,
});

catalogs('an image is found by its name, until it is removed or the name is given to another', async ({ catalog }) => {
  assert.is(catalog.get('localhost:5050/app:latest'), null);
  await catalog.put('localhost:5050/app:latest', image('one'));
  assert.equal(catalog.get('localhost:5050/app:latest'), image('one'));
  await catalog.put('localhost:5050/app:latest', image('two'));
  await catalog.put('app:latest', image('three'));
  assert.equal(
    catalog.list().map(({ name, image: { root } }) => [name, root]),
    [
      ['app:latest', 'manifest three'],
      ['localhost:5050/app:latest', 'manifest two'],
    ],
  );
  await catalog.delete('app:latest');
  await catalog.delete('app:latest');
  assert.is(catalog.get('app:latest'), null);
});

catalogs('what images share is kept while one of them is there', async ({ catalog }) => {
  const never = () => assert.unreachable();
  await catalog.put('one:latest', image('one'));
  await catalog.put('two:latest', image('two'));
  await catalog.delete('one:latest');
  assert.equal([...catalog.diffIds(never)].sort(), ['diff base', 'diff two']);
});

catalogs('many changes of one name at once all succeed, and the last one stays', async ({ catalog }) => {
  await Promise.all(Array.from({ length: 20 }, (_, number) => catalog.put('app:latest', image(`${number}`))));
  assert.is(catalog.get('app:latest')!.root, 'manifest 19');
});

catalogs.run();
