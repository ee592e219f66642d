/** What a container's processes wrote, from conmon's log file: `TIME stdout|stderr P|F TEXT` a line (CRI format). */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { ContainerOutput } from '../../runtime/drivers/container/host.ts';

const LINE = /^\S+ (stdout|stderr) ([PF]) /;
const NEWLINE = 10;

/** Pieces of the log in the order written; P lines are parts of a longer one. */
export function parseLine(line: Buffer): ContainerOutput | null {
  const head = LINE.exec(line.subarray(0, 80).toString('latin1'));
  if (!head) return null;
  const text = line.subarray(head[0].length);
  const data = head[2] === 'F' ? Buffer.concat([text, Buffer.of(NEWLINE)]) : text;
  return { stream: head[1] as ContainerOutput['stream'], data };
}

/** Follows the file as it grows, and where conmon begins it anew. */
export class OutputFollower {
  readonly #path: string;
  readonly #output: (piece: ContainerOutput) => Promise<void> | void;
  readonly #watcher: FSWatcher;
  #file: FileHandle | null = null;
  #inode = 0;
  #at = 0;
  #rest: Buffer = Buffer.alloc(0);
  #reading: Promise<void> = Promise.resolve();
  #closed = false;

  /** No more is read until what `output` returns has resolved. */
  constructor(path: string, output: (piece: ContainerOutput) => Promise<void> | void) {
    this.#path = path;
    this.#output = output;
    this.#watcher = watch(path, () => this.#wake());
    this.#watcher.on('error', () => {});
    this.#wake();
  }

  /** Reads what is there, and no more. */
  async close(): Promise<void> {
    this.#wake();
    await this.#reading;
    this.#closed = true;
    this.#watcher.close();
    await this.#file?.close();
  }

  #wake(): void {
    this.#reading = this.#reading.then(() => this.#read()).catch(() => {});
  }

  async #read(): Promise<void> {
    if (this.#closed) return;
    this.#file ??= await this.#open();
    const buffer = Buffer.allocUnsafe(64 * 1024);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#at);
      if (bytesRead > 0) {
        this.#at += bytesRead;
        await this.#take(buffer.subarray(0, bytesRead));
      } else if (!(await this.#begunAnew())) return;
    }
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.#path, 'r');
    this.#inode = (await file.stat()).ino;
    this.#at = 0;
    return file;
  }

  /** conmon puts an empty file in the place of one that has become too large. */
  async #begunAnew(): Promise<boolean> {
    if ((await stat(this.#path)).ino === this.#inode) return false;
    const before = this.#file;
    this.#file = await this.#open();
    await before?.close();
    return true;
  }

  async #take(bytes: Buffer): Promise<void> {
    let rest = Buffer.concat([this.#rest, bytes]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const piece = parseLine(rest.subarray(0, end));
      if (piece) await this.#output(piece);
      rest = rest.subarray(end + 1);
    }
    this.#rest = rest;
  }
}
