import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type LayerStep, openLayerStore, unpackProblem } from '../../../images/layers/index.ts';
import { layerOf, layerOfTar } from '../../support/image-builder.ts';
import { file, folder, hardLink, symlink, tar } from '../../support/tar-writer.ts';
import { range, Unpacking } from '../../support/unpacking.ts';

const layers = suite<{ unpacking: Unpacking }>('unpacked layers');

layers.before.each(async (context) => {
  context.unpacking = await Unpacking.start();
});
layers.after.each(({ unpacking }) => unpacking.end());

layers('a machine that can unpack layers says so', async () => {
  assert.is(await unpackProblem(), null);
});

layers('files have their content, mode, time, and owner among the ids of containers', async ({ unpacking }) => {
  const files = await unpacking.files([
    folder('./', { mode: 0o750, mtime: 1000 }),
    folder('etc/', { mode: 0o711, mtime: 1_700_000_000, uid: 5 }),
    file('etc/motd', 'welcome\n', { mode: 0o640, uid: 1000, gid: 50, mtime: 1_600_000_000 }),
    file('usr/bin/su', 'x', { mode: 0o4755 }),
    symlink('etc/link', '/etc/shadow'),
    { name: 'pipe', type: '6', mode: 0o600 },
    hardLink('etc/motd2', '/etc/motd'),
  ]);
  const stat = (path: string) => {
    const { mode, uid, gid, mtimeMs } = lstatSync(join(files, path));
    return { mode: mode & 0o7777, uid: uid - range.base, gid: gid - range.base, time: mtimeMs / 1000 };
  };
  assert.equal(stat('.'), { mode: 0o750, uid: 0, gid: 0, time: 1000 });
  assert.equal(stat('etc'), { mode: 0o711, uid: 5, gid: 0, time: 1_700_000_000 });
  assert.equal(stat('etc/motd'), { mode: 0o640, uid: 1000, gid: 50, time: 1_600_000_000 });
  assert.is(readFileSync(join(files, 'etc/motd2'), 'utf8'), 'welcome\n');
  assert.is(lstatSync(join(files, 'etc/motd')).ino, lstatSync(join(files, 'etc/motd2')).ino);
  assert.is(stat('usr/bin/su').mode, 0o4755);
  assert.equal([stat('usr').mode, stat('usr').uid], [0o755, 0], 'a folder that the archive does not name');
  assert.is(readlinkSync(join(files, 'etc/link')), '/etc/shadow', 'a symbolic link points where it wants');
  assert.ok(lstatSync(join(files, 'pipe')).isFIFO());
});

layers('long names, in both forms, are whole, and bytes that are no text stay', async ({ unpacking }) => {
  const long = `${'deep/'.repeat(60)}name`;
  const files = await unpacking.files([
    file('short', 'pax', { pax: { path: long, mtime: '5.5' } }),
    { name: 'L', type: 'L', content: `${long}2\0` },
    file('short', 'gnu'),
    file(Buffer.from([0x66, 0xff]) as never, 'bytes'),
  ]);
  assert.is(readFileSync(join(files, long), 'utf8'), 'pax');
  assert.is(lstatSync(join(files, long)).mtimeMs, 5500);
  assert.is(readFileSync(join(files, `${long}2`), 'utf8'), 'gnu');
  assert.ok(readdirSync(files, { encoding: 'buffer' }).some((name) => name.equals(Buffer.from([0x66, 0xff]))));
});

layers('an archive without its end, as umoci writes it, is whole when its last file is', async ({ unpacking }) => {
  const archive = tar([file('a', 'content')]).subarray(0, 512 + 'content'.length);
  const { path } = await unpacking.unpack(layerOfTar(archive));
  assert.is(readFileSync(join(path, 'a'), 'utf8'), 'content');
  const error = await unpacking.refusal(layerOfTar(archive.subarray(0, -1)));
  assert.match(error.message, 'the archive ends inside it');
});

layers('an entry that comes twice is the last one, and its hard link keeps the first', async ({ unpacking }) => {
  const files = await unpacking.files([file('a', 'one'), hardLink('b', 'a'), file('a', 'two')]);
  assert.is(readFileSync(join(files, 'a'), 'utf8'), 'two');
  assert.is(readFileSync(join(files, 'b'), 'utf8'), 'one');
});

layers('devices below dev are left out', async ({ unpacking }) => {
  const files = await unpacking.files([
    folder('dev/'),
    { name: 'dev/null', type: '3' },
    { name: 'dev/sda', type: '4' },
  ]);
  assert.equal(readdirSync(join(files, 'dev')), []);
});

