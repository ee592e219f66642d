import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why no program in C can be made here, or null. */
export const whyNoCompiler = (): string | null => (existsSync('/usr/bin/gcc') ? null : 'there is no /usr/bin/gcc');

/** The bytes of a program that needs no library, made from a source in C. */
export function cProgram(source: string): Buffer {
  const place = mkdtempSync(join(tmpdir(), 'skerry-c-'));
  try {
    const program = join(place, 'program');
    execFileSync('/usr/bin/gcc', ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', program, source]);
    return readFileSync(program);
  } finally {
    rmSync(place, { recursive: true });
  }
}
