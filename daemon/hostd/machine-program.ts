/** QEMU on this machine: its version, and all that it needs to run, for a root that has nothing else in it. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../../errors/project-root.ts';

const run = promisify(execFile);

const PROGRAMS = { x64: '/usr/bin/qemu-system-x86_64', arm64: '/usr/bin/qemu-system-aarch64' } as const;
const FIRMWARE = '/usr/share/qemu';
/** Of all that is there, what `microvm` reads. */
const FIRMWARE_FILES = [
  'bios-microvm.bin',
  'qboot.rom',
  'pvh.bin',
  'linuxboot.bin',
  'linuxboot_dma.bin',
  'kvmvapic.bin',
];
/** Where Debian has parts of QEMU that are loaded when they are needed. */
const MODULES = '/usr/lib/x86_64-linux-gnu/qemu';
const MODULE_FILES = ['accel-tcg-x86_64.so'];

/** `microvm` with snapshots of shared memory. */
export const LEAST_VERSION = [6, 0] as const;

/** Lets a clone map the memory of a template that it may only read, where QEMU is older than 8.2. */
export const PRIVATE_MEMORY = join(projectRoot, 'native', 'host', 'skerry-private-memory.so');
export const PRIVATE_MEMORY_INSIDE = '/private-memory.so';

export interface MonitorProgram {
  readonly path: string;
  /** `7.2.22` */
  readonly version: string;
  readonly firmware: string;
  /** Files of the host, by where they have to be for it. */
  readonly files: ReadonlyMap<string, string>;
  /** It is at least this version. */
  atLeast(major: number, minor: number): boolean;
}

export function qemuProgram(): string | null {
  return PROGRAMS[process.arch as keyof typeof PROGRAMS] ?? null;
}

/** Throws Error: what is wrong with it. */
export async function openQemu(path: string): Promise<MonitorProgram> {
  const { stdout } = await run(path, ['--version'], { timeout: 10_000 });
  const found = /version (\d+)\.(\d+)(?:\.(\d+))?/.exec(stdout);
  if (!found) throw new Error(`${path} does not say its version`);
  const [, major, minor, patch = '0'] = found;
  const atLeast = (wanted: number, least: number) =>
    Number(major) > wanted || (Number(major) === wanted && Number(minor) >= least);
  const files = new Map<string, string>();
  const add = async (inside: string) => {
    if (existsSync(inside)) files.set(inside, await realpath(inside));
  };
  await add(path);
  for (const file of FIRMWARE_FILES) await add(join(FIRMWARE, file));
  const modules = MODULE_FILES.map((name) => join(MODULES, name)).filter((file) => existsSync(file));
  for (const module of modules) await add(module);
  for (const library of await librariesOf([path, ...modules])) await add(library);
  return { path, version: `${major}.${minor}.${patch}`, firmware: FIRMWARE, files, atLeast };
}

/** As the dynamic linker finds them, itself among them. */
async function librariesOf(programs: readonly string[]): Promise<Set<string>> {
  const { stdout } = await run('/usr/bin/ldd', [...programs], { timeout: 10_000, env: { PATH: '/usr/bin:/bin' } });
  const libraries = new Set<string>();
  for (const line of stdout.split('\n')) {
    const library = /^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1];
    if (library !== undefined) libraries.add(library);
  }
  return libraries;
}
