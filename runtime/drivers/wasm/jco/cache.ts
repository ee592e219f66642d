/**
 * Transpiled components on disk, and which component uses which. What is loaded will run in the node's process, so each file carries an HMAC-SHA256 made
 * with a key that only this node knows; a file without a right one is as good as none.
 *
 * A file: magic, the length of the header (4 bytes, little endian), the header (JSON), the parts in its order, the tag.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Transpiled, TranspiledModule } from './transpiled.ts';

const magic = Buffer.from('skerry-jco-2\n');
const tagBytes = 32;
/** So much is authenticated between two turns of the event loop: about 5 ms. */
const slice = 4 * 1024 * 1024;

const noteEnding = '.use';

function noteOf(digest: string): string {
  return `${digest.replace(':', '-')}${noteEnding}`;
}

interface Header {
  /** What the file was made from and by; the file's name is no proof of that. */
  readonly key: string;
  readonly glueBytes: number;
  readonly shared: boolean;
  readonly modules: (Omit<TranspiledModule, 'bytes'> & { readonly bytes: number })[];
}

export class TranspileCache {
  readonly #folder: string;
  readonly #secret: Uint8Array;
  readonly #warn: (message: string) => void;

  constructor(folder: string, secret: Uint8Array, warn: (message: string) => void) {
    this.#folder = folder;
    this.#secret = secret;
    this.#warn = warn;
  }

  /** The cached form of what `key` names, or null. */
  async load(file: string, key: string): Promise<Transpiled | null> {
    let bytes: Buffer;
    try {
      bytes = await readFile(join(this.#folder, file));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#warn(`cannot read ${file}: ${(error as Error).message}`);
      return null;
    }
    const content = bytes.subarray(0, Math.max(0, bytes.byteLength - tagBytes));
    const tag = bytes.subarray(content.byteLength);
    const authentic = tag.byteLength === tagBytes && timingSafeEqual(tag, await this.#tag([content]));
    const transpiled = authentic ? parse(content, key) : null;
    if (!transpiled) this.#warn(`${file} in the cache was not written by this node as it stands; making it again`);
    return transpiled;
  }

  /** Writes so that after a crash there is the whole file or none. */
  async store(file: string, key: string, transpiled: Transpiled): Promise<void> {
    const glue = Buffer.from(transpiled.glue);
    const header: Header = {
      key,
      glueBytes: glue.byteLength,
      shared: transpiled.shared,
      modules: transpiled.modules.map((module) => ({ ...module, bytes: module.bytes.byteLength })),
    };
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(json.byteLength);
    const parts = [magic, length, json, glue, ...transpiled.modules.map(({ bytes }) => bytes)];
    const path = join(this.#folder, file);
    const part = `${path}.${process.pid}.part`;
    try {
      const handle = await open(part, 'w', 0o600);
      try {
        for (const bytes of [...parts, await this.#tag(parts)]) await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(part, path);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
    const folder = await open(this.#folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Notes that a component uses a file. A note is believed for nothing but when the file may go. */
  async use(digest: string, file: string): Promise<void> {
    const note = noteOf(digest);
    if ((await this.#noted(note)) !== file) await writeFile(join(this.#folder, note), file, { mode: 0o600 });
  }

  /** Removes the note of a component, and its file when no other component uses that. */
  async forget(digest: string): Promise<void> {
    const note = noteOf(digest);
    const file = await this.#noted(note);
    if (file === null) return;
    await rm(join(this.#folder, note), { force: true });
    const notes = (await readdir(this.#folder)).filter((name) => name.endsWith(noteEnding));
    const used = await Promise.all(notes.map((other) => this.#noted(other)));
    if (!used.includes(file)) await rm(join(this.#folder, file), { force: true });
  }

  async #noted(note: string): Promise<string | null> {
    const file = await readFile(join(this.#folder, note), 'utf8').catch(() => '');
    return /^[\w-]+\.jco$/.test(file) ? file : null;
  }

  async #tag(parts: readonly Uint8Array[]): Promise<Buffer> {
    const hmac = createHmac('sha256', this.#secret);
    for (const part of parts) {
      for (let at = 0; at < part.byteLength; at += slice) {
        hmac.update(part.subarray(at, at + slice));
        if (part.byteLength > slice) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return hmac.digest();
  }
}

/** Takes an authentic file apart; null when it was made for something else. */
function parse(content: Buffer, key: string): Transpiled | null {
  const headerAt = magic.byteLength + 4;
  if (content.byteLength < headerAt || !content.subarray(0, magic.byteLength).equals(magic)) return null;
  let at = headerAt + content.readUInt32LE(magic.byteLength);
  const header: Header = JSON.parse(content.toString('utf8', headerAt, at));
  if (header.key !== key) return null;
  const take = (bytes: number) => {
    at += bytes;
    return content.subarray(at - bytes, at);
  };
  const glue = take(header.glueBytes).toString('utf8');
  const modules = header.modules.map((module) => ({ ...module, bytes: take(module.bytes) }));
  return { glue, modules, shared: header.shared };
}
