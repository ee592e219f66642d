/** The suite's own programs, over the runtime as hostd calls it. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LAUNCHER } from '../../../daemon/hostd/split.ts';
import { unmounts } from '../../../daemon/hostd/unmounts.ts';
import { Cgroups } from '../../../native/host/index.ts';
import { parseTap, type TapResult } from './tap.ts';

/** Control groups that the suite makes above those of its containers, and leaves. */
const GROUPS = ['testdir/cgrouptest', 'testdir', 'cgrouptest'];

/** One of them waits for states that come within seconds, or never. */
const PROGRAM_MS = 60_000;

export interface ProgramResult {
  readonly results: readonly TapResult[];
  /** 0, another status, or the signal that ended it. */
  readonly status: number | string | null;
  /** What it said beside the results. */
  readonly stderr: string;
}

/** A runtime by its command line: the launcher, and crun with hostd's options. */
export class RuntimeShim {
  readonly #folder: string;
  readonly #groups: Cgroups;
  readonly command: string;

  private constructor(folder: string, groups: Cgroups) {
    this.#folder = folder;
    this.#groups = groups;
    this.command = join(folder, 'runtime');
  }

  static async make(): Promise<RuntimeShim> {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-runtime-'));
    const devices = join(folder, 'devices');
    mkdirSync(devices);
    const groups = await Cgroups.open();
    // The root of a container goes through it as nobody.
    chmodSync(folder, 0o711);
    const launcher = [LAUNCHER, '--mount-namespace', ...unmounts(groups), '--own-devices', devices];
    const crun = ['/usr/bin/crun', '--root', join(folder, 'state'), '--cgroup-manager=cgroupfs'];
    const shim = new RuntimeShim(folder, groups);
    writeFileSync(shim.command, `#!/bin/sh\nexec ${[...launcher, '--', ...crun].join(' ')} "$@"\n`, { mode: 0o755 });
    return shim;
  }

  /** Runs a program of the suite, from the folder with what it needs. */
  validate(programs: string, name: string): Promise<ProgramResult> {
    const child = spawn(join(programs, name), [], {
      cwd: programs,
      env: { ...process.env, RUNTIME: this.command, TMPDIR: this.#folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PROGRAM_MS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (piece) => {
      stdout += piece;
    });
    child.stderr.on('data', (piece) => {
      stderr += piece;
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ results: parseTap(stdout), status: code ?? signal, stderr }));
    });
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    for (const path of this.#groups.layout.mounts.flatMap((mount) => GROUPS.map((name) => join(mount, name)))) {
      try {
        rmdirSync(path);
      } catch {
        // It is not there, or somebody else's.
      }
    }
  }
}
