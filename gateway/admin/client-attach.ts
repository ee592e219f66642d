/** The client's side of an attachment (`attachment.ts`). */
import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { z } from 'zod';
import { room } from '../../runtime/room.ts';
import type { AttachedStreams } from './client.ts';
import { FRAME, type Frame, FrameReader, frames } from './frames.ts';

const Said = z.union([
  z.object({ started: z.string() }),
  z.object({ result: z.unknown() }),
  z.object({ problem: z.unknown() }),
]);

/** A body: the request, then what the process reads. */
export function attachRequest(request: object, stdin: Readable): Readable {
  const body = new PassThrough();
  const put = (kind: number, bytes: Buffer) =>
    frames(kind, bytes)
      .map((piece) => body.write(piece))
      .every(Boolean);
  put(FRAME.document, Buffer.from(JSON.stringify(request)));
  stdin.on('data', (piece: Buffer | string) => {
    if (put(FRAME.stdin, Buffer.from(piece as Buffer))) return;
    stdin.pause();
    body.once('drain', () => stdin.resume());
  });
  stdin.once('end', () => body.end());
  // What cannot be read is at its end.
  stdin.once('error', () => body.end());
  body.once('close', () => stdin.pause());
  return body;
}

/** Gives on what the process writes. Resolves with what was said last; throws when the answer breaks off before. */
export async function readAttached(
  answer: IncomingMessage,
  { stdout, stderr }: AttachedStreams,
  started: (name: string) => void,
): Promise<Exclude<z.infer<typeof Said>, { started: string }>> {
  const read = answer.pipe(new FrameReader());
  answer.once('error', (error) => read.destroy(error));
  answer.once('aborted', () => read.destroy(new Error('the answer broke off')));
  for await (const { kind, bytes } of read as AsyncIterable<Frame>) {
    if (kind === FRAME.document) {
      const said = Said.parse(JSON.parse(bytes.toString('utf8')));
      if (!('started' in said)) return said;
      started(said.started);
    } else if (kind === FRAME.stdout || kind === FRAME.stderr) {
      const to = kind === FRAME.stdout ? stdout : stderr;
      if (!to.write(bytes)) await room(to);
    }
  }
  throw new Error('the answer ended before the process did');
}
