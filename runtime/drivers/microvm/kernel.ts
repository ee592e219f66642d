/** The kernel of machines, and the initial file system with the agent in it: by their digests, as the host has them. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../../../errors/project-root.ts';
import { machineErrors } from './errors.ts';
import type { MachineFiles } from './host.ts';

export interface GuestKernel {
  readonly kernel: string;
  readonly initramfs: string;
}

/** What `npm run build` makes. */
export const OWN_KERNEL = join(projectRoot, 'native', 'kernel', 'vmlinux');
export const OWN_AGENT = join(projectRoot, 'native', 'agent', 'skerry-agent.cpio');

interface Given {
  readonly digest: string;
  /** Of the file when it was hashed: another build has another one. */
  readonly mtimeMs: number;
}

/** Files of the installation, given to the host once, and again when they were built anew. */
export class GuestFiles {
  readonly #host: MachineFiles;
  readonly #given = new Map<string, Promise<Given>>();

  constructor(host: MachineFiles) {
    this.#host = host;
  }

  /** Throws NO_KERNEL. */
  kernel(): Promise<string> {
    return this.#own(OWN_KERNEL);
  }

  /** Throws NO_KERNEL. */
  agent(): Promise<string> {
    return this.#own(OWN_AGENT);
  }

  /** A file that is known by its digest, from `path`, unless the host has it. */
  async give(digest: string, path: string): Promise<void> {
    if (await this.#host.has(digest)) return;
    const file = await open(path);
    try {
      await this.#host.put(digest, file.fd);
    } finally {
      await file.close();
    }
  }

  async #own(path: string): Promise<string> {
    const { mtimeMs } = await stat(path).catch(() => {
      throw machineErrors.NO_KERNEL(`${path} is missing`);
    });
    const found = await this.#given.get(path)?.catch(() => null);
    if (found?.mtimeMs === mtimeMs) return found.digest;
    const giving = this.#giveOwn(path, mtimeMs);
    this.#given.set(path, giving);
    giving.catch(() => this.#given.delete(path));
    return (await giving).digest;
  }

  async #giveOwn(path: string, mtimeMs: number): Promise<Given> {
    const digest = await digestOf(path);
    await this.give(digest, path);
    return { digest, mtimeMs };
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return `sha256:${hash.digest('hex')}`;
}
