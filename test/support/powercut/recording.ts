import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One thing that the process did to the folder, as shim.c recorded it. Paths are relative to the folder. */
export type Operation =
  | { kind: 'open'; handle: number; path: string; created: boolean; truncated: boolean; directory: boolean }
  | { kind: 'write'; handle: number; offset: number; data: Buffer; synchronous: boolean }
  | { kind: 'truncate'; handle: number; size: number }
  | { kind: 'sync'; handle: number }
  | { kind: 'rename'; from: string; to: string }
  | { kind: 'unlink' | 'mkdir' | 'rmdir'; path: string }
  | { kind: 'link'; from: string; to: string }
  | { kind: 'mark'; text: string }
  | { kind: 'map-write'; handle: number }
  | { kind: 'unknown'; what: string };

const headBytes = 28;
const flag = { created: 1, truncated: 2, synchronous: 4, directory: 8 };

function decode(kind: number, handle: number, flags: number, offset: number, first: Buffer, second: string): Operation {
  const path = () => first.toString();
  switch (kind) {
    case 1:
      return {
        kind: 'open',
        handle,
        path: path(),
        created: (flags & flag.created) !== 0,
        truncated: (flags & flag.truncated) !== 0,
        directory: (flags & flag.directory) !== 0,
      };
    case 2:
      return { kind: 'write', handle, offset, data: first, synchronous: (flags & flag.synchronous) !== 0 };
    case 3:
      return { kind: 'truncate', handle, size: offset };
    case 4:
      return { kind: 'sync', handle };
    case 5:
      return { kind: 'rename', from: path(), to: second };
    case 6:
      return { kind: 'unlink', path: path() };
    case 7:
      return { kind: 'mkdir', path: path() };
    case 8:
      return { kind: 'rmdir', path: path() };
    case 9:
      return { kind: 'link', from: path(), to: second };
    case 10:
      return { kind: 'mark', text: path() };
    case 11:
      return { kind: 'map-write', handle };
    default:
      return { kind: 'unknown', what: path() };
  }
}

/** Reads what the shim recorded; a last record that a kill cut short is left out. */
export function readRecording(file: string): Operation[] {
  const log = readFileSync(file);
  const operations: Operation[] = [];
  let at = 0;
  while (at + headBytes <= log.length) {
    const [kind, handle, flags, firstBytes, secondBytes] = [0, 4, 8, 12, 16].map((skip) => log.readUInt32LE(at + skip));
    const offset = Number(log.readBigInt64LE(at + 20));
    const firstAt = at + headBytes;
    const end = firstAt + firstBytes! + secondBytes!;
    if (end > log.length) break;
    const second = log.toString('utf8', firstAt + firstBytes!, end);
    operations.push(decode(kind!, handle!, flags!, offset, log.subarray(firstAt, firstAt + firstBytes!), second));
    at = end;
  }
  return operations;
}

/** Compiles the shim into `folder`. Null, and the reason on stderr, when this machine has no C compiler. */
export function compileShim(source: string, folder: string): string | null {
  const library = join(folder, 'shim.so');
  const run = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror', '-o', library, source]);
  if (run.error && (run.error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  if (run.status !== 0) throw new Error(`cc: ${run.stderr}`);
  return library;
}
