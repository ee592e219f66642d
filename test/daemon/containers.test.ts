/** Container images on a real node: deployed by the command, served by the gateway, through the node's own end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assertFailure, skerry } from '../support/cli.ts';
import { containersOf, removeContainers, whyNoContainers } from '../support/container-node.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../support/image-builder.ts';
import { file, folder } from '../support/tar-writer.ts';
import { ask, discard, startProcess } from '../support/test-node.ts';
import { testUnless } from '../support/test-unless.ts';

const why = await whyNoContainers();
const images = suite('images on a node');
const test = (what: string, work: (layout: string) => Promise<void>) => {
  testUnless(images, why, what, async () => {
    const place = mkdtempSync(join(tmpdir(), 'skerry-image-'));
    try {
      await work(place);
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  });
};

const httpd = (text: string) => [busyboxLayer(), layerOf([folder('www/'), file('www/index.html', text)])];
const config = { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'], ExposedPorts: { '8080/tcp': {} } };

function layout(place: string, text: string): LayoutBuilder {
  const built = new LayoutBuilder(join(place, `layout-${text}`));
  built.image(httpd(text), 'v1', config);
  return built;
}

/** Nodes of tests are killed: what they leave is removed here. */
async function end(node: Awaited<ReturnType<typeof startProcess>>): Promise<void> {
  await discard(node);
  await removeContainers(node.data);
}

test('an image in a folder or an archive is deployed, answers, and is rolled back', async (place) => {
  const node = await startProcess();
  try {
    const one = layout(place, 'one');
    const deployed = await skerry(['deploy', `oci:${one.folder}:v1`, '--name', 'web'], { data: node.data });
    assert.is(deployed.status, 0, deployed.stderr);
    assert.is((await ask(node.url, { path: '/web/' })).body.toString(), 'one');
    const archive = layout(place, 'two').archive(join(place, 'two.tar'));
    const second = await skerry(['deploy', `oci:${archive}`, '--name', 'web'], { data: node.data });
    assert.is(second.status, 0, second.stderr);
    assert.is((await ask(node.url, { path: '/web/' })).body.toString(), 'two');
    const back = await skerry(['rollback', 'web'], { data: node.data });
    assert.is(back.status, 0, back.stderr);
    assert.is((await ask(node.url, { path: '/web/' })).body.toString(), 'one');
    const inspected = JSON.parse((await skerry(['inspect', 'web', '--json'], { data: node.data })).stdout);
    assert.is(inspected.revisions[0].isolation, 'container');
    const removed = await skerry(['rm', 'web'], { data: node.data });
    assert.is(removed.status, 0, removed.stderr);
    assert.equal(await containersOf(node.data), []);
  } finally {
    await end(node);
  }
});

test('after kill -9 of the node its containers go on, and the next node takes them over', async (place) => {
  const first = await startProcess();
  let last = first;
  try {
    const { folder: image } = layout(place, 'one');
    const deployed = await skerry(['deploy', `oci:${image}`, '--name', 'web'], { data: first.data });
    assert.is(deployed.status, 0, deployed.stderr);
    const before = await containersOf(first.data);
    assert.is(before.length, 1);
    first.child.kill('SIGKILL');
    await first.ended;
    assert.equal(await containersOf(first.data), before, 'it goes on without the node');
    last = await startProcess({ data: first.data });
    assert.is((await ask(last.url, { path: '/web/' })).body.toString(), 'one');
    assert.equal(await containersOf(first.data), before);
  } finally {
    await end(last);
  }
});

test('an image that cannot run is refused at the deploy, and nothing changes', async (place) => {
  const node = await startProcess();
  try {
    const silent = new LayoutBuilder(join(place, 'silent'));
    silent.image([busyboxLayer()]);
    const deploy = (reference: string, ...flags: string[]) =>
      skerry(['deploy', reference, '--name', 'web', ...flags], { data: node.data });
    assertFailure(await deploy(`oci:${silent.folder}`), 'IMAGE_NO_COMMAND', 1, /no entrypoint and no command/);
    const foreign = new LayoutBuilder(join(place, 'foreign'));
    foreign.name(foreign.manifest(httpd('x'), { architecture: 's390x', config }));
    assertFailure(await deploy(`oci:${foreign.folder}`), 'IMAGE_PLATFORM', 1, /s390x/);
    const { folder: image } = layout(place, 'one');
    assertFailure(await deploy(`oci:${image}`, '--isolation', 'wasm'), 'ISOLATION_UNFIT', 1, /container image/);
    assertFailure(await deploy(`oci:${image}:v9`), 'IMAGE_NOT_FOUND', 1, /v9/);
    assertFailure(await deploy('nothing-here'), 'IMAGE_NOT_HERE', 1, /nothing-here/);
    assert.equal((await node.admin.call('GET', '/v1/workloads')).json().workloads, []);
  } finally {
    await end(node);
  }
});

test('a container that dies is told where the user looks, and started again', async (place) => {
  const node = await startProcess();
  try {
    const built = new LayoutBuilder(join(place, 'dying'));
    const script = 'httpd -p 8080 -h /www; sleep 1; echo giving up; exit 7';
    built.image(httpd('alive'), undefined, { ...config, Cmd: ['/bin/sh', '-c', script] });
    const deployed = await skerry(['deploy', `oci:${built.folder}`, '--name', 'web', '--min', '1'], {
      data: node.data,
    });
    assert.is(deployed.status, 0, deployed.stderr);
    const answer = async () => ask(node.url, { path: '/web/' });
    let told = await answer();
    // One that was under way is 502; those that come while it is not there are told what it ended with.
    for (let i = 0; i < 100 && !(told.status === 503 && /status 7/.test(told.body.toString())); i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      told = await answer();
    }
    assert.is(told.status, 503);
    assert.match(told.body.toString(), /status 7/);
    assert.match((await skerry(['logs', 'web'], { data: node.data })).stdout, /giving up/);
    for (let i = 0; i < 200 && told.status !== 200; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      told = await answer();
    }
    assert.is(told.body.toString(), 'alive', 'started again');
  } finally {
    await end(node);
  }
});

images.run();
