/** The whole way of an image, from a file to a process that runs in it. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLayerStore } from '../../images/layers/index.ts';
import {
  type ArchiveReference,
  ImageCatalog,
  importImage,
  type LayoutReference,
  openImageSource,
  parseReference,
} from '../../images/oci/index.ts';
import { openContentStore } from '../../images/store/index.ts';
import { openStateStore } from '../../runtime/state/index.ts';
import { busyboxLayer, LayoutBuilder, layerOf, skopeo } from '../support/image-builder.ts';
import { file } from '../support/tar-writer.ts';
import { range } from '../support/unpacking.ts';

async function imported(folder: string, reference: string) {
  const state = await openStateStore(join(folder, 'state'));
  const store = await openContentStore(join(folder, 'content'));
  const layers = await openLayerStore(join(folder, 'layers'), { range });
  const catalog = new ImageCatalog(state);
  const parsed = parseReference(reference) as LayoutReference | ArchiveReference;
  const { record, config } = await importImage(await openImageSource(parsed), store);
  await catalog.put('app:latest', record);
  const paths: string[] = [];
  for (const { digest, diffId } of catalog.get('app:latest')!.layers) {
    const { path } = await store.open(digest);
    paths.unshift((await layers.unpack(path, diffId)).path);
  }
  await state.close();
  return { config, paths };
}

async function runs(form: (layout: LayoutBuilder, folder: string) => string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-image-'));
  const merged = join(folder, 'merged');
  try {
    const layout = new LayoutBuilder(join(folder, 'layout'));
    const change = layerOf([file('etc/greeting', 'hello from the upper layer\n'), file('bin/.wh.ls')]);
    const config = {
      Entrypoint: ['/bin/sh', '-c'],
      Cmd: ['cat /etc/greeting; echo $HOME; test -e /bin/ls || echo no ls'],
      Env: ['HOME=/srv'],
    };
    layout.image([busyboxLayer(), change], 'v1', config);
    const image = await imported(folder, form(layout, folder));
    mkdirSync(merged);
    const options = `userxattr,lowerdir=${image.paths.join(':')}`;
    assert.is(spawnSync('mount', ['-t', 'overlay', '-o', options, 'overlay', merged]).status, 0);
    const env = Object.fromEntries(image.config!.env.map((entry) => entry.split('=')));
    const run = spawnSync('chroot', [merged, ...image.config!.argv], { env: { ...env, PATH: '/bin:/usr/sbin' } });
    assert.match(`${run.stdout}`, /^hello from the upper layer\n\/srv\nno ls\n$/, `${run.stderr}`);
  } finally {
    spawnSync('umount', [merged]);
    rmSync(folder, { recursive: true, force: true });
  }
}

const forms: Record<string, (layout: LayoutBuilder, folder: string) => string> = {
  'an image layout': (layout) => `oci:${layout.folder}:v1`,
  'an archive of one': (layout, folder) => `oci:${layout.archive(join(folder, 'image.tar'))}:v1`,
  'an archive in the form of docker save': (layout, folder) => {
    const archive = `docker-archive:${join(folder, 'docker.tar')}`;
    skopeo('copy', '--quiet', `oci:${layout.folder}:v1`, archive);
    return archive;
  },
};

if (process.geteuid!() === 0)
  for (const [name, form] of Object.entries(forms)) test(`busybox runs from ${name}`, () => runs(form));
else console.log('skipped: containers from images, since only root unpacks them');

test.run();
