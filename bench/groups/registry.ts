import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { makeWasmArtifact } from '../../images/oci/wasm-artifact.ts';
import { digestOf } from '../../images/store/index.ts';
import { skerry } from '../../test/support/cli.ts';
import { CountingProxy } from '../../test/support/counting-proxy.ts';
import { DockerRegistry, hasDockerRegistry } from '../../test/support/docker-registry.ts';
import { LayoutBuilder } from '../../test/support/image-builder.ts';
import { javaScriptComponent } from '../../test/support/javascript.ts';
import { Client } from '../../test/support/own-registry.ts';
import { median } from '../measure/statistics.ts';
import { atLeast, atMost, type Context, type Group, type Row } from '../row.ts';
import { SkerryNode } from '../servers/skerry.ts';

/** Of the layer that is pushed and pulled, in bytes. */
const LAYER_BYTES = 500e6;
const PARALLEL = 10;
/** How often the node's memory is looked at, in milliseconds. */
const LOOK_MS = 50;

export const registry: Group = {
  name: 'registry',
  title: "The node's registry: images of 500 MB, by skopeo, beside Debian's docker-registry",
  async run(context) {
    const missing = spawnSync('skopeo', ['--version']).error
      ? 'skopeo'
      : hasDockerRegistry()
        ? null
        : 'docker-registry';
    if (missing !== null) {
      context.print(`  left out: ${missing} is not installed`);
      return [];
    }
    const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-registry-'));
    const node = await SkerryNode.start('jco');
    const docker = await DockerRegistry.start();
    try {
      const token = await node.client.createToken('bench', ['repository:bench/*:*']);
      const creds = `bench:${token}`;
      return [
        ...(await changedFunction(context, folder, node, token)),
        ...(await memory(context, node, new Client(node.registry, 'bench', token), folder)),
        ...(await sideBySide(context, folder, [
          { name: 'skerry', host: new URL(node.registry).host, creds: (side) => [`--${side}creds`, creds] },
          { name: 'docker-registry', host: docker.address, creds: () => [] },
        ])),
      ];
    } finally {
      await docker.end();
      await node.discard();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Peer {
  readonly name: string;
  readonly host: string;
  creds(side: '' | 'src-' | 'dest-'): string[];
}

/** An image that no registry has yet. Its layer says that it is compressed, and cannot be made smaller. */
function newImage(folder: string, name: string): string {
  const archive = randomBytes(LAYER_BYTES);
  const layout = new LayoutBuilder(join(folder, name));
  const blob = gzipSync(archive, { level: 0 });
  layout.image([{ blob, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', diffId: digestOf(archive) }], 'v1');
  return `oci:${layout.folder}:v1`;
}

async function skopeo(args: readonly string[]): Promise<number> {
  const began = performance.now();
  const child = spawn('skopeo', ['copy', '-q', ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [status] = await once(child, 'exit');
  if (status !== 0) throw new Error(`skopeo ended with ${status}`);
  return performance.now() - began;
}

async function sideBySide(context: Context, folder: string, peers: readonly Peer[]): Promise<Row[]> {
  const times = peers.map(() => ({ push: [] as number[], pull: [] as number[] }));
  for (let round = 0; round < context.rounds; round++) {
    const image = newImage(folder, `round-${round}`);
    for (const [i, { host, creds }] of peers.entries()) {
      const there = `docker://${host}/bench/image:r${round}`;
      times[i]!.push.push(await skopeo(['--dest-tls-verify=false', ...creds('dest-'), image, there]));
      const back = join(folder, `back-${i}`);
      times[i]!.pull.push(await skopeo(['--src-tls-verify=false', ...creds('src-'), there, `dir:${back}`]));
      await rm(back, { recursive: true });
    }
    await rm(join(folder, `round-${round}`), { recursive: true });
  }
  return (['push', 'pull'] as const).map((way) => {
    const [ours, theirs] = times.map((each) => each[way]) as [number[], number[]];
    const ratio = median(theirs.map((time, i) => time / (ours[i] as number)));
    const figure = `${ratio.toFixed(2)}x (${median(ours).toFixed(0)} : ${median(theirs).toFixed(0)} ms)`;
    return atLeast(`${way} of a 500 MB image: rate to docker-registry`, ratio, 1, figure);
  });
}

const changed = (greeting: string) => `export default { fetch() { return new Response('${greeting}'); } };`;

/** One line of a function that the node has is changed: what another node sends to bring it there, and how long that takes. */
async function changedFunction(context: Context, folder: string, node: SkerryNode, token: string): Promise<Row[]> {
  const other = await SkerryNode.start('jco');
  const wire = await CountingProxy.start(new URL(node.registry).host);
  try {
    await mkdir(join(folder, 'docker'));
    const auth = Buffer.from(`bench:${token}`).toString('base64');
    await writeFile(join(folder, 'docker', 'config.json'), JSON.stringify({ auths: { [wire.address]: { auth } } }));
    const env = { DOCKER_CONFIG: join(folder, 'docker'), HOME: folder };
    const client = new Client(other.registry, 'bench', await other.client.createToken('bench', ['repository:*:*']));
    const send = async (tag: string, source: string) => {
      const component = await readFile(await javaScriptComponent(source));
      const blob = { digest: await client.pushBlob('bench/changed', component), size: component.length };
      const { config, manifest } = makeWasmArtifact(blob, { exports: [], imports: [] });
      await client.pushBlob('bench/changed', config);
      await client.pushManifest('bench/changed', tag, manifest.toString());
      wire.takeBytes();
      const began = performance.now();
      const args = ['push', `${wire.address}/bench/changed:${tag}`, '--insecure-registry', wire.address];
      const { status, stderr } = await skerry(args, { data: other.data, env });
      if (status !== 0) throw new Error(stderr);
      return { ms: performance.now() - began, bytes: wire.takeBytes(), size: component.length };
    };
    const whole = await send('v1', changed('one'));
    const delta = await send('v2', changed('two'));
    const percent = (100 * delta.bytes) / delta.size;
    context.print(
      `  a component: ${whole.bytes} bytes in ${whole.ms.toFixed(0)} ms; one line changed: ${delta.bytes} bytes`,
    );
    const what = 'bytes on the socket for a one-line change to a JS function that the other node has';
    const figure = `${percent.toFixed(2)} % (${(delta.bytes / 1e3).toFixed(0)} KB, ${delta.ms.toFixed(0)} ms)`;
    return [atMost(what, percent, 5, '%', figure)];
  } finally {
    await wire.close();
    await other.discard();
  }
}

const residentMb = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1e3;

/** The most that the node takes above what it had idle, while ten clients push at once. */
async function memory(context: Context, node: SkerryNode, client: Client, folder: string): Promise<Row[]> {
  const files = [];
  for (let i = 0; i < PARALLEL; i++) {
    const bytes = randomBytes(LAYER_BYTES);
    files.push({ path: join(folder, `blob-${i}`), digest: digestOf(bytes) });
    await writeFile(files[i]!.path, bytes);
  }
  const idle = residentMb(node.pid);
  let most = idle;
  const looking = setInterval(() => {
    most = Math.max(most, residentMb(node.pid));
  }, LOOK_MS);
  const began = performance.now();
  await Promise.all(files.map(({ path, digest }) => push(node.registry, client, path, digest)));
  const seconds = (performance.now() - began) / 1000;
  clearInterval(looking);
  for (const { path } of files) await rm(path);
  const rate = (PARALLEL * LAYER_BYTES) / 1e6 / seconds;
  context.print(`  ${PARALLEL} pushes at once: ${rate.toFixed(0)} MB/s, ${idle.toFixed(0)} to ${most.toFixed(0)} MB`);
  const what = 'memory above idle during ten parallel pushes of 500 MB';
  return [atMost(what, most - idle, 60, 'MB', `${(most - idle).toFixed(0)} MB`)];
}

async function push(registryUrl: string, client: Client, path: string, digest: string): Promise<void> {
  const { hostname, port } = new URL(registryUrl);
  const headers = { ...(await client.head('bench/parallel')), 'content-length': LAYER_BYTES };
  const target = `/v2/bench/parallel/blobs/uploads/?digest=${digest}`;
  const sent = request({ host: hostname, port, method: 'POST', path: target, headers, agent: false });
  createReadStream(path).pipe(sent);
  const [answer] = await once(sent, 'response');
  answer.resume();
  if (answer.statusCode !== 201) throw new Error(`a push was answered ${answer.statusCode}`);
}
