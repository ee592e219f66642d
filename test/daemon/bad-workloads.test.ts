/** What is deployed by mistake or in malice, through a whole node: told with a code, in one line, and it costs nobody else. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { containersOf, removeContainers, whyNoContainers } from '../support/container-node.ts';
import { type BuiltLayer, busyboxLayer, LayoutBuilder, layerOf, types, zstd } from '../support/image-builder.ts';
import { file, folder, hardLink, symlink, type TarEntry, tar } from '../support/tar-writer.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

interface Scene {
  readonly place: string;
  readonly node: ProcessNode;
}

/** In which a gigabyte of log is written and kept on a busy machine, in milliseconds. */
const FLOOD_MS = 5 * 60_000;

const why = await whyNoContainers();
const bad = suite<Scene>('bad images and processes');
const test = (what: string, work: (scene: Scene) => Promise<void>) => testUnless(bad, why, what, work);

bad.before(async (scene) => {
  if (why !== null) return;
  Object.assign(scene, { place: mkdtempSync(join(tmpdir(), 'skerry-bad-')), node: await startProcess() });
  await scene.node.admin.deploy('beside');
});
bad.after(async ({ place, node }) => {
  if (why !== null) return;
  await discard(node);
  await removeContainers(node.data);
  rmSync(place, { recursive: true, force: true });
});

