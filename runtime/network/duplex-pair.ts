import { Duplex } from 'node:stream';

/** One end of a connection within the process, as far as it has to be like a `net.Socket`. */
class End extends Duplex {
  #other!: End;
  /** The other end waits until this one has room for what it wrote. */
  #room: (() => void) | null = null;

  join(other: End): void {
    this.#other = other;
  }

  override _read(): void {
    const room = this.#room;
    this.#room = null;
    room?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    const other = this.#other;
    if (other.destroyed || chunk.length === 0) return callback();
    other.#room = callback;
    other.push(chunk);
  }

  override _final(callback: () => void): void {
    if (!this.#other.destroyed) this.#other.push(null);
    callback();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const other = this.#other;
    // What it has written already waits to be read there; without an end it is broken off.
    if (!this.writableFinished && !other.destroyed) {
      other.destroy(Object.assign(new Error('the other end broke off'), { code: 'ECONNRESET' }));
    }
    this._read();
    callback(error);
  }

  /** As sockets do: ends it when all was written. */
  destroySoon(): void {
    this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }
}

/** Two ends of one connection: what is written to one is read from the other, as fast as that is. */
export function duplexPair(): [Duplex, Duplex] {
  const [one, other] = [new End(), new End()];
  one.join(other);
  other.join(one);
  return [one, other];
}
