import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Operation } from './recording.ts';

/*
 * What a disk may hold after a power cut, by the rules that POSIX gives: what was written to a file is sure to be there
 * after an fsync of that file, and a name after an fsync of the folder that has it; a write through a descriptor opened
 * with O_DSYNC is sure by itself. Of all the rest any part may be there, in any order, torn at any sector.
 */

/** Disks write sectors whole or not at all. In bytes. */
const sectorBytes = 512;

interface Change {
  readonly offset: number;
  /** Null: the file was cut or grown to `offset`. */
  readonly data: Buffer | null;
}

class FileNode {
  readonly directory = false;
  durable: Buffer = Buffer.alloc(0);
  pending: Change[] = [];
}

interface NameChange {
  readonly name: string;
  /** Null: the name is removed. */
  readonly node: Node | null;
  /** What a rename does to another folder, part of the same change. */
  readonly also?: { readonly folder: FolderNode; readonly name: string };
}

class FolderNode {
  readonly directory = true;
  /** As the process sees it. */
  readonly names = new Map<string, Node>();
  readonly durable = new Map<string, Node>();
  pending: NameChange[] = [];
}

type Node = FileNode | FolderNode;

/** How the disk treats what was not synced. */
export interface Fate {
  /** Whether a change that was not synced is on the disk all the same. Asked for each sector of a write. */
  readonly survives: (what: 'name' | 'data') => boolean;
  /** A write that is lost leaves zeros where it made the file longer, instead of a shorter file. */
  readonly zeros: boolean;
}

/** A disk that ignores some syncs, for showing that the test would notice. */
export type Lies = (operation: Operation, path: string) => boolean;

function splitPath(path: string): [folder: string, name: string] {
  const at = path.lastIndexOf('/');
  return at < 0 ? ['', path] : [path.slice(0, at), path.slice(at + 1)];
}

function apply(content: Buffer, { offset, data }: Change, survives: () => boolean, zeros: boolean): Buffer {
  if (data === null) {
    if (!survives()) return content;
    const cut = Buffer.alloc(offset);
    content.copy(cut);
    return cut;
  }
  let result = content;
  const grow = (size: number) => {
    if (size <= result.length) return;
    const grown = Buffer.alloc(size);
    result.copy(grown);
    result = grown;
  };
  result = Buffer.from(result);
  if (zeros) grow(offset + data.length);
  for (let at = 0; at < data.length; ) {
    const end = Math.min(data.length, at + sectorBytes - ((offset + at) % sectorBytes));
    if (survives()) {
      grow(offset + end);
      data.copy(result, offset + at, at, end);
    }
    at = end;
  }
  return result;
}

const always = () => true;

export class DiskModel {
  readonly #root = new FolderNode();
  readonly #handles = new Map<number, { node: Node; path: string }>();
  readonly #lies: Lies;
  readonly marks: string[] = [];
  /** Files that were changed through a mapping, or in a way that this model does not know. */
  readonly unseen: string[] = [];

  constructor(lies: Lies = () => false) {
    this.#lies = lies;
  }

