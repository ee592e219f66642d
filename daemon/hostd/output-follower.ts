/** What a container's processes wrote, from conmon's log file: `TIME stdout|stderr P|F TEXT` a line (CRI format). */
import { type FSWatcher, readFileSync, watch, writeFileSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { ContainerOutput } from '../../runtime/drivers/container/host.ts';

const LINE = /^\S+ (stdout|stderr) ([PF]) /;
const NEWLINE = 10;

/** Pieces of the log in the order written; P lines are parts of a longer one. */
function parseLine(line: Buffer): ContainerOutput | null {
  const head = LINE.exec(line.subarray(0, 80).toString('latin1'));
  if (!head) return null;
  const text = line.subarray(head[0].length);
  const data = head[2] === 'F' ? Buffer.concat([text, Buffer.of(NEWLINE)]) : text;
  return { stream: head[1] as ContainerOutput['stream'], data };
}

/** Follows the file as it grows, and where conmon begins it anew; remembers how far it was read. */
export class OutputFollower {
  readonly #path: string;
  readonly #positionFile: string;
  readonly #output: (piece: ContainerOutput) => Promise<void> | void;
  /** Of the file that is read: when another takes its place it hears of that, and of nothing behind it. */
  #watcher: FSWatcher | null = null;
  #file: FileHandle | null = null;
  #inode = 0;
  /** Of the first byte that was not given to `output`. */
  #at = 0;
  #reading: Promise<void> = Promise.resolve();
  #stopping = false;
  #closed = false;

  /**
   * Goes on where another follower with this `positionFile` stopped. What `output` returns is waited for before more is read;
   * a piece that it rejects is given again, later.
   */
  constructor(path: string, positionFile: string, output: (piece: ContainerOutput) => Promise<void> | void) {
    this.#path = path;
    this.#positionFile = positionFile;
    this.#output = output;
    this.#wake();
  }

  /** Reads what is there, and no more. */
  async close(): Promise<void> {
    this.#wake();
    await this.stop();
  }

  /** Reads no more: another will. */
  async stop(): Promise<void> {
    const reading = this.#reading;
    this.#stopping = true;
    this.#watcher?.close();
    await reading;
    this.#closed = true;
    await this.#file?.close();
    this.#file = null;
  }

  #wake(): void {
    this.#reading = this.#reading.then(() => this.#read()).catch(() => {});
  }

  async #read(): Promise<void> {
    if (this.#closed) return;
    this.#file ??= await this.#open();
    let buffer = Buffer.allocUnsafe(64 * 1024);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#at);
      const taken = await this.#take(buffer.subarray(0, bytesRead));
      if (taken > 0) continue;
      // A line that is longer than all of it.
      if (bytesRead === buffer.length) buffer = Buffer.allocUnsafe(buffer.length * 2);
      else if (!(await this.#begunAnew())) return;
    }
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.#path, 'r');
    this.#inode = (await file.stat()).ino;
    this.#at = this.#remembered();
    // Before it is read to its end, and looked whether it is still the one: nothing comes unheard.
    this.#watcher?.close();
    if (!this.#stopping) this.#watcher = watch(this.#path, () => this.#wake()).on('error', () => {});
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

  /** Gives whole lines on. Returns how many bytes they have. */
  async #take(bytes: Buffer): Promise<number> {
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      const piece = parseLine(bytes.subarray(from, end));
      if (piece) await this.#output(piece);
      this.#at += end + 1 - from;
      from = end + 1;
    }
    if (from > 0) writeFileSync(this.#positionFile, `${this.#inode} ${this.#at}`);
    return from;
  }

  /** Where to go on in this file. */
  #remembered(): number {
    try {
      const [inode, at] = readFileSync(this.#positionFile, 'latin1').split(' ').map(Number);
      return inode === this.#inode && at !== undefined && Number.isSafeInteger(at) ? at : 0;
    } catch {
      return 0;
    }
  }
}
