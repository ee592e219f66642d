/** Containers of a real node that call each other by name. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openContainers } from '../../daemon/hostd/open.ts';
import { closeFd, connectInside, openNetworkNamespace } from '../../native/host/index.ts';
import { skerry } from '../support/cli.ts';
import { removeContainers, whyNoContainers } from '../support/container-node.ts';
import { LayoutBuilder } from '../support/image-builder.ts';
import { shellConfig, shellLayers, TOOLS } from '../support/shell-container.ts';
import { ask, discard, type ProcessNode, startProcess } from '../support/test-node.ts';

const why = await whyNoContainers();
const neighbours = suite('workloads that call each other');
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

class World {
  node: ProcessNode;
  readonly place: string;
  readonly #image: string;

  constructor(node: ProcessNode, place: string) {
    this.node = node;
    this.place = place;
    const layout = new LayoutBuilder(join(place, 'layout'));
    const script = 'busybox nc -ll -p 9000 -e busybox echo raw & exec httpd -f -p 8080 -h /www';
    layout.image(shellLayers(), undefined, { ...shellConfig(), Cmd: ['/bin/sh', '-c', script] });
    this.#image = layout.folder;
  }

  async deploy(name: string, ...flags: string[]): Promise<void> {
    const args = ['deploy', `oci:${this.#image}`, '--name', name, '--env', `WHO=${name}`, ...flags];
    const { status, stderr } = await skerry(args, { data: this.node.data });
    assert.is(status, 0, stderr);
  }

  /** What a script prints inside of a workload. */
  async inside(name: string, script: string): Promise<string> {
    const headers = { 'content-length': String(Buffer.byteLength(script)) };
    const answer = await ask(this.node.url, { method: 'POST', path: `/${name}/cgi-bin/run`, headers, body: script });
    return answer.body.toString();
  }

  /** Containers of a workload, as folders. */
  async containers(name: string): Promise<string[]> {
    const host = await openContainers(this.node.data, () => {});
    const found = readdirSync(host.folder).filter((id) => id.startsWith(`${name}-`));
    await host.close();
    return found.map((id) => join(host.folder, id));
  }
}

const test = (what: string, work: (world: World) => Promise<void>) => {
  if (why !== null) {
    console.log(`skipped: ${what}, since ${why}`);
    return neighbours.skip(what);
  }
  neighbours(what, async () => {
    const place = mkdtempSync(join(tmpdir(), 'skerry-neighbours-'));
    const world = new World(await startProcess(), place);
    try {
      await work(world);
    } finally {
      await discard(world.node);
      await removeContainers(world.node.data);
      rmSync(place, { recursive: true, force: true });
    }
  });
};

/** A client that closes its half leaves, for the gateway: it stays until it has its answer. */
const get = (host: string, path: string, ...headers: string[]) => {
  const head = [`GET ${path} HTTP/1.0`, `Host: ${host}`, ...headers].join('\\r\\n');
  return `(printf '${head}\\r\\n\\r\\n'; busybox sleep 2) | busybox nc $(at ${host}) 80`;
};

test('a workload calls another by its name, which is told who calls and believes nothing else', async (world) => {
  await world.deploy('api');
  await world.deploy('web', '--allow', 'api.skerry.internal', '--allow', 'nobody.skerry.internal');
  await world.deploy('lonely', '--allow', 'example.com');
  const forged = ['X-Skerry-Caller: admin', 'X-Forwarded-For: 203.0.113.1', 'X-Skerry-Hops: 3'];
  const told = await world.inside('web', TOOLS + get('api.skerry.internal', '/cgi-bin/env?a=b', ...forged));
  assert.match(told, /^HTTP\/1\.1 200 /);
  assert.match(told, /^HTTP_X_SKERRY_CALLER=web$/m);
  assert.match(told, /^HTTP_X_SKERRY_HOPS=4$/m);
  assert.match(told, /^HTTP_X_FORWARDED_FOR=unknown$/m);
  assert.match(told, /^HTTP_X_FORWARDED_HOST=api\.skerry\.internal$/m);
  assert.match(told, /^QUERY_STRING=a=b$/m);
  const circle = await world.inside('web', TOOLS + get('api.skerry.internal', '/cgi-bin/env', 'X-Skerry-Hops: 16'));
  assert.match(circle, /^HTTP\/1\.1 508 .*LOOP_DETECTED/s);
  const gone = await world.inside('web', TOOLS + get('nobody.skerry.internal', '/'));
  assert.match(gone, /^HTTP\/1\.1 404 .*NO_ROUTE/s);
  // The connection says whom, not what is written in the request; and the node's own paths are not there.
  const other = get('api.skerry.internal', '/cgi-bin/env').replace('Host: api', 'Host: lonely');
  assert.match(await world.inside('web', TOOLS + other), /^WHO=api$/m);
  assert.match(await world.inside('web', TOOLS + get('api.skerry.internal', '/_skerry/healthz')), /^HTTP\/1\.1 404 /);
  // Nobody else may, and nobody outside is believed.
  assert.match(await world.inside('lonely', 'busybox nslookup api.skerry.internal'), /NXDOMAIN/);
  const outside = await ask(world.node.url, { path: '/api/cgi-bin/env', headers: { 'x-skerry-caller': 'web' } });
  assert.is(outside.status, 200);
  assert.not.match(outside.body.toString(), /SKERRY_CALLER/);
});

