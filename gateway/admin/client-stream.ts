import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** The whole of a stream as UTF-8; throws what it breaks with. */
export async function text(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** The lines of a stream of UTF-8 as they come, without their ends and without empty ones; throws what it breaks with. */
export async function* lines(stream: Readable): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder('utf8');
  let pieces: string[] = [];
  for await (const chunk of stream) {
    const parts = decoder.write(chunk as Buffer).split('\n');
    pieces.push(parts[0] as string);
    for (let i = 1; i < parts.length; i++) {
      const line = pieces.join('');
      pieces = [parts[i] as string];
      if (line !== '') yield line;
    }
  }
  const last = pieces.join('') + decoder.end();
  if (last !== '') yield last;
}
