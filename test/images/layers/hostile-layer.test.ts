import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { digestOf } from '../../../images/store/index.ts';
import { layerOf, layerOfTar, zstd } from '../../support/image-builder.ts';
import { file, folder, hardLink, symlink, type TarEntry, tar } from '../../support/tar-writer.ts';
import { Unpacking } from '../../support/unpacking.ts';

const hostile = suite<{ unpacking: Unpacking; outside: string }>('hostile layers');

hostile.before.each(async (context) => {
  context.unpacking = await Unpacking.start();
  context.outside = mkdtempSync(join(tmpdir(), 'skerry-outside-'));
  writeFileSync(join(context.outside, 'victim'), 'untouched');
});
hostile.after.each(({ unpacking, outside }) => {
  assert.equal(readdirSync(outside), ['victim'], 'nothing is written outside');
  assert.is(readFileSync(join(outside, 'victim'), 'utf8'), 'untouched');
  assert.equal(readdirSync(join(unpacking.store.folder, 'incoming')), [], 'nothing half made is left');
  assert.equal(readdirSync(join(unpacking.store.folder, 'sha256')), []);
  unpacking.end();
  rmSync(outside, { recursive: true });
});

const long = 'x/'.repeat(2000);
const up = '../'.repeat(40);

/** By what is refused: the code, and the entries for a folder outside. */
const refused: Record<string, [string, (outside: string) => TarEntry[]]> = {
  'a name with ..': ['LAYER_ESCAPE', (outside) => [file(`${up}${outside}/victim`, 'changed')]],
  'a name that ends in ..': ['LAYER_ESCAPE', () => [folder('a/..')]],
  'a name with .. behind a slash': ['LAYER_ESCAPE', (outside) => [file(`/..${outside}/new`)]],
  'a pax name with ..': ['LAYER_ESCAPE', () => [file('innocent', '', { pax: { path: '../../etc/cron.d/x' } })]],
  'a file through an absolute symbolic link': [
    'LAYER_ESCAPE',
    (outside) => [symlink('out', outside), file('out/victim', 'changed')],
  ],
  'a file through a relative symbolic link': [
    'LAYER_ESCAPE',
    (outside) => [symlink('out', `${up}${outside}`), file('out/new', 'changed')],
  ],
  'a file through a symbolic link that stays inside': [
    'LAYER_ESCAPE',
    () => [folder('usr/lib'), symlink('lib', 'usr/lib'), file('lib/new')],
  ],
  'a folder in the place of a symbolic link': ['LAYER_ESCAPE', (outside) => [symlink('out', outside), folder('out/')]],
  'a hard link with ..': ['LAYER_ESCAPE', (outside) => [hardLink('steal', `${up}${outside}/victim`)]],
  'a hard link through a symbolic link': [
    'LAYER_ESCAPE',
    (outside) => [symlink('out', outside), hardLink('steal', 'out/victim')],
  ],
  'an absolute hard link to a file of the host': [
    'LAYER_MALFORMED',
    (outside) => [hardLink('steal', `${outside}/victim`)],
  ],
  'a hard link to itself': ['LAYER_MALFORMED', () => [file('a'), hardLink('a', 'a')]],
  'a hard link to a folder': ['LAYER_MALFORMED', () => [folder('a'), hardLink('b', 'a')]],
  'a hard link to a whiteout': ['LAYER_MALFORMED', () => [file('.wh.a'), hardLink('b', 'a')]],
  'a whiteout of ..': ['LAYER_ESCAPE', () => [file('a/.wh...')]],
  'a whiteout of the folder itself': ['LAYER_ESCAPE', () => [file('a/.wh..')]],
  'a whiteout of nothing': ['LAYER_ESCAPE', () => [file('a/.wh.')]],
  'a whiteout through a symbolic link': [
    'LAYER_ESCAPE',
    (outside) => [symlink('out', outside), file('out/.wh.victim')],
  ],
  'an opaque mark through a symbolic link': [
    'LAYER_ESCAPE',
    (outside) => [symlink('out', outside), file('out/.wh..wh..opq')],
  ],
  'a folder named as a whiteout': ['LAYER_MALFORMED', () => [file('.wh.a/b')]],
  'a device': ['LAYER_DEVICE', () => [{ name: 'disk', type: '4' }]],
  'a device that would be a whiteout': ['LAYER_DEVICE', () => [{ name: 'hidden', type: '3' }]],
  'a device beside dev': ['LAYER_DEVICE', () => [{ name: 'device/null', type: '3' }]],
  'an owner that no container has': ['LAYER_ID_OUT_OF_RANGE', () => [file('a', '', { uid: 65_536 })]],
  'a group in a pax header that no container has': [
    'LAYER_ID_OUT_OF_RANGE',
    () => [file('a', '', { pax: { gid: '4294967296' } })],
  ],
  'a folder that becomes a file': ['LAYER_TYPE_CHANGE', () => [folder('a'), file('a')]],
  'a file that becomes a folder': ['LAYER_TYPE_CHANGE', () => [file('a'), folder('a')]],
  'a file that becomes a symbolic link': ['LAYER_TYPE_CHANGE', () => [file('a'), symlink('a', '/etc')]],
  'a file below a file': ['LAYER_TYPE_CHANGE', () => [file('a'), file('a/b')]],
  'a root that is a symbolic link': ['LAYER_TYPE_CHANGE', (outside) => [symlink('./', outside)]],
  'a NUL in a pax name': ['LAYER_MALFORMED', () => [file('a', '', { pax: { path: 'a\0b' } })]],
  'a name longer than any path': ['LAYER_MALFORMED', () => [file('a', '', { pax: { path: long } })]],
  'a part of a name longer than any name': [
    'LAYER_MALFORMED',
    () => [file('a', '', { pax: { path: 'x'.repeat(256) } })],
  ],
  'a sparse file in the GNU form': ['LAYER_MALFORMED', () => [{ name: 'a', type: 'S' }]],
  'a sparse file in the pax form': ['LAYER_MALFORMED', () => [file('a', '', { pax: { 'GNU.sparse.major': '1' } })]],
  'a size said twice': ['LAYER_MALFORMED', () => [file('a', 'abc', { pax: { size: '0' } })]],
  'a file of more than 8 GiB': ['LAYER_TOO_LARGE', () => [file('a', '', { pax: { size: String(2 ** 34) } })]],
  'a symbolic link with data': ['LAYER_MALFORMED', () => [{ ...symlink('a', 'b'), content: 'x'.repeat(600) }]],
  'a link to nothing': ['LAYER_MALFORMED', () => [symlink('a', '')]],
  'a type that no tool writes': ['LAYER_MALFORMED', () => [{ name: 'a', type: 'Q' }]],
  'a global header that renames all': ['LAYER_MALFORMED', () => [{ name: 'g', type: 'g', content: '13 path=/etc\n' }]],
  'an extension header of two megabytes': [
    'LAYER_MALFORMED',
    () => [{ name: 'L', type: 'L', content: Buffer.alloc(2 ** 21, 'a') }, file('a')],
  ],
};

