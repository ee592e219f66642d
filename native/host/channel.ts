/**
 * Messages with descriptors between two processes, over a SOCK_SEQPACKET Unix socket: each arrives whole or not at all.
 * The peer may be hostile. What breaks the rules below ends the channel, with every descriptor of that message closed.
 */
import { call, type NativeChannel, native } from './binding.ts';
import { asHostError, type HostError } from './host-error.ts';

/** Bytes of one message. */
export const MAX_MESSAGE_BYTES = 64 * 1024;
/** Descriptors that go with one message. */
export const MAX_MESSAGE_FDS = 16;

export interface ChannelHandlers {
  /** A message of 1 to 65,536 bytes. The descriptors (at most 16, closed on exec) are the handler's to close. */
  onMessage(bytes: Buffer, fds: number[]): void;
  /**
   * Called once, when the channel has ended: null after `close` of either side, else what was wrong. EMSGSIZE: a message
   * was too long; ETOOMANYREFS: it had too many descriptors, or this process has no room for them; ECONNRESET: the peer left without
   * reading all that it was sent.
   */
  onClose(error: HostError | null): void;
}

export class Channel {
  readonly #native: NativeChannel;

  /**
   * Reads at once, and keeps the process alive until it is closed. Owns the descriptor, unless this throws.
   * @throws HostError EBADF, ENOTSOCK, EPROTOTYPE (it is not SOCK_SEQPACKET)
   */
  constructor(fd: number, handlers: ChannelHandlers) {
    const ended = (error: Error | null) => handlers.onClose(asHostError(error) as HostError | null);
    try {
      this.#native = new (native().Channel)(fd, (bytes, fds) => handlers.onMessage(bytes, fds), ended);
    } catch (error) {
      throw asHostError(error);
    }
  }

  /**
   * Resolves when the kernel has the message; then, or when this rejects, the descriptors may be closed. Messages arrive
   * in the order of the calls. What a slow peer leaves unread waits here: at most 256 messages, 1 MiB, 256 descriptors.
   * @throws HostError EINVAL (it is empty), EMSGSIZE, E2BIG (too many descriptors), EBADF, ENOBUFS (too much waits
   * already), EPIPE (the channel has ended), ETOOMANYREFS (the peer holds too many descriptors unread)
   */
  async send(bytes: Uint8Array, fds: readonly number[] = []): Promise<void> {
    try {
      await this.#native.send(bytes, fds);
    } catch (error) {
      throw asHostError(error);
    }
  }

  /** Reads nothing more until `resume`: the peer's messages wait in the kernel, then at the peer. */
  pause(): void {
    this.#native.pause();
  }

  resume(): void {
    this.#native.resume();
  }

  /** Drops what waits to be sent, and calls `onClose` before it returns. Idempotent. */
  close(): void {
    this.#native.close();
  }

  /** Whether the open channel keeps the process alive; it does at first. */
  ref(): void {
    this.#native.ref();
  }

  unref(): void {
    this.#native.unref();
  }
}

/** The two ends of a new channel; both closed on exec, so name one in `stdio` to give it to a child. @throws HostError EMFILE */
export function socketPair(): Promise<[number, number]> {
  return call((host) => host.socketPair());
}

/** The two ends of a stream both ways (SOCK_STREAM), as `net.Socket` and other programs take them. @throws HostError EMFILE */
export function streamPair(): Promise<[number, number]> {
  return call((host) => host.streamPair());
}

/** A pipe, the end to read from first; both closed on exec. @throws HostError EMFILE */
export function makePipe(): Promise<[number, number]> {
  return call((host) => host.makePipe());
}
