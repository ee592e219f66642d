import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { stateErrors } from './errors.ts';

/*
 * LMDB maps its data file and follows the page numbers it finds there: one flipped bit, or a file that was cut, ends the
 * process with SIGSEGV, SIGBUS or an assertion. So before LMDB sees the file, everything reachable is walked here: two
 * trees (the free pages and the documents) from the newer of two root pages. The documents' own bytes have a checksum
 * each (record.ts). What no check at the start can catch is a file that is changed while it is mapped.
 *
 * The layout is that of LMDB's data format 2 as the `lmdb` package writes it on 64-bit little-endian machines
 * (`liblmdb/mdb.c`: MDB_page_header, MDB_meta, MDB_db, MDB_node, MDB_ovpage; `midl.c` for lists of free pages).
 */
const headerBytes = 24;
const pageTransactionAt = 8;
const pageFlagsAt = 18;
const lowerAt = 20;
const upperAt = 22;
const flags = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 };

const magic = 0xbeefc0de;
const dataFormat = 2;
const meta = { magic: 24, version: 28, freeDb: 48, mainDb: 96, lastPage: 144, transaction: 152, end: 168 };
const db = { pageSize: 0, flags: 4, depth: 6, entries: 32, root: 40 };

/** Of the tree of free pages (MDB_INTEGERKEY); the documents have no flag. */
const integerKeys = 0x08;

const nodeHeaderBytes = 8;
const bigData = 0x01;
const overflowReferenceBytes = 24;
const noPage = 0xffff_ffff_ffff_ffffn;
const firstTreePage = 2;
/** LMDB's cursors have a stack of 32 pages. */
const maxDepth = 32;

/** 1 TiB in pages of 4 KiB. */
const maxPages = 1n << 28n;

interface Tree {
  readonly name: string;
  readonly compare: (a: Buffer, b: Buffer) => number;
  readonly root: bigint;
  readonly depth: number;
  readonly entries: bigint;
}

/** The keys that may be below a page: from `low` on, before `high`; null is without an end. */
interface Bounds {
  readonly low: Buffer | null;
  readonly high: Buffer | null;
}

class Damage extends Error {}

function damaged(why: string): never {
  throw new Damage(why);
}

class DataFile {
  readonly #fd: number;
  readonly #fileBytes: number;
  readonly #pageSize: number;
  readonly #lastPage: number;
  readonly #transaction: bigint;
  readonly #trees: readonly [free: Tree, main: Tree];
  /** Pages that a tree has claimed: each may have one parent only. */
  readonly #used = new Set<number>();

