/** The OCI runtimes that containers can run by, by their command lines: in what they differ, and which one is here. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RUNTIMES } from './packages.ts';

const run = promisify(execFile);

export type RuntimeName = keyof typeof RUNTIMES;
/** The first that is here makes new containers: crun takes a fifth of the time. */
export const RUNTIME_NAMES: readonly RuntimeName[] = ['crun', 'runc'];

/** Folder of a runtime's own records, beside those of containers. */
const recordsFolder = (name: RuntimeName): string => `.${name}`;
export const RECORDS: readonly string[] = RUNTIME_NAMES.map(recordsFolder);

export class OciRuntime {
  readonly name: RuntimeName;

  constructor(name: RuntimeName) {
    this.name = name;
  }

  get path(): string {
    return RUNTIMES[this.name];
  }

  get isHere(): boolean {
    return existsSync(this.path);
  }

  /**
   * Whether it is started in the container's network namespace, and finds none in its configuration: runc's `exec` enters
   * the user namespace first, which has no right to enter one that belongs to the host's users.
   */
  get startsInNetwork(): boolean {
    return this.name === 'runc';
  }

  /** What stands before each of its commands; `folder` is that of containers. */
  options(folder: string): string[] {
    const root = ['--root', join(folder, recordsFolder(this.name))];
    // runc has no such option: it asks no systemd unless it is told to.
    return this.name === 'crun' ? [...root, '--cgroup-manager=cgroupfs'] : root;
  }

  /** "crun 1.8.1", "runc 1.1.5+ds1". */
  async version(): Promise<string> {
    const { stdout } = await run(this.path, ['--version']);
    return stdout.split('\n')[0]?.replace(' version ', ' ') ?? this.name;
  }
}
