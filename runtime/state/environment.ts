import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { SkerryError } from '../../errors/skerry-error.ts';
import { checkDataFile } from './data-file.ts';
import { stateErrors } from './errors.ts';
import { type Demand, reserve } from './reserve.ts';

/** `value: null` removes the key. */
export interface RawWrite {
  readonly key: string;
  readonly value: Buffer | null;
}

/** Records by key, as bytes, in the order of the keys. What a migration sees, and the store is built on. */
export interface RawRecords {
  get(key: string): Buffer | undefined;
  range(prefix: string): Iterable<[key: string, record: Buffer]>;
}

export interface EnvironmentOptions {
  /** Address space set aside for the data file, in bytes; LMDB takes more when the file outgrows it. */
  readonly mapBytes?: number;
}

/** Address space, not memory: far more than the documents of a node need, so that growing is the exception. */
const defaultMapBytes = 1024 * 1024 * 1024;

/** LMDB's header and its table of 126 readers (64 bytes each) take less. */
const lockFileBytes = 16 * 1024;

/** ENOSPC, EDQUOT, EFBIG. */
const noRoom = new Set([28, 122, 27]);
/** EPERM, EACCES, EEXIST (a file where the folder should be), ENOTDIR, EROFS. */
const noRight = new Set([1, 13, 17, 20, 30]);
const ioError = 5;

/** When a write came out short and less than this is free, in bytes, the disk counts as full. */
const fullBelowBytes = 4 * 1024 * 1024;

/** What a new environment takes until its first commit is made. */
const newEnvironmentBytes = 512 * 1024;

const rangeEnd = Buffer.from([0xff]);

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function openDatabase(folder: string, options: EnvironmentOptions): RootDatabase<Buffer, Buffer> {
  // LMDB writes its lock file through a shared mapping: without blocks behind it, a full disk would end the process
  // with SIGBUS. The node holds its data folder for itself, so nobody else has the file open.
  const lockFile = join(folder, 'lock.mdb');
  writeFileSync(lockFile, Buffer.alloc(lockFileBytes), { mode: 0o600, flag: existsSync(lockFile) ? 'r+' : 'w' });
  return open<Buffer, Buffer>({
    path: folder,
    noSubdir: false,
    encoding: 'binary',
    keyEncoding: 'binary',
    mapSize: options.mapBytes ?? defaultMapBytes,
    permissionsMode: 0o600,
    // The classic commit: data pages, fdatasync, then the root through a synchronous descriptor. A commit is durable
    // when its promise resolves. (Overlapping sync trusts unsynced pages after a crash when the boot id is the same.)
    overlappingSync: false,
  } as Parameters<typeof open>[0]);
}

/**
 * Opens the environment in `folder`. A new one is made aside, filled by `create`, and renamed to its place when it is on
 * the disk: LMDB's own first write of a data file is not synced, and a power cut there would leave a file that is
 * neither new nor whole. Throws STATE_CORRUPT, STATE_DISK_FULL, STATE_NOT_WRITABLE, STATE_WRITE_FAILED.
 */
export async function openEnvironment(
  folder: string,
  options: EnvironmentOptions,
  create: (environment: Environment) => void,
): Promise<Environment> {
  const dataFile = join(folder, 'data.mdb');
  const aside = join(folder, 'creating');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
    syncFolder(dirname(folder));
    rmSync(aside, { recursive: true, force: true });
    if (!existsSync(dataFile)) {
      mkdirSync(aside, { mode: 0o700 });
      // LMDB's own first write is not preceded by any reserve: see whether there is room for a new environment at all.
      const probe = join(aside, 'room');
      writeFileSync(probe, Buffer.alloc(newEnvironmentBytes), { mode: 0o600 });
      rmSync(probe);
      const made = new Environment(aside, options);
      try {
        create(made);
      } finally {
        await made.close();
      }
      renameSync(join(aside, 'data.mdb'), dataFile);
      syncFolder(folder);
      rmSync(aside, { recursive: true, force: true });
    }
    checkDataFile(dataFile);
    return new Environment(folder, options);
  } catch (error) {
    throw explain(folder, error);
  }
}

/** One LMDB environment: one data file, one writer, transactions that are all or nothing and durable. */
export class Environment implements RawRecords {
  readonly folder: string;
  readonly #options: EnvironmentOptions;
  #database: RootDatabase<Buffer, Buffer> | null;
  /** What reads are served from while the environment is opened anew after a failed write. */
  #snapshot: Map<string, Buffer> | null = null;

  constructor(folder: string, options: EnvironmentOptions) {
    this.folder = folder;
    this.#options = options;
    this.#database = openDatabase(folder, options);
  }

