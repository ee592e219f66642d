/**
 * What goes over a request and its answer when a process is attached to them: frames of a kind (a byte), a length (32 bits,
 * big-endian) and that many bytes.
 */
import { Transform, type TransformCallback } from 'node:stream';

export const FRAME = {
  /** JSON: the request, first of all; in the answer what has become of it, first and last. */
  document: 0,
  stdin: 1,
  stdout: 2,
  stderr: 3,
} as const;

export interface Frame {
  readonly kind: number;
  readonly bytes: Buffer;
}

/** Of one frame, in bytes. */
const MAX_FRAME_BYTES = 1024 * 1024;
const HEAD = 5;

/** Data that is longer than a frame may be is several. */
export function frames(kind: number, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += MAX_FRAME_BYTES) {
    const piece = bytes.subarray(at, at + MAX_FRAME_BYTES);
    const head = Buffer.alloc(HEAD);
    head[0] = kind;
    head.writeUInt32BE(piece.length, 1);
    pieces.push(head, piece);
  }
  return pieces;
}

/** Bytes in, frames out; an error where they are none. */
export class FrameReader extends Transform {
  #rest: Buffer = Buffer.alloc(0);

  constructor() {
    super({ readableObjectMode: true, readableHighWaterMark: 4 });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (rest.length >= HEAD) {
      const length = rest.readUInt32BE(1);
      if (length > MAX_FRAME_BYTES) return done(new RangeError(`a frame of ${length} bytes`));
      if (rest.length < HEAD + length) break;
      this.push({ kind: rest[0] as number, bytes: rest.subarray(HEAD, HEAD + length) } satisfies Frame);
      rest = rest.subarray(HEAD + length);
    }
    this.#rest = rest;
    done();
  }

  override _flush(done: TransformCallback): void {
    done(this.#rest.length === 0 ? null : new RangeError('it ends within a frame'));
  }
}