let serial = 0;
const httpd = { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'] };
const pages = layerOf([folder('www/'), file('www/index.html', 'a page')]);

function imageOf({ place }: Scene, layers: readonly BuiltLayer[], config: object = httpd): LayoutBuilder {
  const layout = new LayoutBuilder(join(place, `image-${++serial}`));
  layout.image([busyboxLayer(), pages, ...layers], 'v1', config);
  return layout;
}

const on = ({ node }: Scene, ...args: string[]) => skerry(args, { data: node.data });
const deploy = (scene: Scene, { folder: image }: LayoutBuilder, ...flags: string[]) =>
  on(scene, 'deploy', `oci:${image}:v1`, '--name', 'bad', ...flags);

/** Nothing runs, nothing is deployed but what was, and that answers. */
async function assertNothingLeft({ node }: Scene): Promise<void> {
  assert.equal(await containersOf(node.data), []);
  const { workloads } = (await node.admin.call('GET', '/v1/workloads')).json();
  assert.equal(
    workloads.map(({ name }: { name: string }) => name),
    ['beside'],
  );
  assert.is((await ask(node.url, { path: '/beside/hello' })).status, 200);
}

const hostile: [string, string, () => TarEntry[]][] = [
  ['a path with ..', 'LAYER_ESCAPE', () => [file('../../../../tmp/skerry-out', 'x')]],
  ['a file through an absolute symbolic link', 'LAYER_ESCAPE', () => [symlink('out', '/tmp'), file('out/skerry-out')]],
  ['a hard link out of it', 'LAYER_ESCAPE', () => [hardLink('steal', '../../../../etc/passwd')]],
  ['a device node', 'LAYER_DEVICE', () => [{ name: 'disk', type: '4' }]],
  ['a whiteout of what is not its own', 'LAYER_ESCAPE', () => [symlink('out', '/etc'), file('out/.wh.passwd')]],
];
for (const [what, code, entries] of hostile) {
  test(`an image with ${what} is refused`, async (scene) => {
    assertFailure(await deploy(scene, imageOf(scene, [layerOf(entries())])), code, 1, /sha256:/);
    await assertNothingLeft(scene);
  });
}

test('an image with a decompression bomb is refused', async (scene) => {
  const head = zstd(tar([file('zeros', '', { size: 2 ** 31 })]).subarray(0, 512));
  const megabyte = zstd(Buffer.alloc(2 ** 20));
  const blob = Buffer.concat([head, ...Array.from({ length: 2000 }, () => megabyte)]);
  const bomb = { blob, mediaType: `${types.layer}+zstd`, diffId: `sha256:${'b'.repeat(64)}` };
  assertFailure(await deploy(scene, imageOf(scene, [bomb])), 'LAYER_BOMB', 1, /do not trust this image/);
  await assertNothingLeft(scene);
});

test('an image with a layer that is missing, or has other bytes, is refused', async (scene) => {
  const layer = layerOf([file('a', String(serial))]);
  const damaged = (change: (path: string, layout: LayoutBuilder) => void): LayoutBuilder => {
    const layout = imageOf(scene, [layer]);
    const { digest } = layout.blob(layer.blob, layer.mediaType);
    change(layout.path(digest), layout);
    return layout;
  };
  const missing = damaged((path) => rmSync(path));
  assertFailure(await deploy(scene, missing), 'IMAGE_BLOB_MISSING', 1, /sha256:/);
  const corrupt = damaged((path) => {
    const bytes = readFileSync(path);
    bytes[bytes.length - 9]! ^= 1;
    writeFileSync(path, bytes);
  });
  assertFailure(await deploy(scene, corrupt), 'IMAGE_BLOB_MISMATCH', 1, /sha256:/);
  await assertNothingLeft(scene);
});

test('an image for another architecture, or without a command, is refused', async (scene) => {
  const foreign = new LayoutBuilder(join(scene.place, 'foreign'));
  foreign.name(foreign.manifest([busyboxLayer()], { architecture: 's390x', config: httpd }), 'v1');
  assertFailure(await deploy(scene, foreign), 'IMAGE_PLATFORM', 1, /s390x/);
  assertFailure(await deploy(scene, imageOf(scene, [], {})), 'IMAGE_NO_COMMAND', 1, /no command/);
  await assertNothingLeft(scene);
});

const shell = (script: string) => ({ Cmd: ['/bin/sh', '-c', script] });
const failing: [string, object, RegExp][] = [
  ['has a command that is not there', { Cmd: ['/bin/nothing'] }, /no program \/bin\/nothing .*\[COMMAND_MISSING\]/],
  ['never listens', shell('echo asleep; sleep 1000'), /port 8080.* \[CONTAINER_NOT_LISTENING\]/],
  ['dies at once', shell('echo no settings; exit 9'), /status 9; the last it said: no settings.* \[CONTAINER_ENDED\]/],
  ['forks without end', shell('f() { f | f & }; while true; do f; done'), /\[CONTAINER_(?:ENDED|NOT_LISTENING)\]/],
];
for (const [what, config, pattern] of failing) {
  test(`a process that ${what} fails its deploy with the reason`, async (scene) => {
    const { stderr, ...result } = await deploy(scene, imageOf(scene, [], config), '--start-timeout', '3s');
    // On a busy machine it takes long enough for its steps to be told.
    const told = { ...result, stderr: `${stderr.trimEnd().split('\n').pop()}\n` };
    assertFailure(told, 'NOT_READY', 1, pattern);
    assert.match(stderr, /no revision of it serves/);
    // It is the first revision of its workload: what was asked for is there, and does not run.
    assert.equal(await containersOf(scene.node.data), []);
    assert.is((await ask(scene.node.url, { path: '/beside/hello' })).status, 200);
    await on(scene, 'rm', 'bad');
    await assertNothingLeft(scene);
  });
}

async function serves(scene: Scene, config: object, ...flags: string[]): Promise<void> {
  const { status, stderr } = await deploy(scene, imageOf(scene, [], config), ...flags);
  assert.is(status, 0, stderr);
  assert.is((await ask(scene.node.url, { path: '/bad/' })).body.toString(), 'a page');
}

test('a process that listens late is deployed once it does', async (scene) => {
  await serves(scene, shell('sleep 2; exec httpd -f -p 8080 -h /www'));
  await on(scene, 'rm', 'bad');
  await assertNothingLeft(scene);
});

test('a process that fills its disk is told so by its own system, and serves on', async (scene) => {
  const fill = 'busybox yes > /tmp/fill; busybox yes > /data/fill; echo it is full; exec httpd -f -p 8080 -h /www';
  await serves(scene, shell(fill), '--writable', '1MiB', '--volume', 'data:/data:8MiB');
  const log = (await on(scene, 'logs', 'bad')).stdout;
  assert.is(log.match(/No space left on device/g)?.length, 2, log);
  assert.match(log, /it is full/);
  await on(scene, 'rm', 'bad');
  await assertNothingLeft(scene);
});

test('a process that ignores SIGTERM is ended when its time is over', async (scene) => {
  const deaf = 'trap "" TERM; httpd -p 8080 -h /www; while true; do sleep 1; done';
  await serves(scene, shell(deaf), '--timeout', '1s');
  assert.is((await on(scene, 'rm', 'bad')).status, 0);
  await assertNothingLeft(scene);
});

test('a process that writes a gigabyte of log leaves a log that is bounded, and what comes later is in it', async (scene) => {
  // Long lines: each costs whoever keeps them, and it is the bytes that are to be bounded.
  const flood = `busybox yes "${'a line of a log '.repeat(250)}" | busybox head -c 1073741824; echo; sleep 2; echo what comes later`;
  const bytes = (path: string) => Number(execFileSync('du', ['-sb', path], { encoding: 'utf8' }).split('\t')[0]);
  const before = bytes(scene.node.data);
  await serves(scene, shell(`(${flood}) & exec httpd -f -p 8080 -h /www`), '--cpus', '2', '--min', '1');
  const ended = async () => /what comes later$/m.test((await on(scene, 'logs', 'bad', '--tail', '5')).stdout);
  const began = performance.now();
  while (!(await ended())) {
    assert.ok(performance.now() - began < FLOOD_MS, 'a gigabyte of log has not come to an end');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    assert.is((await ask(scene.node.url, { path: '/beside/hello' })).status, 200);
    assert.is((await ask(scene.node.url, { path: '/bad/' })).status, 200);
  }
  const grown = bytes(scene.node.data) - before;
  assert.ok(grown < 16 * 2 ** 20, `the data folder has grown by ${grown} bytes`);
  assert.ok(bytes(join('/run/skerry')) < 64 * 2 ** 20, 'nor is it in the folders of containers');
  await on(scene, 'rm', 'bad');
  await assertNothingLeft(scene);
});

bad.run();
