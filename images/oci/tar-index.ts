/**
 * Where the members of a tar archive stand, so that an image archive of gigabytes is read in the order of its manifest and
 * without a copy. Tar libraries read archives from their beginning to their end only; this reads headers
 * (POSIX.1-2017, pax, ustar) and skips what is between. Nothing is made on the disk from the names it finds.
 */
import type { FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { ociErrors } from './errors.ts';

export interface TarMember {
  /** Of its first byte in the archive. */
  readonly position: number;
  /** In bytes. */
  readonly size: number;
  /** The member that a link stands for. */
  readonly linkTo?: string;
}

const BLOCK = 512;
/** An image has a few files for each layer. */
const MAX_MEMBERS = 10_000;
const MAX_EXTENSION_BYTES = 64 * 1024;

const regular = new Set(['0', '\0', '7']);
const link = new Set(['1', '2']);

/** The files and links of an archive by their normal names. Throws IMAGE_SOURCE_UNREADABLE. */
export async function indexTar(file: FileHandle, path: string): Promise<ReadonlyMap<string, TarMember>> {
  const damaged = (why: string) => ociErrors.IMAGE_SOURCE_UNREADABLE(path, why);
  const { size: end } = await file.stat();
  const members = new Map<string, TarMember>();
  let extended: { path?: string; linkpath?: string } = {};
  for (let position = 0, count = 0; position < end; count++) {
    const header = await readAt(file, position, BLOCK);
    if (header.every((byte) => byte === 0)) break;
    if (checksum(header) !== octal(header, 148, 8))
      throw damaged(position === 0 ? whatItIs(header) : `its header at byte ${position} is damaged`);
    if (count >= MAX_MEMBERS) throw damaged(`it has more than ${MAX_MEMBERS} members`);
    const size = octal(header, 124, 12);
    position += BLOCK;
    if (!Number.isSafeInteger(size) || size < 0 || position + size > end)
      throw damaged('it is cut off: a member is longer than the rest of it');
    const type = String.fromCharCode(header[156]!);
    if (type === 'x' || type === 'L' || type === 'K') {
      if (size > MAX_EXTENSION_BYTES) throw damaged('it has a header that is too long');
      const data = await readAt(file, position, size);
      if (type === 'x') extended = { ...extended, ...paxRecords(data) };
      else extended = { ...extended, [type === 'L' ? 'path' : 'linkpath']: text(data, 0, size) };
    } else {
      const name = posix.normalize(extended.path ?? headerName(header)).replace(/^\.?\/+/, '');
      if (regular.has(type)) members.set(name, { position, size });
      if (link.has(type)) {
        const target = extended.linkpath ?? text(header, 157, 100);
        const linkTo = type === '1' ? posix.normalize(target) : posix.join(posix.dirname(name), target);
        members.set(name, { position, size: 0, linkTo });
      }
      extended = {};
    }
    position += Math.ceil(size / BLOCK) * BLOCK;
  }
  return members;
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer;
}

/** For whoever names a compressed archive, which cannot be read out of order. */
function whatItIs(header: Buffer): string {
  if (header[0] === 0x1f && header[1] === 0x8b) return 'it is compressed: `gunzip` it first';
  if (header.readUInt32LE(0) === 0xfd2fb528) return 'it is compressed: `zstd -d` it first';
  return 'it is not a tar archive';
}

function checksum(header: Buffer): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i]!;
  return sum;
}

/** Octal digits, or a binary number where the first bit is set. NaN when it is neither. */
function octal(header: Buffer, offset: number, length: number): number {
  if (header[offset]! & 0x80) {
    // Beyond 2^48 nothing is a size.
    const high = header.subarray(offset + 1, offset + length - 6);
    return header[offset] === 0x80 && high.every((byte) => byte === 0)
      ? header.readUIntBE(offset + length - 6, 6)
      : Number.NaN;
  }
  const digits = text(header, offset, length).trim();
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || '0', 8) : Number.NaN;
}

function text(buffer: Buffer, offset: number, length: number): string {
  const end = buffer.indexOf(0, offset);
  return buffer.toString('utf8', offset, end < 0 || end > offset + length ? offset + length : end);
}

function headerName(header: Buffer): string {
  const name = text(header, 0, 100);
  const prefix = text(header, 257, 6) === 'ustar' ? text(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** `LENGTH KEY=VALUE\n` each. A size is not taken from here: whatever is this large is no image's file. */
function paxRecords(data: Buffer): { path?: string; linkpath?: string } {
  const records: Record<string, string> = {};
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const length = Number(data.toString('latin1', at, space));
    if (space < 0 || !Number.isInteger(length) || length <= space - at) break;
    const [key = '', value = ''] = split(data.toString('utf8', space + 1, at + length - 1));
    if (key === 'path' || key === 'linkpath') records[key] = value;
    at += length;
  }
  return records;
}

function split(record: string): [string, string] {
  const equals = record.indexOf('=');
  return [record.slice(0, equals), record.slice(equals + 1)];
}