for (const [what, [code, entries]] of Object.entries(refused))
  hostile(`${what} is refused with ${code}`, async ({ unpacking, outside }) => {
    const error = await unpacking.refusal(entries(outside));
    assert.is(error.code, code, error.message);
    assert.not.match(error.message, /[^\x20-\x7e…]/);
  });

hostile('the refusal names the entry, and shows no control characters of it', async ({ unpacking }) => {
  const { message } = await unpacking.refusal([file('dev\n\x1b[2J/../x')]);
  assert.match(message, 'at "dev\\u000a\\u001b[2J/../x": `..` is part of its name');
});

hostile('a layer with another content than the image says is refused', async ({ unpacking }) => {
  const { blob } = layerOf([file('a', 'one')]);
  const { diffId } = layerOf([file('a', 'two')]);
  assert.is((await unpacking.refusal({ blob, diffId })).code, 'LAYER_DIFF_ID');
});

hostile('a layer that is cut off is refused, compressed or not', async ({ unpacking }) => {
  const archive = tar([file('a', Buffer.alloc(5000, 'a'))]);
  const cut = archive.subarray(0, 3000);
  for (const blob of [cut, gzipSync(cut), gzipSync(archive).subarray(0, -12), zstd(archive).subarray(0, -6)])
    assert.is((await unpacking.refusal({ blob, diffId: digestOf(cut) })).code, 'LAYER_MALFORMED');
});

hostile('what is no archive is refused, and so is one that is packed by bzip2', async ({ unpacking }) => {
  for (const text of ['hello, I am a layer '.repeat(100), 'BZh91AY&SY', '\xfd7zXZ'.repeat(200)]) {
    const blob = Buffer.from(text, 'latin1');
    assert.is((await unpacking.refusal({ blob, diffId: digestOf(blob) })).code, 'LAYER_MALFORMED', text.slice(0, 10));
  }
});

hostile('a damaged header is refused', async ({ unpacking }) => {
  const archive = tar([file('a'), file('b')]);
  archive[600]! ^= 1;
  assert.is((await unpacking.refusal(layerOfTar(archive))).code, 'LAYER_MALFORMED');
});

hostile('a decompression bomb is stopped by its ratio, whatever it would grow to', async ({ unpacking }) => {
  const megabyte = zstd(Buffer.alloc(2 ** 20));
  const bomb = Buffer.concat(Array.from({ length: 2000 }, () => megabyte));
  const head = zstd(tar([file('zeros', '', { size: 2 ** 31 })]).subarray(0, 512));
  const error = await unpacking.refusal({ blob: Buffer.concat([head, bomb]), diffId: digestOf(bomb) });
  assert.is(error.code, 'LAYER_BOMB');
});

const limited = suite<{ unpacking: Unpacking }>('limits of layers');
limited.before.each(async (context) => {
  context.unpacking = await Unpacking.start({ limits: { maxBytes: 100_000, maxEntries: 50 } });
});
limited.after.each(({ unpacking }) => unpacking.end());

limited('more bytes than allowed', async ({ unpacking }) => {
  assert.is((await unpacking.refusal([file('a', Buffer.alloc(100_000))])).code, 'LAYER_TOO_LARGE');
});

limited('more entries than allowed, and more folders than it has entries', async ({ unpacking }) => {
  const files = Array.from({ length: 51 }, (_, number) => file(`f${number}`));
  assert.is((await unpacking.refusal(files)).code, 'LAYER_TOO_MANY_ENTRIES');
  const deep = file('a', '', { pax: { path: `${'x/'.repeat(60)}y` } });
  assert.is((await unpacking.refusal([deep, file('b')])).code, 'LAYER_TOO_MANY_ENTRIES');
});

limited('a caller that gives up ends the unpacking', async ({ unpacking }) => {
  const stop = new AbortController();
  stop.abort(new Error('the node stops'));
  try {
    await unpacking.unpack(layerOf([file('a')]), stop.signal);
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'the node stops');
  }
  assert.equal(readdirSync(join(unpacking.store.folder, 'incoming')), []);
  assert.not(existsSync(join(unpacking.store.folder, 'sha256', 'a')));
});

if (process.geteuid!() === 0) {
  hostile.run();
  limited.run();
} else console.log('skipped: layers of images, since only root unpacks them');