  #folder(path: string): FolderNode {
    let folder = this.#root;
    for (const part of path === '' ? [] : path.split('/')) {
      const next = folder.names.get(part);
      if (!next?.directory) throw new Error(`no folder ${path}`);
      folder = next;
    }
    return folder;
  }

  #change(folder: FolderNode, change: NameChange): void {
    folder.pending.push(change);
    if (change.node) folder.names.set(change.name, change.node);
    else folder.names.delete(change.name);
    change.also?.folder.names.delete(change.also.name);
  }

  /** Takes in the next thing that the process did. */
  add(operation: Operation): void {
    switch (operation.kind) {
      case 'open': {
        const [folderPath, name] = splitPath(operation.path);
        if (operation.path === '') {
          this.#handles.set(operation.handle, { node: this.#root, path: '' });
          return;
        }
        const folder = this.#folder(folderPath);
        if (operation.created) this.#change(folder, { name, node: new FileNode() });
        const node = folder.names.get(name);
        if (!node) throw new Error(`opened ${operation.path}, which was never made`);
        if (operation.truncated && !node.directory) node.pending.push({ offset: 0, data: null });
        this.#handles.set(operation.handle, { node, path: operation.path });
        return;
      }
      case 'write':
      case 'truncate': {
        const { node, path } = this.#handles.get(operation.handle)!;
        if (node.directory) throw new Error(`a write to the folder ${path}`);
        if (operation.kind === 'truncate') node.pending.push({ offset: operation.size, data: null });
        else if (operation.synchronous && !this.#lies(operation, path))
          node.durable = apply(node.durable, operation, always, false);
        else node.pending.push(operation);
        return;
      }
      case 'sync': {
        const { node, path } = this.#handles.get(operation.handle)!;
        if (!this.#lies(operation, path)) this.#sync(node);
        return;
      }
      case 'mkdir': {
        if (operation.path === '') return; // the folder itself
        const [folderPath, name] = splitPath(operation.path);
        this.#change(this.#folder(folderPath), { name, node: new FolderNode() });
        return;
      }
      case 'unlink':
      case 'rmdir': {
        const [folderPath, name] = splitPath(operation.path);
        const folder = this.#folder(folderPath);
        // A socket is not recorded when it is made, and holds nothing.
        if (folder.names.has(name)) this.#change(folder, { name, node: null });
        return;
      }
      case 'rename':
      case 'link': {
        const [fromPath, fromName] = splitPath(operation.from);
        const [toPath, name] = splitPath(operation.to);
        const from = this.#folder(fromPath);
        const node = from.names.get(fromName);
        if (!node) throw new Error(`${operation.from} was never made`);
        const also = operation.kind === 'rename' ? { also: { folder: from, name: fromName } } : {};
        this.#change(this.#folder(toPath), { name, node, ...also });
        return;
      }
      case 'mark':
        this.marks.push(operation.text);
        return;
      case 'map-write':
        this.unseen.push(`a shared mapping of ${this.#handles.get(operation.handle)?.path}`);
        return;
      case 'unknown':
        this.unseen.push(operation.what);
        return;
    }
  }

  #sync(node: Node): void {
    if (node.directory) {
      for (const change of node.pending) applyName(node.durable, change, (folder) => folder.durable);
      node.pending = [];
      return;
    }
    for (const change of node.pending) node.durable = apply(node.durable, change, always, false);
    node.pending = [];
  }

  /** Writes to `target` what the disk holds when the power goes now. The model itself is not changed. */
  writeTo(target: string, fate: Fate): void {
    const contents = new Map<FileNode, Buffer>();
    const names = new Map<FolderNode, Map<string, Node>>();
    const namesOf = (folder: FolderNode): Map<string, Node> => {
      let found = names.get(folder);
      if (!found) {
        found = new Map(folder.durable);
        names.set(folder, found);
        for (const change of folder.pending) if (fate.survives('name')) applyName(found, change, namesOf);
      }
      return found;
    };
    // Renames reach into other folders: all folders are settled before anything is written.
    const settle = (folder: FolderNode) => {
      for (const node of [...namesOf(folder).values()]) if (node.directory) settle(node);
    };
    settle(this.#root);
    const write = (folder: FolderNode, path: string) => {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      for (const [name, node] of namesOf(folder)) {
        const below = join(path, name);
        if (node.directory) {
          write(node, below);
          continue;
        }
        let content = contents.get(node);
        if (!content) {
          content = node.durable;
          for (const change of node.pending) content = apply(content, change, () => fate.survives('data'), fate.zeros);
          contents.set(node, content);
        }
        mkdirSync(dirname(below), { recursive: true });
        writeFileSync(below, content, { mode: 0o600 });
      }
    };
    write(this.#root, target);
  }
}

function applyName(
  names: Map<string, Node>,
  { name, node, also }: NameChange,
  namesOf: (folder: FolderNode) => Map<string, Node>,
): void {
  if (node) names.set(name, node);
  else names.delete(name);
  if (also) namesOf(also.folder).delete(also.name);
}
