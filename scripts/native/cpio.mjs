// Archives of the kind that Linux unpacks as its initial file system ("newc"; the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst).

const FOLDER = 0o040000;
const FILE = 0o100000;
const CHARACTER_DEVICE = 0o020000;
const TRAILER = 'TRAILER!!!';

/** @typedef {{ path: string, mode: number, device?: [number, number], contents?: Uint8Array }} Entry */

/** @type {(path: string) => Entry} */
export const folder = (path) => ({ path, mode: FOLDER | 0o755 });
/** @type {(path: string, contents: Uint8Array) => Entry} */
export const program = (path, contents) => ({ path, mode: FILE | 0o755, contents });
/** @type {(path: string, device: [number, number]) => Entry} */
export const characterDevice = (path, device) => ({ path, mode: CHARACTER_DEVICE | 0o600, device });

/** @type {(bytes: Buffer) => Buffer} */
const aligned = (bytes) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

/** @type {(entry: Entry, inode: number) => Buffer} */
function record({ path, mode, device = [0, 0], contents = new Uint8Array() }, inode) {
  const name = Buffer.from(`${path}\0`);
  // inode mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, contents.byteLength, 0, 0, ...device, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([aligned(Buffer.concat([Buffer.from(header), name])), aligned(Buffer.from(contents))]);
}

/** The same bytes for the same entries. @type {(entries: Entry[]) => Buffer} */
export function archive(entries) {
  const all = [...entries, { path: TRAILER, mode: 0 }];
  return Buffer.concat(all.map((entry, at) => record(entry, entry.path === TRAILER ? 0 : at + 1)));
}