  constructor(fd: number) {
    this.#fd = fd;
    this.#fileBytes = fstatSync(fd).size;
    const first = this.#readMeta(0);
    this.#pageSize = first.readUInt32LE(meta.freeDb + db.pageSize);
    const size = this.#pageSize;
    if (size < 512 || size > 65536 || (size & (size - 1)) !== 0) damaged(`a page size of ${size} bytes`);
    const second = this.#readMeta(size);
    checkTransactions(first.readBigUInt64LE(meta.transaction), second.readBigUInt64LE(meta.transaction));
    const newer = newerOf(first, second);
    if (newer.readUInt32LE(meta.freeDb + db.pageSize) !== size) damaged('two root pages with different page sizes');
    const lastPage = newer.readBigUInt64LE(meta.lastPage);
    if (lastPage < 1n || lastPage > maxPages) damaged(`a last page numbered ${lastPage}`);
    this.#lastPage = Number(lastPage);
    this.#transaction = newer.readBigUInt64LE(meta.transaction);
    this.#trees = [
      { name: 'free pages', compare: compareTransactions, ...readTree(newer, meta.freeDb) },
      { name: 'documents', compare: Buffer.compare, ...readTree(newer, meta.mainDb) },
    ];
  }

  #readMeta(position: number): Buffer {
    const page = this.#read(position, meta.end);
    if (page.readUInt16LE(pageFlagsAt) !== flags.meta) damaged(`no root page at byte ${position}`);
    if (page.readUInt32LE(meta.magic) !== magic) damaged(`no LMDB signature at byte ${position}`);
    const version = page.readUInt32LE(meta.version);
    if ((version & 0xffff) !== dataFormat) damaged(`LMDB's data format ${version} at byte ${position}`);
    if (page.readUInt16LE(meta.freeDb + db.flags) !== integerKeys || page.readUInt16LE(meta.mainDb + db.flags) !== 0)
      damaged(`trees of an unknown kind at byte ${position}`);
    return page;
  }

  #read(position: number, length: number): Buffer {
    if (position + length > this.#fileBytes) damaged(`byte ${position + length} is past the end of the file`);
    const buffer = Buffer.allocUnsafe(length);
    let read = 0;
    while (read < length) {
      const count = readSync(this.#fd, buffer, read, length - read, position + read);
      if (count === 0) damaged(`byte ${position + read} is past the end of the file`);
      read += count;
    }
    return buffer;
  }

  #claim(page: bigint | number, count: number, by: string): number {
    const first = Number(page);
    if (first < firstTreePage || first + count - 1 > this.#lastPage) damaged(`${by} points to page ${page}`);
    for (let number = first; number < first + count; number++) {
      if (this.#used.has(number)) damaged(`page ${number} is used twice`);
      this.#used.add(number);
    }
    return first;
  }

  check(): void {
    const [freePages, documents] = this.#trees;
    const freeLists: Buffer[] = [];
    this.#checkTree(documents, () => {});
    this.#checkTree(freePages, (list) => freeLists.push(list));
    const free = new Set<number>();
    for (const list of freeLists) this.#checkFreeList(list, free);
    // Pages that were taken and given back in one transaction are never written: the file may end before them.
    let past = 0;
    const filePages = Math.floor(this.#fileBytes / this.#pageSize);
    for (const page of free) if (page >= filePages) past++;
    if (this.#lastPage + 1 > filePages + past) damaged(`the file ends at page ${filePages} of ${this.#lastPage + 1}`);
  }

  #checkTree(tree: Tree, onValue: (value: Buffer) => void): void {
    if (tree.root === noPage) {
      if (tree.entries !== 0n || tree.depth !== 0) damaged(`the tree of ${tree.name} has entries but no root`);
      return;
    }
    if (tree.depth < 1 || tree.depth > maxDepth) damaged(`the tree of ${tree.name} has a depth of ${tree.depth}`);
    const entries = this.#checkPage(tree, tree.root, 1, { low: null, high: null }, onValue);
    if (BigInt(entries) !== tree.entries)
      damaged(`the tree of ${tree.name} has ${entries} entries, not ${tree.entries}`);
  }

  /** Returns the number of entries below. */
  #checkPage(tree: Tree, pageNumber: bigint, level: number, bounds: Bounds, onValue: (value: Buffer) => void): number {
    const number = this.#claim(pageNumber, 1, `the tree of ${tree.name}`);
    const page = this.#read(number * this.#pageSize, this.#pageSize);
    const isLeaf = level === tree.depth;
    this.#checkHeader(pageNumber, page);
    if (page.readUInt16LE(pageFlagsAt) !== (isLeaf ? flags.leaf : flags.branch))
      damaged(`page ${number} is of the wrong kind`);
    const nodes = this.#nodesOf(number, page);
    if (nodes.length < (isLeaf ? 1 : 2)) damaged(`page ${number} has ${nodes.length} entries`);
    const keys = nodes.map((node) => keyOf(number, node));
    // The first key of a branch says nothing: what is below it begins where the branch itself does.
    if (!isLeaf) keys[0] = bounds.low;
    checkOrder(number, tree, keys, bounds);
    if (isLeaf) {
      for (const node of nodes) onValue(this.#valueOf(number, node));
      return nodes.length;
    }
    let entries = 0;
    for (const [index, node] of nodes.entries()) {
      // Six bytes: the low 32 bits of the page number, then 16 more in place of the flags.
      const child = BigInt(node.readUIntLE(0, 6));
      const below = { low: keys[index]!, high: keys[index + 1] ?? bounds.high };
      entries += this.#checkPage(tree, child, level + 1, below, onValue);
    }
    return entries;
  }

  #checkHeader(pageNumber: bigint, page: Buffer): void {
    if (page.readBigUInt64LE(0) !== pageNumber) damaged(`page ${pageNumber} has another number`);
    // LMDB takes a page of a later transaction for one that it has in memory.
    if (page.readBigUInt64LE(pageTransactionAt) > this.#transaction) damaged(`page ${pageNumber} is from the future`);
  }

  #nodesOf(number: number, page: Buffer): Buffer[] {
    const lower = page.readUInt16LE(lowerAt);
    const upper = page.readUInt16LE(upperAt);
    if (lower % 2 !== 0 || lower > upper || upper > this.#pageSize - headerBytes)
      damaged(`page ${number} has impossible bounds`);
    return Array.from({ length: lower / 2 }, (_, index) => {
      const offset = page.readUInt16LE(headerBytes + index * 2);
      if (offset < upper || headerBytes + offset + nodeHeaderBytes > this.#pageSize)
        damaged(`page ${number} has an entry outside of it`);
      return page.subarray(headerBytes + offset);
    });
  }

  #valueOf(page: number, node: Buffer): Buffer {
    const valueBytes = node.readUInt32LE(0);
    const nodeFlags = node.readUInt16LE(4);
    if (nodeFlags !== 0 && nodeFlags !== bigData) damaged(`page ${page} has an entry of an unknown kind`);
    const valueAt = nodeHeaderBytes + node.readUInt16LE(6);
    const inPage = nodeFlags === bigData ? overflowReferenceBytes : valueBytes;
    if (valueAt + inPage > node.length) damaged(`page ${page} has an entry that does not end`);
    const value = node.subarray(valueAt, valueAt + inPage);
    return nodeFlags === bigData ? this.#readOverflow(page, value, valueBytes) : value;
  }

  #readOverflow(page: number, reference: Buffer, valueBytes: number): Buffer {
    const count = Math.floor((headerBytes - 1 + valueBytes) / this.#pageSize) + 1;
    if (reference.readBigUInt64LE(16) !== BigInt(count)) damaged(`page ${page} has a value of a wrong length`);
    const pageNumber = reference.readBigUInt64LE(0);
    const first = this.#claim(pageNumber, count, `page ${page}`);
    const pages = this.#read(first * this.#pageSize, count * this.#pageSize);
    this.#checkHeader(pageNumber, pages);
    if (reference.readBigUInt64LE(8) > this.#transaction) damaged(`page ${page} points to a page of the future`);
    if (pages.readUInt16LE(pageFlagsAt) !== flags.overflow || pages.readUInt32LE(lowerAt) !== count)
      damaged(`page ${first} does not hold the value that page ${page} says`);
    return pages.subarray(headerBytes, headerBytes + valueBytes);
  }

  /** A free page that is in use would be overwritten by the next commit. */
  #checkFreeList(list: Buffer, free: Set<number>): void {
    const length = list.length < 8 ? -1n : list.readBigUInt64LE(0);
    if (length < 0n || length > BigInt(list.length / 8 - 1)) damaged('a list of free pages has a wrong length');
    for (let index = 1; index <= Number(length); index++) {
      const entry = list.readBigInt64LE(index * 8);
      if (entry === 0n) continue;
      let first = entry;
      let count = 1n;
      if (entry < 0n) {
        // A negative entry is the length of the run that begins at the entry after it.
        if (++index > Number(length)) damaged('a list of free pages ends within a run');
        first = list.readBigInt64LE(index * 8);
        count = -entry;
        if (first === 0n) continue;
      }
      if (first < BigInt(firstTreePage) || first + count - 1n > BigInt(this.#lastPage))
        damaged(`page ${first} is listed as free and does not exist`);
      for (let page = Number(first); page < Number(first + count); page++) {
        if (this.#used.has(page)) damaged(`page ${page} is in use and listed as free`);
        free.add(page);
      }
    }
  }
}

/** Commits write the two root pages in turn, each with the next number: any other pair would bring back an old state. */
function checkTransactions(first: bigint, second: bigint): void {
  const follows = first - second === 1n || second - first === 1n;
  const inPlace = first % 2n === 0n && second % 2n === 1n;
  if ((first !== 0n || second !== 0n) && !(follows && inPlace))
    damaged(`root pages of the transactions ${first} and ${second}`);
}

function readTree(page: Buffer, at: number): Pick<Tree, 'root' | 'depth' | 'entries'> {
  return {
    root: page.readBigUInt64LE(at + db.root),
    depth: page.readUInt16LE(at + db.depth),
    entries: page.readBigUInt64LE(at + db.entries),
  };
}

function keyOf(page: number, node: Buffer): Buffer | null {
  const keyBytes = node.readUInt16LE(6);
  if (nodeHeaderBytes + keyBytes > node.length) damaged(`page ${page} has a key that does not end`);
  return node.subarray(nodeHeaderBytes, nodeHeaderBytes + keyBytes);
}

/** The tree of free pages has the numbers of transactions as its keys. */
function compareTransactions(a: Buffer, b: Buffer): number {
  if (a.length !== 8 || b.length !== 8) damaged('a list of free pages has a wrong key');
  const [left, right] = [a.readBigUInt64LE(0), b.readBigUInt64LE(0)];
  return left < right ? -1 : Number(left > right);
}

/** A key out of place would be there and not be found. */
function checkOrder(page: number, tree: Tree, keys: readonly (Buffer | null)[], { low, high }: Bounds): void {
  let before = low;
  for (const [index, key] of keys.entries()) {
    if (key === null || (index === 0 && key === low)) continue;
    if (key.length === 0) damaged(`page ${page} has an empty key`);
    const order = before === null ? tree.compare(key, key) - 1 : tree.compare(before, key);
    if (order > 0 || (order === 0 && index > 0)) damaged(`page ${page} has keys out of order`);
    before = key;
  }
  if (high !== null && before !== null && tree.compare(before, high) >= 0)
    damaged(`page ${page} has keys that belong elsewhere`);
}

/** How far LMDB uses a file that was checked; the file itself may be longer. The older root page is not trusted. */
export function usedPages(fd: number): { pageBytes: number; pages: number } {
  const first = Buffer.alloc(meta.end);
  readSync(fd, first, 0, meta.end, 0);
  const pageBytes = first.readUInt32LE(meta.freeDb + db.pageSize);
  const second = Buffer.alloc(meta.end);
  readSync(fd, second, 0, meta.end, pageBytes);
  const newer = newerOf(first, second);
  return {
    pageBytes: newer.readUInt32LE(meta.freeDb + db.pageSize),
    pages: Number(newer.readBigUInt64LE(meta.lastPage)) + 1,
  };
}

function newerOf(first: Buffer, second: Buffer): Buffer {
  return first.readBigUInt64LE(meta.transaction) >= second.readBigUInt64LE(meta.transaction) ? first : second;
}

/** Throws STATE_CORRUPT when LMDB could not walk the data file safely. Reads all pages that are in use, synchronously. */
export function checkDataFile(path: string): void {
  // On others the layout differs in ways this check does not know; LMDB itself still works there.
  if (endianness() !== 'LE' || !['x64', 'arm64', 'riscv64'].includes(process.arch)) return;
  const fd = openSync(path, 'r');
  try {
    new DataFile(fd).check();
  } catch (error) {
    if (error instanceof Damage) throw stateErrors.STATE_CORRUPT(path, error.message).because(error);
    throw error;
  } finally {
    closeSync(fd);
  }
}
