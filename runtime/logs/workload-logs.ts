/** The logs of all workloads: what they write, with the request it belongs to, bounded on disk, and followed live. */
import { join } from 'node:path';
import { LineAssembler } from './line-assembler.ts';
import { LogFile } from './log-file.ts';

export interface LogRecord {
  /** ISO 8601. */
  readonly time: string;
  readonly revision: string;
  readonly requestId: string;
  /** `node`: a remark of the node itself, such as how a request failed. */
  readonly stream: 'stdout' | 'stderr' | 'node';
  readonly text: string;
}

type Follower = (record: LogRecord) => void;

export class WorkloadLogs {
  readonly #folder: string;
  readonly #logs = new Map<string, WorkloadLog>();
  readonly #onError: (error: unknown) => void;

  constructor(folder: string, onError: (error: unknown) => void) {
    this.#folder = folder;
    this.#onError = onError;
  }

  of(workload: string): WorkloadLog {
    let log = this.#logs.get(workload);
    if (!log) {
      log = new WorkloadLog(new LogFile(join(this.#folder, workload), this.#onError));
      this.#logs.set(workload, log);
    }
    return log;
  }

  /** Forgets what a workload wrote. Whoever holds its log may go on with it: a workload of the same name may be new. */
  async remove(workload: string): Promise<void> {
    await this.of(workload).remove();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#logs.values()].map((log) => log.flush()));
  }
}

export class WorkloadLog {
  readonly #file: LogFile;
  readonly #followers = new Set<Follower>();
  readonly #lines = new LineAssembler((key, line) => {
    const [revision, requestId, stream] = key.split(' ') as [string, string, 'stdout' | 'stderr'];
    this.write(revision, requestId, stream, line.toString('utf8'));
  });

  constructor(file: LogFile) {
    this.#file = file;
  }

  /** One piece of what a workload wrote; lines are put together here. */
  piece(revision: string, requestId: string, stream: 'stdout' | 'stderr', data: Uint8Array): void {
    this.#lines.push(`${revision} ${requestId} ${stream}`, data);
  }

  /** The request is over: a last line without a newline is a line too. */
  requestEnded(revision: string, requestId: string): void {
    if (this.#lines.empty) return;
    this.#lines.flush(`${revision} ${requestId} stdout`);
    this.#lines.flush(`${revision} ${requestId} stderr`);
  }

  write(revision: string, requestId: string, stream: LogRecord['stream'], text: string): void {
    const record: LogRecord = { time: new Date().toISOString(), revision, requestId, stream, text };
    if (this.#file.append(JSON.stringify(record))) {
      const dropped = this.#file.takeDropped();
      if (dropped > 0) this.write(revision, requestId, 'node', `${dropped} lines were dropped: they came too fast`);
    }
    for (const follower of this.#followers) follower(record);
  }

  /** The last `count` lines, oldest first. */
  async tail(count: number): Promise<LogRecord[]> {
    const lines = await this.#file.tail(count);
    return lines.flatMap((line) => {
      try {
        return [JSON.parse(line) as LogRecord];
      } catch {
        // A line cut off by a power cut.
        return [];
      }
    });
  }

  /** Calls back with each line from now on. Returns the function that ends it. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  flush(): Promise<void> {
    this.#lines.flushAll();
    return this.#file.flush();
  }

  remove(): Promise<void> {
    this.#lines.flushAll();
    return this.#file.remove();
  }
}
