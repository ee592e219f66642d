/** A real node for tests: a process of its own or in this one, its admin API over the socket, ended surely. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pino from 'pino';
import { readSettings } from '../../daemon/config.ts';
import { type Node, startNode } from '../../daemon/node.ts';
import { projectRoot } from '../../errors/project-root.ts';
import { guest } from './guests.ts';

export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: Buffer;
  /** The body, which must be JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: what it should be is for the test to say
  json(): any;
}

export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Uint8Array;
}

/** Asks over TCP (`url`) or a Unix socket (a path), on a connection of its own. */
export function ask(where: string, { method = 'GET', path, headers = {}, body }: Ask): Promise<Answer> {
  const address = where.startsWith('http')
    ? { host: new URL(where).hostname, port: new URL(where).port }
    : { socketPath: where };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...address, method, path, headers, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const whole = Buffer.concat(pieces);
        const json = () => JSON.parse(whole.toString());
        resolve({ status: response.statusCode!, headers: response.headers, body: whole, json });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** What tests do to a node through its admin API, however it was started. */
export class Admin {
  readonly socket: string;

  constructor(data: string) {
    this.socket = join(data, 'skerry.sock');
  }

  /** `json` is sent as the body. */
  async call(method: string, path: string, json?: unknown): Promise<Answer> {
    const sent =
      json === undefined ? {} : { body: JSON.stringify(json), headers: { 'content-type': 'application/json' } };
    return ask(this.socket, { method, path, ...sent });
  }

  /** A token of the registry, under a name of its own. */
  async token(name: string, ...scopes: readonly string[]): Promise<string> {
    const answer = await this.call('PUT', `/v1/tokens/${name}`, { scopes });
    if (answer.status !== 201) throw new Error(`the token was answered ${answer.status}: ${answer.body}`);
    return answer.json().token;
  }

  async upload(bytes: Uint8Array): Promise<string> {
    const answer = await ask(this.socket, { method: 'POST', path: '/v1/artifacts', body: bytes });
    if (answer.status !== 201) throw new Error(`the upload was answered ${answer.status}: ${answer.body}`);
    return answer.json().digest;
  }

  /** Deploys the guest `behaviours`, or another component, and waits until it is ready or failed. Returns its view. */
  async deploy(name: string, settings: Record<string, unknown> = {}, component?: Uint8Array) {
    const digest = await this.upload(component ?? readFileSync(await guest('behaviours')));
    const artifact = { digest, mediaType: 'application/wasm' };
    const put = await this.call('PUT', `/v1/workloads/${name}`, { artifact, label: `${name}.wasm`, settings });
    if (put.status !== 200) throw new Error(`the deploy was answered ${put.status}: ${put.body}`);
    const { generation } = put.json();
    return (await this.call('GET', `/v1/workloads/${name}/settled?generation=${generation}`)).json();
  }
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'skerry-node-'));
}

export interface ProcessNode {
  readonly child: ChildProcess;
  readonly data: string;
  readonly url: string;
  /** Of the registry; null when it is off. */
  readonly registry: string | null;
  readonly admin: Admin;
  get output(): string;
  /** Resolves when the process has ended: its exit status, or the signal. */
  readonly ended: Promise<number | string | null>;
}

export interface ProcessOptions {
  readonly data?: string;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  /** A command that becomes the node's, given behind it. */
  readonly within?: readonly string[];
}

const started = new Set<ChildProcess>();
// However the tests end, no node outlives them.
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL');
});

/** `dist/` as the sources are now; built only when they changed. */
async function buildOnce(): Promise<void> {
  const { buildTs } = await import(pathToFileURL(join(projectRoot, 'scripts/build-ts.mjs')).href);
  await buildTs();
}
let built: Promise<void> | undefined;

/** Runs `skerry up` as users do, to its end or its readiness. */
export async function spawnNode(options: ProcessOptions = {}) {
  built ??= buildOnce();
  await built;
  const data = options.data ?? temporaryFolder();
  const flags = [
    '--data',
    data,
    '--listen',
    '127.0.0.1:0',
    '--registry',
    '127.0.0.1:0',
    '--engine',
    'jco',
    ...(options.args ?? []),
  ];
  const env = { ...process.env, NODE_OPTIONS: '', ...options.env };
  const command = [...(options.within ?? []), process.execPath, join(projectRoot, 'bin/skerry.js'), 'up', ...flags];
  const child = spawn(command[0] as string, command.slice(1), {
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  started.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (piece) => {
      output += piece;
    });
  }
  const ended = new Promise<number | string | null>((resolve) =>
    child.once('close', (code, signal) => {
      started.delete(child);
      resolve(code ?? signal);
    }),
  );
  return { child, data, ended, output: () => output };
}

/** A node that is ready. Throws with its output when it ends before. */
export async function startProcess(options: ProcessOptions = {}): Promise<ProcessNode> {
  const { child, data, ended, output } = await spawnNode(options);
  const ready = new Promise<{ gateway: string; registry: string | null }>((resolve) => child.once('message', resolve));
  const { gateway: url, registry } = await Promise.race([
    ready,
    ended.then((how) => Promise.reject(new Error(`the node ended (${how}): ${output()}`))),
  ]);
  return {
    child,
    data,
    url,
    registry,
    admin: new Admin(data),
    ended,
    get output() {
      return output();
    },
  };
}

/** Ends a node at once, and removes its folder. */
export async function discard({ child, ended, data }: Pick<ProcessNode, 'child' | 'ended' | 'data'>): Promise<void> {
  child.kill('SIGKILL');
  await ended;
  rmSync(data, { recursive: true, force: true });
}

export interface LocalNode {
  readonly node: Node;
  readonly data: string;
  readonly url: string;
  readonly admin: Admin;
  /** Lines of the node's own log, parsed. */
  readonly log: Record<string, unknown>[];
  close(): Promise<void>;
}

/** A node in this process; its settings as flags. */
export async function startLocal(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<LocalNode> {
  const data = temporaryFolder();
  const flags = ['--data', data, '--listen', '127.0.0.1:0', '--registry', '127.0.0.1:0', '--engine', 'jco', ...args];
  const settings = await readSettings(flags, env);
  if (!settings) throw new Error('no settings');
  const log: Record<string, unknown>[] = [];
  const sink = { write: (line: string) => void log.push(JSON.parse(line)) };
  try {
    const node = await startNode(settings, pino({ base: null }, sink));
    const close = async () => {
      await node.close();
      rmSync(data, { recursive: true, force: true });
    };
    return { node, data, url: node.gatewayUrl, admin: new Admin(data), log, close };
  } catch (error) {
    rmSync(data, { recursive: true, force: true });
    throw error;
  }
}
