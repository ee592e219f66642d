/** Writes tar archives from entries in memory, also such as no tool would write. */

export interface TarEntry {
  readonly name: string | Buffer;
  /** A type flag: `0` file, `1` hard link, `2` symbolic link, `3` and `4` devices, `5` folder, `6` fifo. */
  readonly type?: string;
  readonly content?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** In seconds since 1970. */
  readonly mtime?: number;
  readonly target?: string;
  /** Records of a pax header before it. */
  readonly pax?: Readonly<Record<string, string | Buffer>>;
  /** What the header says, instead of the content's length. */
  readonly size?: number;
}

const BLOCK = 512;

export const file = (name: string, content: string | Buffer = '', more: Partial<TarEntry> = {}): TarEntry => ({
  name,
  content,
  ...more,
});
export const folder = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({
  name,
  type: '5',
  mode: 0o755,
  ...more,
});
export const symlink = (name: string, target: string): TarEntry => ({ name, type: '2', target, mode: 0o777 });
export const hardLink = (name: string, target: string): TarEntry => ({ name, type: '1', target });

export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(member), Buffer.alloc(2 * BLOCK)]);
}

function member(entry: TarEntry): Buffer[] {
  const content = Buffer.from(entry.content ?? '');
  const extension = entry.pax ? member({ name: 'pax', type: 'x', content: paxRecords(entry.pax) }) : [];
  const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
  return [...extension, header(entry, entry.size ?? content.length), content, padding];
}

function header(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, length: number) =>
    value < 8 ** (length - 1)
      ? block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1')
      : block.writeUIntBE(value, offset + length - 6, 6) && block.writeUInt8(0x80, offset);
  Buffer.from(entry.name).copy(block, 0, 0, 100);
  octal(entry.mode ?? 0o644, 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(entry.mtime ?? 0, 136, 12);
  block.write('        ', 148, 'latin1');
  block.write(entry.type ?? '0', 156, 'latin1');
  block.write((entry.target ?? '').slice(0, 100), 157);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function paxRecords(records: Readonly<Record<string, string | Buffer>>): Buffer {
  return Buffer.concat(
    Object.entries(records).map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
      let length = rest.length;
      while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}