test('over HTTP/2 it is the same', async (world) => {
  await world.deploy('api');
  await world.deploy('web', '--allow', 'api.skerry.internal');
  const address = (await world.inside('web', `${TOOLS} at api.skerry.internal`)).trim();
  const [folder] = await world.containers('web');
  const network = await openNetworkNamespace(`/proc/${readFileSync(join(folder!, 'pid'), 'utf8')}/ns/net`);
  const socket = new Socket({ fd: await connectInside(network, address, 80, 1000) });
  await closeFd(network);
  const session = connect('http://api.skerry.internal', { createConnection: () => socket });
  const asked = session.request({ ':path': '/cgi-bin/env', 'x-skerry-caller': 'admin' });
  let body = '';
  for await (const piece of asked) body += piece;
  session.close();
  assert.match(body, /^HTTP_X_SKERRY_CALLER=web$/m);
});

test('one that is stopped is woken by a request, and by a connection to a port of its own', async (world) => {
  await world.deploy('api', '--idle', '1s');
  await world.deploy('web', '--min', '1', '--allow', 'api.skerry.internal', '--allow', 'api.skerry.internal:9000');
  const asleep = async () => {
    for (let i = 0; i < 400 && (await world.containers('api')).length > 0; i++) await pause(50);
    assert.equal(await world.containers('api'), []);
  };
  await asleep();
  assert.match(await world.inside('web', TOOLS + get('api.skerry.internal', '/cgi-bin/env')), /CALLER=web/);
  await asleep();
  assert.is(await world.inside('web', `${TOOLS} say api.skerry.internal 9000`), 'raw\n');
  assert.not.match(await world.inside('web', `${TOOLS} say api.skerry.internal 9001`), /raw/);
});

test('after kill -9 of the node the containers that it left call each other again', async (world) => {
  await world.deploy('api', '--min', '1');
  await world.deploy('web', '--min', '1', '--allow', 'api.skerry.internal', '--allow', 'api.skerry.internal:9000');
  const address = await world.inside('web', `${TOOLS} at api.skerry.internal`);
  const before = await world.containers('web');
  world.node.child.kill('SIGKILL');
  await world.node.ended;
  world.node = await startProcess({ data: world.node.data });
  assert.is(await world.inside('web', `${TOOLS} at api.skerry.internal`), address);
  assert.match(await world.inside('web', TOOLS + get('api.skerry.internal', '/cgi-bin/env')), /CALLER=web/);
  assert.is(await world.inside('web', `${TOOLS} say api.skerry.internal 9000`), 'raw\n');
  assert.equal(await world.containers('web'), before);
});

test('a function calls a container', async (world) => {
  await world.deploy('api');
  const source = join(world.place, 'fn.js');
  const url = 'http://api.skerry.internal/cgi-bin/env';
  writeFileSync(source, `export default { fetch: async () => new Response(await (await fetch('${url}')).text()) };`);
  const args = ['deploy', source, '--name', 'fn', '--allow', 'api.skerry.internal'];
  const { status, stderr } = await skerry(args, { data: world.node.data });
  assert.is(status, 0, stderr);
  const told = await ask(world.node.url, { path: '/fn/' });
  assert.match(told.body.toString(), /^HTTP_X_SKERRY_CALLER=fn$/m);
});

neighbours.run();
