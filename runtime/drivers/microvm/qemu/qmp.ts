/**
 * QEMU's machine protocol (https://www.qemu.org/docs/master/interop/qmp-spec.html), the client's side. What is at the other
 * end runs a guest, and may have been taken over by it: each line is bounded, read strictly, and answered for in time; what
 * breaks the rules ends the connection.
 */
import type { Duplex } from 'node:stream';
import * as z from 'zod';
import { machineErrors } from '../errors.ts';

export const QMP_LIMITS = {
  /** Of one message, in bytes; the longest that is asked for is far below. */
  lineBytes: 256 * 1024,
  /** Events between two answers; more are no monitor's. */
  events: 10_000,
  /** Until the greeting, and for an answer when nothing else is said; in milliseconds. An emulated guest can keep it busy. */
  answerMs: 15_000,
  /** Commands that wait for an answer. */
  waiting: 64,
} as const;

const Greeting = z.object({ QMP: z.object({ version: z.unknown(), capabilities: z.array(z.unknown()) }) });
const Message = z.union([
  z.object({ return: z.unknown(), id: z.int() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }), id: z.int().optional() }),
  z.object({ event: z.string().max(100), data: z.unknown().optional() }),
]);

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout;
}

export class QmpClient {
  /** Resolves when the connection has ended: null when one of the two closed it, else what was wrong. */
  readonly closed: Promise<Error | null>;
  readonly #stream: Duplex;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onEvent: (event: string, data: unknown) => void;
  #tellClosed!: (why: Error | null) => void;
  #greeted: (() => void) | null = null;
  #pieces: Buffer[] = [];
  #length = 0;
  #events = 0;
  #serial = 0;
  #over = false;

  /** Owns the stream. */
  private constructor(stream: Duplex, onEvent: (event: string, data: unknown) => void) {
    this.#stream = stream;
    this.#onEvent = onEvent;
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    stream.on('data', (piece: Buffer) => this.#take(piece));
    stream.on('error', (error) => this.#end(error));
    stream.on('close', () => this.#end(null));
    stream.on('end', () => this.#end(null));
  }

  /** Resolves when it has greeted and takes commands. Throws MONITOR_SILENT, MONITOR_NONSENSE, MONITOR_GONE. */
  static async open(stream: Duplex, onEvent: (event: string, data: unknown) => void = () => {}): Promise<QmpClient> {
    const client = new QmpClient(stream, onEvent);
    try {
      await client.#greeting();
      await client.execute('qmp_capabilities');
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /**
   * What a command returns. Throws MONITOR_REFUSED (it says that it cannot), MONITOR_SILENT (not within `timeoutMs`),
   * MONITOR_NONSENSE, MONITOR_GONE.
   */
  execute(command: string, args: object = {}, timeoutMs: number = QMP_LIMITS.answerMs): Promise<unknown> {
    if (this.#over) return Promise.reject(machineErrors.MONITOR_GONE());
    if (this.#waiting.size >= QMP_LIMITS.waiting) return Promise.reject(machineErrors.MONITOR_SILENT(command));
    const id = ++this.#serial;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // Whoever does not answer one command answers none.
        this.#end(machineErrors.MONITOR_SILENT(command));
      }, timeoutMs);
      const refused = (error: Error) => reject(error);
      this.#waiting.set(id, { resolve, reject: refused, timer });
      this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  /** Idempotent. */
  close(): void {
    this.#end(null);
  }

  #greeting(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#end(machineErrors.MONITOR_SILENT('the greeting')), QMP_LIMITS.answerMs);
      this.#greeted = () => {
        clearTimeout(timer);
        this.#greeted = null;
        resolve();
      };
      void this.closed.then((why) => {
        clearTimeout(timer);
        reject(why ?? machineErrors.MONITOR_GONE());
      });
    });
  }

  #take(piece: Buffer): void {
    let rest = piece;
    for (let end = rest.indexOf(10); end >= 0 && !this.#over; end = rest.indexOf(10)) {
      const line = Buffer.concat([...this.#pieces, rest.subarray(0, end)]);
      rest = rest.subarray(end + 1);
      this.#pieces = [];
      this.#length = 0;
      if (line.length > QMP_LIMITS.lineBytes) return this.#nonsense('a message is too long');
      this.#read(line);
    }
    if (this.#over || rest.length === 0) return;
    this.#pieces.push(rest);
    this.#length += rest.length;
    if (this.#length > QMP_LIMITS.lineBytes) this.#nonsense('a message is too long');
  }

  #read(line: Buffer): void {
    const text = line.toString('utf8').trim();
    if (text === '') return;
    let document: unknown;
    try {
      document = JSON.parse(text);
    } catch {
      return this.#nonsense('a message is no JSON');
    }
    if (this.#greeted) {
      if (!Greeting.safeParse(document).success) return this.#nonsense('it does not greet');
      return this.#greeted();
    }
    const message = Message.safeParse(document);
    if (!message.success) return this.#nonsense('a message has another form');
    const { data } = message;
    if ('event' in data) {
      if (++this.#events > QMP_LIMITS.events) return this.#nonsense('it tells of events without end');
      return this.#onEvent(data.event, data.data);
    }
    const waiting = this.#waiting.get(data.id ?? -1);
    if (!waiting) return this.#nonsense('it answers what was not asked');
    this.#waiting.delete(data.id as number);
    this.#events = 0;
    clearTimeout(waiting.timer);
    if ('error' in data) waiting.reject(machineErrors.MONITOR_REFUSED(data.error.desc.slice(0, 300)));
    else waiting.resolve(data.return);
  }

  #nonsense(why: string): void {
    this.#end(machineErrors.MONITOR_NONSENSE(why));
  }

  #end(why: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.destroy();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(why ?? machineErrors.MONITOR_GONE());
    }
    this.#waiting.clear();
    this.#tellClosed(why);
  }
}
