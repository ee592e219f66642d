/**
 * Machines that were booted once and stopped: the memory and the state of each, from which others go on. A folder each, named
 * by what it was made from; it is whole when its description is there.
 */
import { chown, type FileHandle, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import * as z from 'zod';
import type { MachineTemplates } from '../../runtime/drivers/microvm/host.ts';
import { hostErrors } from './errors.ts';
import { hashFile } from './hash-file.ts';

/** Of what a monitor writes beside the memory, in bytes: some 50 KiB, more with more devices. */
const MOST_STATE = 16 * 2 ** 20;

const Description = z.object({ monitor: z.string(), memory: z.string(), state: z.string() });

/** A template that is whole. */
export interface StoredTemplate {
  readonly memory: string;
  readonly state: string;
}

export class StoredTemplates implements MachineTemplates {
  readonly #folder: string;
  readonly #monitor: string;
  /** Their bytes were compared with their descriptions in this run. */
  readonly #verified = new Set<string>();
  readonly #verifying = new Map<string, Promise<string | null>>();

  /** @param folder root's alone  @param monitor name and version: another one cannot read what this one wrote */
  constructor(folder: string, monitor: string) {
    this.#folder = folder;
    this.#monitor = monitor;
  }

  async find(key: string): Promise<'there' | 'missing' | { readonly spoilt: string }> {
    if (this.#verified.has(key)) return 'there';
    const verifying = this.#verifying.get(key) ?? this.#verify(key).finally(() => this.#verifying.delete(key));
    this.#verifying.set(key, verifying);
    const found = await verifying;
    if (found === '') return 'there';
    if (found === null) return 'missing';
    await this.delete(key);
    return { spoilt: found };
  }

  async list(): Promise<string[]> {
    return (await readdir(this.#folder)).filter((name) => /^[0-9a-f]{64}$/.test(name));
  }

  async delete(key: string): Promise<boolean> {
    const found = this.#verified.delete(key);
    // Machines that go on from it have its memory open: what they have not read yet stays theirs.
    await rm(this.#path(key), { recursive: true, force: true });
    return found;
  }

  /** Throws TEMPLATE_MISSING. */
  async files(key: string): Promise<StoredTemplate> {
    if ((await this.find(key)) !== 'there') throw hostErrors.TEMPLATE_MISSING(key);
    return { memory: join(this.#path(key), 'memory'), state: join(this.#path(key), 'state') };
  }

  /** Memory and state of a machine that becomes one. `id`: of the machine. */
  begin(id: string, memoryBytes: number, user: number): Promise<NewTemplate> {
    return NewTemplate.begin(join(this.#folder, `new-${id}`), memoryBytes, user);
  }

  /** The machine has ended. Throws TEMPLATE_INCOMPLETE. */
  async keep(made: NewTemplate, key: string): Promise<void> {
    const { memory, state } = await made.digests();
    await writeFile(join(made.folder, 'description'), JSON.stringify({ monitor: this.#monitor, memory, state }), {
      flush: true,
    });
    await this.delete(key);
    await rename(made.folder, this.#path(key));
    this.#verified.add(key);
  }

  #path(key: string): string {
    return join(this.#folder, key);
  }

  /** Empty when it is whole; what is wrong with it; null when it is not there. */
  async #verify(key: string): Promise<string | null> {
    const folder = this.#path(key);
    const text = await readFile(join(folder, 'description'), 'utf8').catch(() => null);
    if (text === null) return null;
    let description: z.infer<typeof Description>;
    try {
      description = Description.parse(JSON.parse(text));
    } catch {
      return 'its description cannot be read';
    }
    if (description.monitor !== this.#monitor) return `it was made by ${description.monitor}, this is ${this.#monitor}`;
    for (const part of ['memory', 'state'] as const) {
      if ((await digestOf(join(folder, part))) !== description[part]) return `its ${part} is not what was written`;
    }
    this.#verified.add(key);
    return '';
  }
}

async function digestOf(path: string): Promise<string | null> {
  const file = await open(path, 'r').catch(() => null);
  if (!file) return null;
  try {
    return (await hashFile(file)).digest;
  } finally {
    await file.close();
  }
}

/** The files of a machine that is to become a template. */
export class NewTemplate {
  readonly folder: string;
  /** A socket that its monitor writes the state to. */
  readonly stateSocket: string;
  readonly #server: Server;
  #received: Promise<number> | null = null;

  private constructor(folder: string) {
    this.folder = folder;
    this.stateSocket = join(folder, 'socket');
    this.#server = createServer({ allowHalfOpen: false }, (connection) => {
      // Once, from its monitor, which alone may connect.
      if (this.#received) return void connection.destroy();
      const taking = async () => {
        const file = await open(join(folder, 'state'), 'wx', 0o600);
        try {
          return await takeAll(connection, file);
        } finally {
          connection.destroy();
          await file.close();
        }
      };
      this.#received = taking();
      this.#received.catch(() => {});
    });
    this.#server.on('error', () => {});
  }

  static async begin(folder: string, memoryBytes: number, user: number): Promise<NewTemplate> {
    await mkdir(folder, { mode: 0o700 });
    const made = new NewTemplate(folder);
    try {
      const memory = await open(join(folder, 'memory'), 'wx', 0o600);
      await memory.truncate(memoryBytes);
      await memory.close();
      await chown(join(folder, 'memory'), user, user);
      await new Promise<void>((resolve, reject) => {
        made.#server.once('error', reject).listen(made.stateSocket, resolve);
      });
      await chown(made.stateSocket, user, user);
      return made;
    } catch (error) {
      await made.discard();
      throw error;
    }
  }

  get memory(): string {
    return join(this.folder, 'memory');
  }

  /** Of what was written; from here on it is root's. Throws TEMPLATE_INCOMPLETE. */
  async digests(): Promise<{ memory: string; state: string }> {
    const bytes = await (this.#received ?? Promise.resolve(0)).catch(() => 0);
    await this.#close();
    if (bytes === 0) throw hostErrors.TEMPLATE_INCOMPLETE('its monitor wrote no state');
    const digests = { memory: '', state: '' };
    for (const part of ['memory', 'state'] as const) {
      const path = join(this.folder, part);
      await chown(path, 0, 0);
      const file = await open(path, 'r+');
      // Clones only read it.
      await file.chmod(0o444);
      await file.sync();
      digests[part] = (await hashFile(file)).digest;
      await file.close();
    }
    return digests;
  }

  async discard(): Promise<void> {
    await this.#close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Which removes the socket. */
  #close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#server.listening) this.#server.close(() => resolve());
      else resolve();
    });
  }
}

/** Bytes that came until the end. Throws RangeError when they are too many. */
async function takeAll(from: AsyncIterable<Buffer>, file: FileHandle): Promise<number> {
  let bytes = 0;
  for await (const piece of from) {
    bytes += piece.length;
    if (bytes > MOST_STATE) throw new RangeError('too much');
    await file.write(piece);
  }
  return bytes;
}
