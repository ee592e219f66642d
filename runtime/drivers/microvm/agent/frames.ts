/** Frames between the node and the agent in a guest (`native/agent/README.md`). What comes from a guest is hostile. */

const MAGIC = 0xa5;
const END = 0x5a;
export const HEADER_BYTES = 8;
/** Of a whole frame. */
export const MAX_FRAME_BYTES = 64 * 1024;
export const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - HEADER_BYTES - 1;
/** Where the agent may be in the middle of a frame that another node sent, this many zeros bring it to the beginning of one. */
export const RESYNC_BYTES = MAX_FRAME_BYTES + 64;

export interface Frame {
  readonly kind: number;
  readonly channel: number;
  /** Only until the handler returns. */
  readonly payload: Buffer;
}

/** @param payload at most `MAX_PAYLOAD_BYTES` */
export function encodeFrame(kind: number, channel: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength + 1);
  frame[0] = MAGIC;
  frame[1] = kind;
  frame.writeUInt16LE(channel, 2);
  frame.writeUInt32LE(payload.byteLength, 4);
  frame.set(payload, HEADER_BYTES);
  frame[frame.length - 1] = END;
  return frame;
}

/** Why a stream is none of frames. */
export class NotFrames extends Error {}

/** Makes frames of the pieces of a stream, and takes nothing else. Holds less than one frame. */
export class FrameParser {
  readonly #take: (frame: Frame) => void;
  #held: Buffer | null = null;
  #length = 0;

  constructor(take: (frame: Frame) => void) {
    this.#take = take;
  }

  /** Gives every frame that is complete by these bytes to the handler. Throws NotFrames, and what the handler throws. */
  push(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#length === 0) {
        const total = rest.length < HEADER_BYTES ? null : frameLength(rest);
        if (total !== null && total <= rest.length) {
          this.#finish(rest.subarray(0, total));
          rest = rest.subarray(total);
          continue;
        }
      }
      rest = this.#hold(rest);
    }
  }

  /** Copies what is missing of the header, or of the frame once that is known. */
  #hold(bytes: Buffer): Buffer {
    this.#held ??= Buffer.allocUnsafe(MAX_FRAME_BYTES);
    const held = this.#held;
    const wanted = this.#length < HEADER_BYTES ? HEADER_BYTES : frameLength(held);
    const count = bytes.copy(held, this.#length, 0, wanted - this.#length);
    this.#length += count;
    if (this.#length >= HEADER_BYTES && this.#length === frameLength(held)) {
      this.#finish(held.subarray(0, this.#length));
      this.#length = 0;
    }
    return bytes.subarray(count);
  }

  #finish(frame: Buffer): void {
    if (frame[frame.length - 1] !== END) throw new NotFrames('a frame without its end');
    const payload = frame.subarray(HEADER_BYTES, frame.length - 1);
    this.#take({ kind: frame[1] as number, channel: frame.readUInt16LE(2), payload });
  }
}

/** Of the frame that begins here, all of it. */
function frameLength(bytes: Buffer): number {
  if (bytes[0] !== MAGIC) throw new NotFrames('bytes that begin no frame');
  const total = bytes.readUInt32LE(4) + HEADER_BYTES + 1;
  if (total > MAX_FRAME_BYTES) throw new NotFrames(`a frame of ${total} bytes`);
  return total;
}
