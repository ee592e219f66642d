/** wasi:io/{error,poll,streams}. */
import { now } from '../clock.ts';
import { currentRun, currentRunOrNull } from './current-run.ts';
import { HostTrap } from './failure.ts';
import { Handle } from './handle.ts';

/** `wasi:io/error`'s resource. */
export class IoError extends Handle {
  readonly #text: string;
  /** A `wasi:http/types.error-code`, when that is what went wrong. */
  readonly httpCode: unknown;

  constructor(text: string, httpCode?: unknown) {
    super();
    this.#text = text;
    this.httpCode = httpCode;
  }

  toDebugString(): string {
    return this.#text;
  }
}

/** Something that a guest can wait for. */
export interface Awaited {
  ready(): boolean;
  /** When it will be ready by itself, in milliseconds of `performance.now()`. */
  readonly at?: number;
}

export const always: Awaited = { ready: () => true };

export class Pollable extends Handle {
  readonly #awaited: Awaited;

  constructor(awaited: Awaited) {
    super();
    this.#awaited = awaited;
  }

  static awaited(pollable: Pollable): Awaited {
    return pollable.#awaited;
  }

  ready(): boolean {
    const run = currentRunOrNull();
    // A guest may ask again and again and never wait.
    run?.calls.flush();
    run?.receive();
    return this.#awaited.ready();
  }

  block(): void {
    waitForAny([this.#awaited]);
  }
}

/** Lists longer than this come from no real guest and would cost the host memory. */
const pollLimit = 10_000;

function poll(pollables: readonly Pollable[]): Uint32Array {
  if (pollables.length === 0) throw new HostTrap('poll of an empty list');
  if (pollables.length > pollLimit) throw new HostTrap(`poll of more than ${pollLimit} pollables`);
  return Uint32Array.from(waitForAny(pollables.map(Pollable.awaited)));
}

/** Blocks until at least one is ready; the places of those that are. */
export function waitForAny(list: readonly Awaited[]): number[] {
  const run = currentRun();
  run.calls.flush();
  for (;;) {
    const bell = run.channel.bell();
    run.receive();
    const ready: number[] = [];
    let until = Number.POSITIVE_INFINITY;
    for (let i = 0; i < list.length; i++) {
      const awaited = list[i]!;
      if (awaited.ready()) ready.push(i);
      else if (awaited.at !== undefined) until = Math.min(until, awaited.at);
    }
    if (ready.length > 0) return ready;
    // What was written must be on its way before the guest sleeps: that is when an event is sent.
    run.answer.expose();
    run.output.flush();
    run.channel.wait(bell, until - now());
  }
}

/** Where an input stream's bytes come from. */
export interface ByteSource extends Awaited {
  /** Up to `limit` bytes; empty when there are none yet. Throws a `stream-error` at the end. */
  read(limit: number): Uint8Array;
  /** The guest has dropped the stream. */
  close(): void;
}

/** Bytes that one read gives at most, whatever the guest asks for. */
const readLimit = 64 * 1024;
const closed = { tag: 'closed' } as const;

/** Throws a `stream-error`, which jco takes as the `err` of a result. */
export function throwClosed(): never {
  throw closed;
}
export function throwFailed(error: IoError): never {
  throw { tag: 'last-operation-failed', val: error };
}

export class InputStream extends Handle {
  readonly #source: ByteSource;

  constructor(source: ByteSource) {
    super();
    this.#source = source;
  }

  read(length: bigint): Uint8Array {
    currentRun().receive();
    return this.#source.read(clamp(length));
  }

  blockingRead(length: bigint): Uint8Array {
    if (length > 0n) waitForAny([this.#source]);
    return this.read(length);
  }

  skip(length: bigint): bigint {
    return BigInt(this.read(length).byteLength);
  }

  blockingSkip(length: bigint): bigint {
    return BigInt(this.blockingRead(length).byteLength);
  }

  subscribe(): Pollable {
    return new Pollable(this.#source);
  }

  protected override closed(): void {
    this.#source.close();
  }
}

function clamp(length: bigint): number {
  return length > BigInt(readLimit) ? readLimit : Number(length);
}

/** Where an output stream's bytes go. `ready` is true when there is room, or when writing has become pointless. */
export interface ByteSink extends Awaited {
  /** Bytes that may be written now. Throws a `stream-error` when nobody takes them any more. */
  room(): number;
  write(data: Uint8Array): void;
  flush(): void;
  close(): void;
}

const zeroes = new Uint8Array(64 * 1024);

export class OutputStream extends Handle {
  readonly #sink: ByteSink;
  /** What the guest may write by what it was told last. */
  #permit = 0;

  constructor(sink: ByteSink) {
    super();
    this.#sink = sink;
  }

  checkWrite(): bigint {
    currentRunOrNull()?.receive();
    this.#permit = this.#sink.room();
    return BigInt(this.#permit);
  }

  write(contents: Uint8Array): void {
    // Guests that did not ask are let off while there is room, as they are by the native engine: StarlingMonkey is one.
    if (contents.byteLength > this.#permit && contents.byteLength > this.#sink.room()) {
      throw new HostTrap('a write of more than check-write allowed');
    }
    this.#permit = Math.max(0, this.#permit - contents.byteLength);
    this.#put(contents);
  }

  writeZeroes(length: bigint): void {
    if (length > BigInt(this.#permit)) throw new HostTrap('a write of more than check-write allowed');
    this.write(zeroes.slice(0, Number(length)));
  }

  flush(): void {
    this.#sink.room();
    this.#sink.flush();
  }

  blockingFlush(): void {
    this.flush();
    waitForAny([this.#sink]);
    this.#sink.room();
  }

  blockingWriteAndFlush(contents: Uint8Array): void {
    if (contents.byteLength > 4096) throw new HostTrap('blocking-write-and-flush of more than 4096 bytes');
    let at = 0;
    while (at < contents.byteLength) {
      let room = this.#sink.room();
      if (room === 0) {
        waitForAny([this.#sink]);
        room = this.#sink.room();
      }
      const piece = at === 0 && room >= contents.byteLength ? contents : contents.slice(at, at + room);
      this.#put(piece);
      at += piece.byteLength;
    }
    this.#sink.flush();
  }

  blockingWriteZeroesAndFlush(length: bigint): void {
    if (length > 4096n) throw new HostTrap('blocking-write-zeroes-and-flush of more than 4096 bytes');
    this.blockingWriteAndFlush(zeroes.slice(0, Number(length)));
  }

  splice(source: InputStream, length: bigint): bigint {
    const room = BigInt(this.#sink.room());
    const data = source.read(length < room ? length : room);
    this.#put(data);
    return BigInt(data.byteLength);
  }

  blockingSplice(source: InputStream, length: bigint): bigint {
    waitForAny([this.#sink]);
    const room = BigInt(this.#sink.room());
    const data = source.blockingRead(length < room ? length : room);
    this.#put(data);
    return BigInt(data.byteLength);
  }

  subscribe(): Pollable {
    return new Pollable(this.#sink);
  }

  #put(data: Uint8Array): void {
    this.#sink.room();
    if (data.byteLength > 0) this.#sink.write(data);
  }

  protected override closed(): void {
    this.#sink.close();
  }
}

/** A stream that has ended before it began: stdin. */
export const nothing: ByteSource = { ready: () => true, read: throwClosed, close() {} };

export const io = {
  'wasi:io/error': { Error: IoError },
  'wasi:io/poll': { Pollable, poll },
  'wasi:io/streams': { InputStream, OutputStream },
};
