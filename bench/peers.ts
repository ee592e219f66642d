/** What is measured: each peer starts a server on loopback that answers "hello" in its own way. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../errors/project-root.ts';

const run = promisify(execFile);

export interface Running {
  readonly url: string;
  stop(): Promise<void>;
}

export interface Peer {
  readonly name: string;
  start(): Promise<Running>;
}

/** A server has this long to answer its first request, in milliseconds. */
const START_TIMEOUT_MS = 60_000;

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  const end = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < end) {
    if (child.exitCode !== null) throw new Error(`the server of ${url} ended with ${child.exitCode}`);
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${url} did not answer in time`);
}

async function serve(command: string, args: string[], url: string, cleanup?: () => Promise<void>): Promise<Running> {
  // A group of its own: `jco serve` leaves the process that serves behind when it alone is told to end.
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', 'ignore', process.env.BENCH_DEBUG ? 'inherit' : 'ignore'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    if (child.exitCode === null) process.kill(-(child.pid as number), 'SIGTERM');
    await ended;
    await cleanup?.();
  };
  try {
    await answers(url, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

export const wasmtimeCommand = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'skerry',
  'peers',
  'bin',
  'wasmtime',
);

/** The pool settings of native/wasm, as far as the command has flags for them. */
export const TUNED = [
  '-Opooling-allocator=y',
  '-Opooling-memory-keep-resident=33554432',
  '-Opooling-table-keep-resident=1048576',
  '-Opooling-async-stack-keep-resident=262144',
  '-Opooling-pagemap-scan=y',
];

export function wasmtimeServe(name: string, component: string, path: string, flags: string[] = []): Peer {
  return {
    name,
    async start() {
      const port = await freePort();
      const args = ['serve', '-Scli', ...flags, '--addr', `127.0.0.1:${port}`, component];
      return serve(wasmtimeCommand, args, `http://127.0.0.1:${port}${path}`);
    },
  };
}

export function jcoServe(name: string, component: string, path: string, flags: string[] = []): Peer {
  return {
    name,
    async start() {
      const port = await freePort();
      const jco = join(projectRoot, 'node_modules', '@bytecodealliance', 'jco', 'dist', 'jco.js');
      return serve(
        process.execPath,
        [jco, 'serve', component, '--port', String(port), ...flags],
        `http://127.0.0.1:${port}${path}`,
      );
    },
  };
}

export function skerry(name: string, engine: string, component: string, path: string, flags: string[] = []): Peer {
  return {
    name,
    async start() {
      const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
      const port = await freePort();
      const command = join(projectRoot, 'bin', 'skerry.js');
      const up = [command, 'up', '--data', folder, '--listen', `127.0.0.1:${port}`, '--engine', engine];
      const base = `http://127.0.0.1:${port}`;
      const running = await serve(process.execPath, up, `${base}/_skerry/readyz`, () =>
        rm(folder, { recursive: true, force: true }),
      );
      const deploy = [
        command,
        'deploy',
        component,
        '--name',
        'bench',
        '--data',
        folder,
        '--concurrency',
        '256',
        ...flags,
      ];
      await run(process.execPath, deploy);
      return { url: `${base}/bench${path}`, stop: running.stop };
    },
  };
}

export function workerd(): Peer {
  return {
    name: 'workerd, its own JavaScript hello (isolate shared by all requests)',
    async start() {
      const folder = await mkdtemp(join(tmpdir(), 'skerry-bench-'));
      const port = await freePort();
      await writeFile(join(folder, 'hello.js'), 'export default { fetch() { return new Response("hello"); } };');
      await writeFile(
        join(folder, 'config.capnp'),
        `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [(name = "hello.js", esModule = embed "hello.js")], compatibilityDate = "2024-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);`,
      );
      const command = join(projectRoot, 'node_modules', '@cloudflare', 'workerd-linux-64', 'bin', 'workerd');
      return serve(command, ['serve', join(folder, 'config.capnp')], `http://127.0.0.1:${port}/`, () =>
        rm(folder, { recursive: true, force: true }),
      );
    },
  };
}

export function bareHono(): Peer {
  return {
    name: 'Hono on @hono/node-server, no sandbox',
    async start() {
      const port = await freePort();
      const script = `import { serve } from '@hono/node-server'; import { Hono } from 'hono';
const app = new Hono(); app.get('/', (c) => c.text('hello')); serve({ fetch: app.fetch, port: ${port}, hostname: '127.0.0.1' });`;
      return serve(process.execPath, ['--input-type=module', '--eval', script], `http://127.0.0.1:${port}/`);
    },
  };
}
