/** A request whose body is what a process reads, and whose answer is what it writes: the node's side. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, Writable } from 'node:stream';
import type { z } from 'zod';
import { asSkerryError } from '../../errors/skerry-error.ts';
import type { ProcessStreams } from '../../runtime/driver.ts';
import { room } from '../../runtime/room.ts';
import { gatewayErrors } from '../errors.ts';
import { problemBody } from '../problem.ts';
import { nextRequestId } from '../request-id.ts';
import { describeIssues } from './base-app.ts';
import { FRAME, type Frame, FrameReader, frames } from './frames.ts';

/** A client closes its connection within this once it has been told how it ended; in milliseconds. */
const FAREWELL_MS = 2000;

export class Attachment {
  readonly streams: ProcessStreams;
  /** Aborted when the client has left before the end. */
  readonly left: AbortSignal;
  readonly #outgoing: ServerResponse;
  readonly #request: IncomingMessage;
  readonly #incoming: FrameReader;
  readonly #stdin = new PassThrough();
  #over = false;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#outgoing = outgoing;
    this.#request = incoming;
    this.#incoming = incoming.pipe(new FrameReader());
    const left = new AbortController();
    this.left = left.signal;
    outgoing.once('close', () => {
      for (const stream of [this.#stdin, this.streams.stdout, this.streams.stderr]) stream.destroy();
      if (!this.#over) left.abort();
      incoming.destroy();
    });
    for (const stream of [incoming, this.#incoming, outgoing, this.#stdin])
      stream.on('error', () => outgoing.destroy());
    const output = (kind: number) => new Writable({ write: (data: Buffer, _, done) => this.#send(kind, data, done) });
    this.streams = { stdin: this.#stdin, stdout: output(FRAME.stdout), stderr: output(FRAME.stderr) };
    outgoing.writeHead(200, { 'content-type': 'application/vnd.skerry.attachment' });
  }

  /** The request itself; what follows it is what the process reads. Throws INVALID_REQUEST. */
  async request<T>(schema: z.ZodType<T>): Promise<T> {
    const frame = await new Promise<Frame | null>((resolve) => {
      this.#incoming.once('data', (first: Frame) => {
        this.#incoming.pause();
        resolve(first);
      });
      this.#incoming.once('close', () => resolve(null));
    });
    if (frame?.kind !== FRAME.document) throw gatewayErrors.INVALID_REQUEST('the first frame is not the request');
    const checked = schema.safeParse(parse(frame.bytes));
    if (!checked.success) throw gatewayErrors.INVALID_REQUEST(describeIssues(checked.error.issues));
    this.#incoming.on('data', ({ kind, bytes }: Frame) => {
      if (kind !== FRAME.stdin || this.#stdin.write(bytes)) return;
      this.#incoming.pause();
      this.#stdin.once('drain', () => this.#incoming.resume());
    });
    this.#incoming.once('end', () => this.#stdin.end());
    this.#incoming.resume();
    return checked.data;
  }

  /** Tells the client something; a first one tells that it has begun. */
  say(document: object): void {
    this.#send(FRAME.document, Buffer.from(JSON.stringify(document)), () => {});
  }

  /** Tells how `work` came out, and ends the answer. */
  async answer(work: Promise<object>): Promise<void> {
    try {
      this.say({ result: await work });
    } catch (reason) {
      this.say({ problem: JSON.parse(problemBody(asSkerryError(reason), nextRequestId())) });
    }
    this.#over = true;
    await this.#farewell();
    this.#outgoing.end();
  }

  /** To close on a client that still writes would take from it what it has not read yet: it is heard out. */
  #farewell(): Promise<void> {
    const incoming = this.#request;
    incoming.unpipe();
    return new Promise((resolve) => {
      if (incoming.complete || incoming.destroyed) return resolve();
      const late = setTimeout(resolve, FAREWELL_MS);
      const done = () => {
        clearTimeout(late);
        resolve();
      };
      incoming.once('end', done).once('close', done).resume();
    });
  }

  #send(kind: number, data: Buffer, done: () => void): void {
    const outgoing = this.#outgoing;
    if (outgoing.destroyed) return done();
    outgoing.cork();
    let fits = true;
    for (const piece of frames(kind, data)) fits = outgoing.write(piece);
    outgoing.uncork();
    if (fits) done();
    else void room(outgoing).then(done);
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
