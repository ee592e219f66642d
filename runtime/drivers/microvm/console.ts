/** What a guest's kernel prints: read as fast as it comes, so that the guest never waits for it, and all but its end forgotten. */
import type { Readable } from 'node:stream';

/** In bytes. */
const KEPT = 4096;
/** Of what is shown in a message, in characters. */
const SHOWN = 300;

export class Console {
  #last = Buffer.alloc(0);

  constructor(stream: Readable) {
    stream.on('data', (piece: Buffer) => {
      this.#last = Buffer.concat([this.#last, piece.subarray(-KEPT)]).subarray(-KEPT);
    });
    stream.on('error', () => {});
  }

  /** The words of a kernel that has given up, or else the last line; empty when it said nothing. */
  lastWords(): string {
    const lines = this.#last
      .toString('latin1')
      .replaceAll(/[^\x20-\x7e\n]/g, '')
      .split('\n')
      .map((line) => line.replace(/^\[\s*\d+\.\d+\]\s*/, '').trim())
      .filter((line) => line !== '');
    const panic = lines.find((line) => /kernel panic|not syncing/i.test(line));
    return (panic ?? lines.at(-1) ?? '').slice(0, SHOWN);
  }
}