layers('gzip, zstd and plain archives give the same layer, unpacked once', async ({ unpacking }) => {
  const entries = [file('a', 'content')];
  const forms = [layerOf(entries, '+gzip'), layerOf(entries, '+zstd'), layerOf(entries, '')];
  const inodes = new Set<number>();
  for (const form of forms) inodes.add(lstatSync((await unpacking.unpack(form)).path).ino);
  assert.is(inodes.size, 1);
  const all = await Promise.all(forms.map((form) => unpacking.unpack(form)));
  assert.equal(await unpacking.store.list(), [all[0]]);
  assert.is(await unpacking.store.delete(forms[0]!.diffId), true);
  assert.equal(await unpacking.store.list(), []);
  assert.is(await unpacking.store.delete(forms[0]!.diffId), false);
});

layers('callers at once share one unpacking', async ({ unpacking }) => {
  const layer = layerOf([file('a', Buffer.alloc(3_000_000, 'a'))]);
  const unpacked = await Promise.all(Array.from({ length: 5 }, () => unpacking.unpack(layer)));
  assert.is(new Set(unpacked.map(({ path }) => lstatSync(path).ino)).size, 1);
});

layers('a caller that goes leaves the unpacking to the others; without any it ends', async ({ unpacking }) => {
  const layer = layerOf([file('a', Buffer.alloc(3_000_000, 'a'))]);
  const [first, second] = [new AbortController(), new AbortController()];
  const goes = unpacking.unpack(layer, first.signal).catch((error) => error.message);
  const stays = unpacking.unpack(layer, second.signal);
  first.abort(new Error('I go'));
  assert.is(await goes, 'I go');
  assert.equal(readdirSync((await stays).path), ['a']);
  await unpacking.store.delete(layer.diffId);
  const [third, fourth] = [new AbortController(), new AbortController()];
  const both = [third, fourth].map(({ signal }) => unpacking.unpack(layer, signal).catch((error) => error.message));
  for (const [number, stop] of [third, fourth].entries()) stop.abort(new Error(`I go ${number}`));
  assert.equal(await Promise.all(both), ['I go 0', 'I go 1']);
  assert.equal(readdirSync(join(unpacking.store.folder, 'incoming')), []);
  assert.equal(await unpacking.store.list(), []);
});

layers('another range of ids does not take layers that were unpacked for this one', async ({ unpacking }) => {
  const layer = layerOf([file('a')]);
  await unpacking.unpack(layer);
  const moved = await openLayerStore(unpacking.store.folder, { range: { base: 400_000_000, count: 65_536 } });
  assert.is(await moved.find(layer.diffId), null);
  const path = join(unpacking.folder, 'blob');
  writeFileSync(path, layer.blob);
  assert.is(lstatSync(join((await moved.unpack(path, layer.diffId)).path, 'a')).uid, 400_000_000);
});

/** Ends the unpacking where a power cut could. */
const steps: LayerStep[] = ['layer:created', 'layer:unpacked', 'layer:described', 'layer:renamed'];
for (const step of steps)
  layers(
    `after a crash at ${step} the layer is there whole or not at all, and can be unpacked`,
    async ({ unpacking }) => {
      const layer = layerOf([file('a', 'content')]);
      const path = join(unpacking.folder, 'blob');
      writeFileSync(path, layer.blob);
      const script = `
      import { openLayerStore } from './images/layers/index.ts';
      const [folder, range, blob, diffId, step] = JSON.parse(process.argv[1]);
      const onStep = (reached) => { if (reached === step) process.kill(process.pid, 'SIGKILL'); };
      await (await openLayerStore(folder, { range, onStep })).unpack(blob, diffId);`;
      const arguments_ = JSON.stringify([unpacking.store.folder, range, path, layer.diffId, step]);
      const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script, arguments_], {
        encoding: 'utf8',
      });
      assert.is(child.signal, 'SIGKILL', child.stderr);
      const next = await openLayerStore(unpacking.store.folder, { range });
      assert.equal(readdirSync(join(next.folder, 'incoming')), []);
      assert.is((await next.find(layer.diffId)) !== null, step === 'layer:renamed');
      const unpacked = await next.unpack(path, layer.diffId);
      assert.is(readFileSync(join(unpacked.path, 'a'), 'utf8'), 'content');
    },
  );

layers('a layer of very deep folders can be removed again', async ({ unpacking }) => {
  const deep = file('a', 'x', { pax: { path: `${'d/'.repeat(1500)}f` } });
  const layer = layerOf([deep]);
  await unpacking.unpack(layer);
  assert.is(await unpacking.store.delete(layer.diffId), true);
  assert.equal(readdirSync(join(unpacking.store.folder, 'incoming')), []);
});

