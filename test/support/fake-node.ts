/** An HTTP server on a Unix socket in the place of a node: for what the command line does with answers of any kind. */
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeView, RevisionView, WorkloadView } from '../../gateway/admin/schemas.ts';

export interface Recorded {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers one request; a value that is neither undefined nor handled by `response` itself is sent as JSON. */
export type Handler = (request: Recorded, response: http.ServerResponse) => unknown;

export interface FakeNode {
  /** The data folder, with `skerry.sock` in it. */
  readonly data: string;
  readonly requests: Recorded[];
  /** Requests of one kind: `PUT /v1/workloads/hello`. */
  of(line: string): Recorded[];
  /** Resolves when a request of one kind has come. */
  seen(line: string): Promise<void>;
  close(): Promise<void>;
}

/** `handlers` by `METHOD /path` without the query; what has none is answered 404 as a node would. */
export async function startFakeNode(handlers: Record<string, Handler>): Promise<FakeNode> {
  const data = mkdtempSync(join(tmpdir(), 'skerry-cli-'));
  const requests: Recorded[] = [];
  const arrived = new EventEmitter();
  const server = http.createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    const path = incoming.url!.split('?')[0]!;
    const early = handlers[`EARLY ${incoming.method} ${path}`];
    const head = { method: incoming.method!, url: incoming.url!, headers: incoming.headers };
    if (early) {
      early({ ...head, body: Buffer.alloc(0) }, response);
      return;
    }
    for await (const chunk of incoming) chunks.push(chunk);
    const request: Recorded = { ...head, body: Buffer.concat(chunks) };
    requests.push(request);
    arrived.emit('request');
    const handler = handlers[`${request.method} ${path}`];
    const code = path.startsWith('/v1/processes/') ? 'NO_PROCESS' : 'NOT_FOUND';
    const answer = handler ? handler(request, response) : problem(response, 404, code, `there is no ${path}`);
    if (answer !== undefined) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(answer));
    }
  });
  await new Promise<void>((done) => server.listen(join(data, 'skerry.sock'), done));
  const of = (line: string) => requests.filter((one) => `${one.method} ${one.url.split('?')[0]}` === line);
  return {
    data,
    requests,
    of,
    async seen(line) {
      while (of(line).length === 0) await once(arrived, 'request');
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Answers with a problem as a node tells it. */
export function problem(response: http.ServerResponse, status: number, code: string, detail: string): undefined {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify(problemOf(status, code, detail)));
}

export function problemOf(status: number, code: string, detail: string) {
  return { type: `urn:skerry:problem:${code}`, title: code, status, detail, code, fix: 'try another', requestId: 'r1' };
}

const starts = { coldStarts: 5, warmStarts: 2, startMs: 10, p50Ms: 0.8, p99Ms: 12.5 };

export const DIGEST = `sha256:${'ab'.repeat(32)}`;

export function revisionOf(id: string, changes: Partial<RevisionView> = {}): RevisionView {
  return {
    id,
    createdAt: '2026-01-31T12:00:00.000Z',
    label: 'hello.ts',
    isolation: 'wasm',
    decision: 'a component runs as wasm',
    artifact: { digest: DIGEST, mediaType: 'application/wasm' },
    limits: {
      memoryBytes: 2 ** 26,
      cpuMillicores: 500,
      timeoutMs: 10_000,
      startTimeoutMs: 30_000,
      concurrency: 64,
      maxRequestBytes: 2 ** 30,
      maxResponseBytes: 2 ** 30,
    },
    priority: 5,
    reuse: 1,
    env: {},
    secrets: [],
    allow: [],
    keyvalueQuotaBytes: 2 ** 24,
    percent: 100,
    phase: 'ready',
    error: null,
    previewHost: `${id}--hello.localhost`,
    stats: { requests: 7, failures: 1, inFlight: 0, queued: 0, cpuMs: 12, memoryBytes: 2 ** 20, ...starts },
    ...changes,
  };
}

export function workloadOf(name: string, changes: Partial<WorkloadView> = {}): WorkloadView {
  const traffic = [{ revision: 'aaaa00000001', percent: 100 }];
  return {
    name,
    generation: 1,
    spec: {
      routes: [`${name}.localhost/*`, `/${name}/*`],
      scale: { min: 0, max: 10, idleMs: 60_000 },
      queue: 128,
      traffic,
    },
    status: { observedGeneration: 1, phase: 'ready', message: '', traffic },
    urls: [`http://127.0.0.1:8080/${name}`],
    warnings: [],
    revisions: [revisionOf('aaaa00000001')],
    ...changes,
  };
}

export const nodeView: NodeView = {
  version: '0.1.0',
  pid: 1,
  dataFolder: '/d',
  engine: 'jco 1.35.0',
  gateway: 'http://127.0.0.1:8080',
  registry: 'http://127.0.0.1:5050',
  startedAt: '2026-01-31T12:00:00.000Z',
  workloads: 2,
  notices: ['no native engine'],
};

/** Handlers that take a deploy of `name`, as a node does that is ready at once. */
export function deployable(name: string, view: WorkloadView = workloadOf(name)): Record<string, Handler> {
  return {
    'POST /v1/artifacts': (request) => ({ digest: DIGEST, size: request.body.length }),
    [`PUT /v1/workloads/${name}`]: () => view,
    [`GET /v1/workloads/${name}/settled`]: () => view,
  };
}
