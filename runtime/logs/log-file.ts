/** A workload's log on disk: two files of bounded size, the older one dropped when the newer is full. */
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Size of each of the two files, in bytes. */
const FILE_BYTES = 1024 * 1024;
/** Lines are gathered this long before they are written, in milliseconds: flash wears by the write. */
const WRITE_EVERY_MS = 250;
/** What may wait to be written, in bytes; what comes beyond it is counted and dropped. */
const MAX_PENDING_BYTES = 256 * 1024;

export class LogFile {
  readonly #folder: string;
  #pending: string[] = [];
  #pendingBytes = 0;
  #dropped = 0;
  #size: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();
  readonly #onError: (error: unknown) => void;

  /** `onError` is told when the disk refuses a write; the lines are lost, the node goes on. */
  constructor(folder: string, onError: (error: unknown) => void) {
    this.#folder = folder;
    this.#onError = onError;
  }

  /** Takes one line without its newline. False when it was dropped: more comes than the disk may have to take. */
  append(line: string): boolean {
    if (this.#pendingBytes + line.length > MAX_PENDING_BYTES) {
      this.#dropped++;
      return false;
    }
    this.#pending.push(line);
    this.#pendingBytes += line.length + 1;
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_EVERY_MS).unref();
    return true;
  }

  /** Lines dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#writing = this.#writing.then(() => this.#write()).catch(this.#onError);
    return this.#writing;
  }

  /** The last `count` lines, oldest first. */
  async tail(count: number): Promise<string[]> {
    await this.flush();
    const lines: string[] = [];
    for (const file of [this.#file('old'), this.#file('new')]) {
      if (!existsSync(file)) continue;
      for await (const line of createInterface({ input: createReadStream(file) })) {
        lines.push(line);
        if (lines.length > count * 2 + 1000) lines.splice(0, lines.length - count);
      }
    }
    return count === 0 ? [] : lines.slice(-count);
  }

  async remove(): Promise<void> {
    await this.flush();
    rmSync(this.#folder, { recursive: true, force: true });
    this.#size = null;
  }

  async #write(): Promise<void> {
    if (this.#pending.length === 0) return;
    const text = `${this.#pending.join('\n')}\n`;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (this.#size === null) {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      this.#size = existsSync(this.#file('new')) ? statSync(this.#file('new')).size : 0;
    }
    if (this.#size > 0 && this.#size + text.length > FILE_BYTES) {
      renameSync(this.#file('new'), this.#file('old'));
      this.#size = 0;
    }
    await appendFile(this.#file('new'), text, { mode: 0o600 });
    this.#size += Buffer.byteLength(text);
  }

  #file(which: 'new' | 'old'): string {
    return join(this.#folder, `${which}.ndjson`);
  }
}
