/** Memories of guests that have ended, cleared for the next instance of the same module. */

interface Kind {
  readonly initial: number;
  readonly maximum: number;
}

/** Bytes kept for later at most, in one worker. */
const keepLimit = 48 * 1024 * 1024;
/** A memory that has grown past this, in bytes, is not worth clearing. */
const largest = 32 * 1024 * 1024;

export class MemoryPool {
  /** Told how many bytes are kept, whenever that changes. */
  readonly #onKept: (bytes: number) => void;
  /** By the kind that a module asks for; used last at the end. */
  readonly #kept = new Map<Kind, WebAssembly.Memory[]>();
  #bytes = 0;

  constructor(onKept: (bytes: number) => void) {
    this.#onKept = onKept;
  }

  take(kind: Kind): WebAssembly.Memory {
    const list = this.#kept.get(kind);
    const memory = list?.pop();
    if (!list || !memory) return new WebAssembly.Memory(kind);
    this.#bytes -= memory.buffer.byteLength;
    if (list.length === 0) this.#kept.delete(kind);
    this.#onKept(this.#bytes);
    return memory;
  }

  /** Takes a memory back that nobody uses any more, and clears all of it. */
  give(kind: Kind, memory: WebAssembly.Memory): void {
    const bytes = memory.buffer.byteLength;
    if (bytes > largest) return;
    new Uint8Array(memory.buffer).fill(0);
    const list = this.#kept.get(kind) ?? [];
    this.#kept.delete(kind);
    this.#kept.set(kind, list);
    list.push(memory);
    this.#bytes += bytes;
    while (this.#bytes > keepLimit) this.#dropOldest();
    this.#onKept(this.#bytes);
  }

  #dropOldest(): void {
    const [kind, list] = this.#kept.entries().next().value!;
    for (const memory of list) this.#bytes -= memory.buffer.byteLength;
    this.#kept.delete(kind);
  }

  /** Nothing of this kind will be asked for again. */
  forget(kind: Kind): void {
    for (const memory of this.#kept.get(kind) ?? []) this.#bytes -= memory.buffer.byteLength;
    this.#kept.delete(kind);
    this.#onKept(this.#bytes);
  }
}