layers('a disk that fills up is said, and leaves nothing', async ({ unpacking }) => {
  const disk = join(unpacking.folder, 'disk');
  mkdirSync(disk);
  assert.is(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]).status, 0);
  try {
    const store = await openLayerStore(join(disk, 'layers'), { range, limits: { maxBytes: 2 ** 30 } });
    const path = join(unpacking.folder, 'blob');
    const layer = layerOf([file('a', Buffer.alloc(2 ** 20)), file('b', Buffer.alloc(2 ** 21))]);
    writeFileSync(path, layer.blob);
    const code = await store.unpack(path, layer.diffId).catch((error) => error.code);
    assert.is(code, 'LAYER_DISK_FULL');
    assert.equal(readdirSync(join(store.folder, 'incoming')), []);
    const bounded = await openLayerStore(join(disk, 'layers'), { range });
    assert.is(await bounded.unpack(path, layer.diffId).catch((error) => error.code), 'LAYER_TOO_LARGE');
  } finally {
    spawnSync('umount', [disk]);
  }
});

/** As the driver mounts them: real root, `userxattr`. What a mount shows of two layers, the upper one first. */
function overlay(unpacking: Unpacking, lower: readonly string[], look: (merged: string) => void): void {
  const merged = join(unpacking.folder, 'merged');
  mkdirSync(merged);
  const options = `userxattr,lowerdir=${lower.join(':')}`;
  const { status, stderr } = spawnSync('mount', ['-t', 'overlay', '-o', options, 'overlay', merged], {
    encoding: 'utf8',
  });
  assert.is(status, 0, stderr);
  try {
    look(merged);
  } finally {
    spawnSync('umount', [merged]);
    rmSync(merged, { recursive: true });
  }
}

layers('in an overlay a whiteout hides a file and a folder of the layer below', async ({ unpacking }) => {
  const below = await unpacking.files([file('gone', 'x'), file('folder/gone', 'x'), file('folder/stays', 'x')]);
  const above = await unpacking.files([file('.wh.gone'), file('folder/.wh.gone'), file('.wh.never')]);
  overlay(unpacking, [above, below], (merged) => {
    assert.equal(readdirSync(merged), ['folder']);
    assert.equal(readdirSync(join(merged, 'folder')), ['stays']);
  });
});

layers('an opaque folder shows nothing of the layer below, wherever its mark stands', async ({ unpacking }) => {
  const below = await unpacking.files([file('first/old', 'x'), file('last/old', 'x'), file('other/old', 'x')]);
  const above = await unpacking.files([
    file('first/.wh..wh..opq'),
    file('first/new', 'x'),
    folder('last/'),
    file('last/new', 'x'),
    file('last/.wh..wh..opq'),
  ]);
  overlay(unpacking, [above, below], (merged) => {
    for (const name of ['first', 'last']) assert.equal(readdirSync(join(merged, name)), ['new'], name);
    assert.equal(readdirSync(join(merged, 'other')), ['old']);
  });
});

layers('what a layer removes and makes anew is its own, in either order', async ({ unpacking }) => {
  const below = await unpacking.files([file('a/old', 'x'), file('b/old', 'x'), file('c', 'old'), file('d', 'old')]);
  const above = await unpacking.files([
    file('.wh.a'),
    file('a/new', 'x'),
    file('b/new', 'x'),
    file('.wh.b'),
    file('.wh.c'),
    file('c', 'new'),
    file('d', 'new'),
    file('.wh.d'),
  ]);
  overlay(unpacking, [above, below], (merged) => {
    for (const name of ['a', 'b']) assert.equal(readdirSync(join(merged, name)), ['new'], name);
    for (const name of ['c', 'd']) assert.is(readFileSync(join(merged, name), 'utf8'), 'new');
  });
});

layers('an image cannot set what decides about other layers, but keeps its own attributes', async ({ unpacking }) => {
  const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
  const pax = {
    'SCHILY.xattr.user.overlay.opaque': 'y',
    'SCHILY.xattr.trusted.overlay.opaque': 'y',
    'SCHILY.xattr.user.mine': 'kept',
    'SCHILY.xattr.security.capability': capability,
  };
  const below = await unpacking.files([file('folder/old', 'x')]);
  const above = await unpacking.files([folder('folder/', { pax }), file('ping', 'x', { pax, mode: 0o755 })]);
  overlay(unpacking, [above, below], (merged) => assert.equal(readdirSync(join(merged, 'folder')), ['old']));
  const { stdout, error } = spawnSync('getcap', ['-n', join(above, 'ping')], { encoding: 'utf8' });
  if (error) return console.log('skipped: a look at file capabilities, since getcap is not installed (libcap2-bin)');
  assert.match(stdout, `cap_net_bind_service=ep [rootid=${range.base}]`);
});

if (process.geteuid!() === 0) layers.run();
else console.log('skipped: layers of images, since only root unpacks them');
