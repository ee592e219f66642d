/** The files of an image on the disk: in a folder, or in a tar archive. */
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_DOCUMENT_BYTES } from './documents.ts';
import { ociErrors } from './errors.ts';
import { indexTar, type TarMember } from './tar-index.ts';

export interface ImageFile {
  /** In bytes. */
  readonly size: number;
  /** Of all of it, or of its first bytes. */
  stream(signal: AbortSignal, length?: number): AsyncIterable<Uint8Array>;
}

export interface ImageFiles {
  /** Null when there is none. @param path relative, with slashes */
  find(path: string): Promise<ImageFile | null>;
  close(): Promise<void>;
}

/** A folder, or a tar archive. Throws IMAGE_NOT_FOUND, IMAGE_SOURCE_UNREADABLE. */
export async function openImageFiles(path: string): Promise<ImageFiles> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) return new Folder(path);
    if (!found.isFile()) throw ociErrors.IMAGE_SOURCE_UNREADABLE(path, 'it is neither a folder nor a file');
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return new Archive(file, await indexTar(file, path));
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    throw explain(path, error);
  }
}

/** The whole file, which is a document. Throws IMAGE_MALFORMED when it is too large for one. */
export async function readDocument(
  file: ImageFile,
  image: string,
  what: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (file.size > MAX_DOCUMENT_BYTES)
    throw ociErrors.IMAGE_MALFORMED(image, `${what} has ${file.size} bytes, more than ${MAX_DOCUMENT_BYTES}`);
  const pieces: Uint8Array[] = [];
  for await (const piece of file.stream(signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}

function explain(path: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' && syscall !== undefined) return ociErrors.IMAGE_NOT_FOUND(path, []).because(error);
  return syscall === undefined ? error : ociErrors.IMAGE_SOURCE_UNREADABLE(path, code ?? '').because(error);
}

class Folder implements ImageFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async find(path: string): Promise<ImageFile | null> {
    const whole = join(this.#folder, path);
    try {
      const found = await stat(whole);
      // What is no file could keep its reader waiting for ever.
      if (!found.isFile()) return null;
      const stream = (signal: AbortSignal, length?: number) => region(whole, 0, length ?? found.size, signal);
      return { size: found.size, stream };
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
      throw explain(whole, error);
    }
  }

  async close(): Promise<void> {}
}

async function* region(path: string, start: number, length: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
  if (length === 0) return;
  try {
    yield* createReadStream(path, { start, end: start + length - 1, highWaterMark: 256 * 1024, signal });
  } catch (error) {
    signal.throwIfAborted();
    throw explain(path, error);
  }
}

class Archive implements ImageFiles {
  readonly #file: FileHandle;
  readonly #members: ReadonlyMap<string, TarMember>;

  constructor(file: FileHandle, members: ReadonlyMap<string, TarMember>) {
    this.#file = file;
    this.#members = members;
  }

  async find(path: string): Promise<ImageFile | null> {
    let member = this.#members.get(path);
    // Docker before version 25 writes a layer that two images share once, and a symbolic link to it.
    if (member?.linkTo !== undefined) member = this.#members.get(member.linkTo);
    if (!member || member.linkTo !== undefined) return null;
    const { size, position } = member;
    const stream = (signal: AbortSignal, length?: number) => this.#read(position, length ?? size, signal);
    return { size, stream };
  }

  async *#read(position: number, length: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    for (let done = 0; done < length; ) {
      signal.throwIfAborted();
      const piece = Buffer.allocUnsafe(Math.min(256 * 1024, length - done));
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, position + done);
      // Cut off: its digest will tell.
      if (bytesRead === 0) return;
      done += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
