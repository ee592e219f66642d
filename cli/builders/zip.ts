/** Reads jars: ZIP archives (APPNOTE 6.3.10), stored or deflated, without ZIP64. */
import { inflateRawSync } from 'node:zlib';

export interface ZipEntry {
  /** With `/` between its parts; ends with one for a folder. */
  readonly name: string;
  /** Throws when the archive is damaged, or it is longer than it says. */
  read(): Buffer;
}

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/** Throws an Error with what is wrong. Names that lead out of the archive are refused. */
export function readZip(archive: Buffer): ZipEntry[] {
  const end = archive.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || archive.readUInt32LE(end) !== END) throw new Error('it is no ZIP archive');
  const count = archive.readUInt16LE(end + 10);
  let at = archive.readUInt32LE(end + 16);
  if (count === 0xffff || at === 0xffffffff) throw new Error('it is a ZIP64 archive');
  const entries: ZipEntry[] = [];
  for (let i = 0; i < count; i++) {
    if (archive.readUInt32LE(at) !== CENTRAL) throw new Error('its directory is damaged');
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => archive.readUInt16LE(at + offset)) as [
      number,
      number,
      number,
    ];
    const name = archive.toString('utf8', at + 46, at + 46 + nameLength);
    if (name.startsWith('/') || /[\\\0]/.test(name) || name.split('/').includes('..')) {
      throw new Error(`it holds ${JSON.stringify(name)}, which leads out of it`);
    }
    const method = archive.readUInt16LE(at + 10);
    const [packed, size] = [archive.readUInt32LE(at + 20), archive.readUInt32LE(at + 24)];
    const local = archive.readUInt32LE(at + 42);
    entries.push({ name, read: () => readEntry(archive, local, method, packed, size) });
    at += 46 + nameLength + extra + comment;
  }
  return entries;
}

function readEntry(archive: Buffer, local: number, method: number, packed: number, size: number): Buffer {
  if (archive.readUInt32LE(local) !== LOCAL) throw new Error('an entry is damaged');
  const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
  const bytes = archive.subarray(start, start + packed);
  if (method === 0) return bytes;
  if (method !== 8) throw new Error(`it is compressed by method ${method}`);
  return size === 0 ? Buffer.alloc(0) : inflateRawSync(bytes, { maxOutputLength: size });
}
