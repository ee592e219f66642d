/** A workload's log on disk: two files of bounded size, the older one dropped when the newer is full. */
import { appendFile, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

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
  /** What touches the files does so in turn: a reader never meets a file that is being exchanged. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #onError: (error: unknown) => void;

  /** `onError` is told when the disk refuses a write; the lines are lost, the node goes on. */
  constructor(folder: string, onError: (error: unknown) => void) {
    this.#folder = folder;
    this.#onError = onError;
  }

  /** Takes one line without its newline. False when it was dropped: more comes than the disk may have to take. */
  append(line: string): boolean {
    const bytes = Buffer.byteLength(line) + 1;
    if (this.#pendingBytes + bytes > MAX_PENDING_BYTES) {
      this.#dropped++;
      return false;
    }
    this.#pending.push(line);
    this.#pendingBytes += bytes;
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
    return this.#inTurn(() => this.#write());
  }

  /** The last `count` lines, oldest first. */
  async tail(count: number): Promise<string[]> {
    await this.flush();
    const lines: string[] = [];
    await this.#inTurn(async () => {
      // Both together are a few MiB at most.
      for (const file of [this.#file('old'), this.#file('new')]) {
        const text = await readFile(file, 'utf8').catch(absent);
        if (text) lines.push(...text.split('\n').filter((line) => line !== ''));
      }
    });
    return count === 0 ? [] : lines.slice(-count);
  }

  remove(): Promise<void> {
    return this.#inTurn(async () => {
      this.#takePending();
      this.#dropped = 0;
      await rm(this.#folder, { recursive: true, force: true });
      this.#size = null;
    });
  }

  /** A failure is told to `onError`; those that come after have their turn all the same. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work).catch(this.#onError);
    this.#turn = done;
    return done;
  }

  #takePending(): string[] {
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    return pending;
  }

  async #write(): Promise<void> {
    if (this.#pending.length === 0) return;
    const text = `${this.#takePending().join('\n')}\n`;
    const bytes = Buffer.byteLength(text);
    if (this.#size === null) {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      this.#size = (await stat(this.#file('new')).catch(absent))?.size ?? 0;
    }
    if (this.#size > 0 && this.#size + bytes > FILE_BYTES) {
      await rename(this.#file('new'), this.#file('old'));
      this.#size = 0;
    }
    this.#size += bytes;
    await appendFile(this.#file('new'), text, { mode: 0o600 });
  }

  #file(which: 'new' | 'old'): string {
    return join(this.#folder, `${which}.ndjson`);
  }
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
