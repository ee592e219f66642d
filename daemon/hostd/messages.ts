/**
 * Messages between the node and hostd: a document, bytes that belong to it, and descriptors, over a native Channel. Both
 * ends use it. A message is one or more packets: a byte that says whether more follow, then a piece of
 * `LENGTH DOCUMENT BYTES`, where LENGTH is the document's in bytes (32 bits, big-endian). Descriptors come with the last.
 */
import { Channel, closeFd, MAX_MESSAGE_BYTES } from '../../native/host/index.ts';

/** Of one message, with its bytes. */
export const MAX_BYTES = 4 * 1024 * 1024;

const PIECE = MAX_MESSAGE_BYTES - 1;
const LAST = 0;
const MORE = 1;
const LENGTH = 4;

export interface Message {
  /** JSON. */
  readonly document: unknown;
  readonly bytes: Buffer;
  /** To be closed by whoever handles the message. */
  readonly fds: readonly number[];
}

export interface MessageHandlers {
  onMessage(message: Message): void;
  /** Once. `why` is null when one of the two closed it. */
  onClose(why: Error | null): void;
}

/** A document as its packets. Throws RangeError when it is too large. */
export function packets(document: unknown, bytes: Uint8Array = new Uint8Array()): Buffer[] {
  const text = Buffer.from(JSON.stringify(document));
  const length = Buffer.alloc(LENGTH);
  length.writeUInt32BE(text.length);
  const whole = Buffer.concat([length, text, bytes]);
  if (whole.length > MAX_BYTES) throw new RangeError(`a message of ${whole.length} bytes is more than ${MAX_BYTES}`);
  const pieces: Buffer[] = [];
  for (let at = 0; at < whole.length; at += PIECE) {
    const last = at + PIECE >= whole.length;
    pieces.push(Buffer.concat([Buffer.of(last ? LAST : MORE), whole.subarray(at, at + PIECE)]));
  }
  return pieces;
}

/** Puts packets together again. */
class Assembler {
  #pieces: Buffer[] = [];
  #length = 0;

  /** Null until the message is whole. Throws when the peer breaks the form. */
  take(packet: Buffer): Pick<Message, 'document' | 'bytes'> | null {
    const [mark] = packet;
    if (mark !== LAST && mark !== MORE) throw new Error(`a packet begins with ${mark}`);
    this.#length += packet.length - 1;
    if (this.#length > MAX_BYTES) throw new Error(`a message has more than ${MAX_BYTES} bytes`);
    this.#pieces.push(packet.subarray(1));
    if (mark === MORE) {
      if (packet.length - 1 !== PIECE) throw new Error('a packet that is not the last is not full');
      return null;
    }
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#length = 0;
    if (whole.length < LENGTH) throw new Error('a message has no length');
    const end = LENGTH + whole.readUInt32BE();
    if (end > whole.length) throw new Error('a message is shorter than it says');
    return { document: JSON.parse(whole.toString('utf8', LENGTH, end)), bytes: whole.subarray(end) };
  }
}

/** One end. */
export class Messages {
  readonly #channel: Channel;
  readonly #assembler = new Assembler();
  /** One message after the other, so that little of them waits in the channel, and none is torn. */
  #sending: Promise<unknown> = Promise.resolve();
  #broken: Error | null = null;

  /** Owns the descriptor. */
  constructor(fd: number, handlers: MessageHandlers) {
    this.#channel = new Channel(fd, {
      onMessage: (packet, fds) => {
        try {
          const message = this.#assembler.take(packet);
          if (message) return handlers.onMessage({ ...message, fds });
          if (fds.length === 0) return;
          throw new Error('descriptors come with a packet that is not the last');
        } catch (error) {
          closeAll(fds);
          this.#broken = error as Error;
          this.#channel.close();
        }
      },
      onClose: (error) => handlers.onClose(this.#broken ?? error),
    });
  }

  /**
   * Resolves when the kernel has all of it; then, or when this rejects, the descriptors may be closed.
   * @throws RangeError it is too large; HostError the channel has ended
   */
  async send(document: unknown, bytes?: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const pieces = packets(document, bytes);
    const sent = this.#sending.then(async () => {
      for (const [at, piece] of pieces.entries()) {
        await this.#channel.send(piece, at === pieces.length - 1 ? fds : []);
      }
    });
    this.#sending = sent.catch(() => {});
    return sent;
  }

  /** Reads nothing more until `resume`. */
  pause(): void {
    this.#channel.pause();
  }

  resume(): void {
    this.#channel.resume();
  }

  close(): void {
    this.#channel.close();
  }

  unref(): void {
    this.#channel.unref();
  }
}

export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) void closeFd(fd).catch(() => {});
}
