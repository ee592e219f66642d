import { readFile } from 'node:fs/promises';
import { createRoute, z } from '@hono/zod-openapi';
import { stream } from 'hono/streaming';
import type { LogRecord } from '../../../runtime/logs/workload-logs.ts';
import { ProcessName, WorkloadName } from '../../../runtime/workload/settings.ts';
import { gatewayErrors } from '../../errors.ts';
import type { AdminApp } from '../base-app.ts';
import { RevisionId } from '../schemas.ts';
import type { AdminServices } from '../services.ts';

/** Lines kept for a follower that reads slower than the workload writes; then the oldest are left out. */
const MAX_BACKLOG_LINES = 1000;

const getLogs = createRoute({
  method: 'get',
  path: '/v1/workloads/{name}/logs',
  description: 'NDJSON of LogLine, oldest first; with follow=true it goes on with each new line.',
  request: {
    params: z.object({ name: ProcessName }),
    query: z.object({
      follow: z.enum(['true', 'false']).default('false'),
      tail: z.coerce.number().int().min(0).max(100_000).default(100),
    }),
  },
  responses: {
    200: { description: 'NDJSON of LogLine', content: { 'application/x-ndjson': { schema: z.string() } } },
  },
});

const getSourceMap = createRoute({
  method: 'get',
  path: '/v1/workloads/{name}/revisions/{revision}/source-map',
  description:
    'The source map (ECMA-426) that the revision was built with: tells `function.js:LINE:COLUMN` of its log.',
  request: { params: z.object({ name: WorkloadName, revision: RevisionId }) },
  responses: {
    200: { description: 'The map', content: { 'application/json': { schema: z.string() } } },
  },
});

const line = (record: LogRecord) => `${JSON.stringify(record)}\n`;

/** Live lines of a follower: pushed by the log, taken by the answer at its own pace. */
class Backlog {
  readonly #lines: LogRecord[] = [];
  #wake: (() => void) | null = null;
  #ended = false;
  #missed = 0;

  push(record: LogRecord): void {
    if (this.#lines.length >= MAX_BACKLOG_LINES) {
      this.#lines.shift();
      this.#missed++;
    }
    this.#lines.push(record);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** What has come since the last call, waiting for the first of it; null when it is over. */
  async take(): Promise<LogRecord[] | null> {
    while (this.#lines.length === 0) {
      if (this.#ended) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const lines = this.#lines.splice(0);
    if (this.#missed > 0) {
      const text = `${this.#missed} lines were left out here: they came faster than they were read`;
      lines.unshift({ ...(lines[0] as LogRecord), stream: 'node', text });
      this.#missed = 0;
    }
    return lines;
  }
}

export function logRoutes(app: AdminApp, services: AdminServices): void {
  app.openapi(getSourceMap, async (c) => {
    const { name, revision: id } = c.req.valid('param');
    const revision = services.desired.revision(name, id);
    const map = revision && (await services.sourceMap(revision.artifact.digest));
    if (!map) throw gatewayErrors.NOT_FOUND(`source map of revision ${id} of ${name}`);
    return c.body(await readFile(map.path), 200, { 'content-type': 'application/json' }) as never;
  });

  app.openapi(getLogs, async (c) => {
    const { name } = c.req.valid('param');
    const { follow, tail } = c.req.valid('query');
    if (!services.processes.get(name)) services.desired.require(name);
    const log = services.logs.of(name);
    c.header('content-type', 'application/x-ndjson');
    return stream(c, async (out) => {
      if (follow === 'false') {
        for (const record of await log.tail(tail)) await out.write(line(record));
        return;
      }
      const backlog = new Backlog();
      // Before the tail is read, so that no line falls between; a line may then come twice, and is left out here.
      const end = log.follow((record) => backlog.push(record));
      out.onAbort(() => backlog.end());
      try {
        const past = await log.tail(tail);
        for (const record of past) await out.write(line(record));
        const seen = new Set(past.map(line));
        for (let records = await backlog.take(); records && !out.aborted; records = await backlog.take()) {
          const fresh = seen.size > 0 ? records.filter((record) => !seen.delete(line(record))) : records;
          if (fresh.length > 0) await out.write(fresh.map(line).join(''));
        }
      } finally {
        end();
      }
    }) as never;
  });
}