  get(key: string): Buffer | undefined {
    if (this.#snapshot) return this.#snapshot.get(key);
    return this.#open().get(Buffer.from(key));
  }

  *range(prefix: string): Iterable<[string, Buffer]> {
    if (this.#snapshot) {
      for (const entry of this.#snapshot) if (entry[0].startsWith(prefix)) yield entry;
      return;
    }
    const start = Buffer.from(prefix);
    for (const { key, value } of this.#open().getRange({ start, end: Buffer.concat([start, rangeEnd]) }))
      yield [key.toString(), value];
  }

  /** Keys alone, in their order: from `start` on, before `end`; the first `skip` of them left out, at most `limit`. */
  *keys(start: string, end: string, skip: number, limit: number): Iterable<string> {
    if (this.#snapshot) {
      const within = [...this.#snapshot.keys()].filter(
        (key) => compareUtf8(key, start) >= 0 && compareUtf8(key, end) < 0,
      );
      yield* within.slice(skip, skip + limit);
      return;
    }
    const range = { start: Buffer.from(start), end: Buffer.from(end), offset: skip, limit };
    for (const key of this.#open().getKeys(range)) yield key.toString();
  }

  /**
   * One transaction; resolves when it is on the disk. After an error nothing of it is visible. `onlyRemoves`: the last
   * room on the disk may be used.
   */
  async write(writes: readonly RawWrite[], onlyRemoves: boolean): Promise<void> {
    // What the last failed write left in LMDB's memory is not trusted.
    if (this.#snapshot) await this.#reopen();
    const database = this.#open();
    this.#reserve(demandOf(writes, onlyRemoves));
    try {
      await database.batch(() => {
        for (const { key, value } of writes) {
          if (value) database.put(Buffer.from(key), value);
          else database.remove(Buffer.from(key));
        }
      });
    } catch (error) {
      this.#snapshot = new Map(this.range(''));
      throw explain(this.folder, await commitError(error));
    }
  }

  /**
   * Runs `change` in one transaction that is on the disk when this returns; when it throws, nothing is changed. What
   * `change` puts is written as it comes, so that later reads see it.
   */
  writeNow(demand: Demand, change: (put: (write: RawWrite) => void) => void): void {
    const database = this.#open();
    this.#reserve(demand);
    try {
      database.transactionSync(() => {
        change(({ key, value }) => {
          if (value) database.put(Buffer.from(key), value);
          else database.remove(Buffer.from(key));
        });
      });
    } catch (error) {
      throw explain(this.folder, error);
    }
  }

  #reserve(demand: Demand): void {
    try {
      reserve(join(this.folder, 'data.mdb'), demand);
    } catch (error) {
      throw explain(this.folder, error);
    }
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = null;
    this.#snapshot = null;
    await database?.close();
  }

  #open(): RootDatabase<Buffer, Buffer> {
    if (!this.#database) throw stateErrors.STATE_CLOSED();
    return this.#database;
  }

  async #reopen(): Promise<void> {
    const old = this.#database;
    try {
      await old?.close();
      checkDataFile(join(this.folder, 'data.mdb'));
      this.#database = openDatabase(this.folder, this.#options);
      this.#snapshot = null;
    } catch (error) {
      throw explain(this.folder, error);
    }
  }
}

/** LMDB's order. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function demandOf(writes: readonly RawWrite[], onlyRemoves: boolean): Demand {
  const bytes = writes.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
  return { records: writes.length, bytes, onlyRemoves };
}

function explain(folder: string, error: unknown): SkerryError {
  if (error instanceof SkerryError) return error;
  const { message, code, errno } = error as Error & { code?: string | number; errno?: number };
  const number = Math.abs(typeof code === 'number' ? code : (errno ?? 0));
  if (noRoom.has(number) || (number === ioError && isFull(folder)))
    return stateErrors.STATE_DISK_FULL(folder).because(error);
  if (noRight.has(number))
    return stateErrors.STATE_NOT_WRITABLE(folder, typeof code === 'string' ? code : message).because(error);
  return stateErrors.STATE_WRITE_FAILED(folder, message).because(error);
}

/** LMDB reports a write that came out short as EIO, which is also what a full disk looks like. */
function isFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < fullBelowBytes;
  } catch {
    return false;
  }
}

/** lmdb-js rejects with an error that carries the promise of the real one. */
async function commitError(error: unknown): Promise<unknown> {
  try {
    await (error as { commitError?: Promise<unknown> }).commitError;
    return error;
  } catch (real) {
    return real;
  }
}
