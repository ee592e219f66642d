/** Whether a file is a kernel that a monitor can boot here: looked at before anything is started with it. */
import { type FileHandle, open } from 'node:fs/promises';
import { machineErrors } from './errors.ts';

const ELF_MAGIC = 0x7f454c46;
/** `e_machine` of what runs here, by Node's name of it. */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };
const NAMES: Readonly<Record<number, string>> = { 3: 'x86', 40: 'arm', 62: 'x86-64', 183: 'arm64', 243: 'riscv' };
const PT_NOTE = 4;
/** XEN_ELFNOTE_PHYS32_ENTRY: where a monitor enters it (PVH). */
const PVH_NOTE = 18;
const MOST_HEADERS = 64;
const MOST_NOTE_BYTES = 64 * 1024;
/** https://docs.kernel.org/arch/x86/boot.html */
const BOOT_SECTOR = { flag: 0x1fe, magic: 0x202 } as const;

/** Throws KERNEL_UNFIT. @param name what the user calls it */
export async function checkKernel(path: string, name: string): Promise<void> {
  const file = await open(path);
  try {
    const head = await bytesAt(file, 0, 4096);
    if (head.length < 1024) throw machineErrors.KERNEL_UNFIT(name, 'it is too short to be one');
    if (head.readUInt32BE(0) === ELF_MAGIC) return await checkElf(file, head, name);
    const isBzImage =
      head.readUInt16LE(BOOT_SECTOR.flag) === 0xaa55 &&
      head.toString('latin1', BOOT_SECTOR.magic, BOOT_SECTOR.magic + 4) === 'HdrS';
    if (!isBzImage) throw machineErrors.KERNEL_UNFIT(name, 'it is neither an ELF file nor a bzImage');
    if (process.arch !== 'x64') throw machineErrors.KERNEL_UNFIT(name, `it is for x86, this is ${process.arch}`);
  } finally {
    await file.close();
  }
}

async function checkElf(file: FileHandle, head: Buffer, name: string): Promise<void> {
  const machine = head.readUInt16LE(18);
  const is64LittleEndian = head[4] === 2 && head[5] === 1;
  if (!is64LittleEndian || machine !== MACHINES[process.arch]) {
    const is = NAMES[machine] ?? `another machine (${machine})`;
    throw machineErrors.KERNEL_UNFIT(name, `it is for ${is}, this is ${process.arch}`);
  }
  if (process.arch === 'x64' && !(await hasPvhEntry(file, head))) {
    throw machineErrors.KERNEL_UNFIT(name, 'it has no PVH entry (CONFIG_PVH), by which a monitor starts it');
  }
}

/** Of an ELF file of 64 bits, little-endian. */
async function hasPvhEntry(file: FileHandle, head: Buffer): Promise<boolean> {
  const offset = Number(head.readBigUInt64LE(32));
  const [size, count] = [head.readUInt16LE(54), Math.min(head.readUInt16LE(56), MOST_HEADERS)];
  if (size < 56 || !Number.isSafeInteger(offset)) return false;
  const headers = await bytesAt(file, offset, size * count);
  for (let at = 0; at + size <= headers.length; at += size) {
    if (headers.readUInt32LE(at) !== PT_NOTE) continue;
    const from = Number(headers.readBigUInt64LE(at + 8));
    const length = Math.min(Number(headers.readBigUInt64LE(at + 32)), MOST_NOTE_BYTES);
    if (Number.isSafeInteger(from) && isPvhAmong(await bytesAt(file, from, length))) return true;
  }
  return false;
}

function isPvhAmong(notes: Buffer): boolean {
  for (let at = 0; at + 12 <= notes.length; ) {
    const [nameBytes, textBytes, type] = [0, 4, 8].map((each) => notes.readUInt32LE(at + each)) as [
      number,
      number,
      number,
    ];
    if (type === PVH_NOTE && notes.toString('latin1', at + 12, at + 15) === 'Xen') return true;
    at += 12 + 4 * Math.ceil(nameBytes / 4) + 4 * Math.ceil(textBytes / 4);
  }
  return false;
}

async function bytesAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, at);
  return buffer.subarray(0, bytesRead);
}
