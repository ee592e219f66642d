/** How much the content store holds, and how much it may: blobs and what is on its way to become one. */
import { imageErrors } from '../errors.ts';

/** After a look for what can go that found too little, nobody looks again for so long; in milliseconds. */
const LOOK_AGAIN_MS = 10_000;

export class StoreSpace {
  /** In bytes. */
  readonly limit: number;
  /** Removes what nobody uses until there is room for so many bytes, as far as that goes. */
  evict: ((bytes: number) => Promise<void>) | null = null;
  #used = 0;
  #making: Promise<void> | null = null;
  #hopelessUntil = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** In bytes. */
  get used(): number {
    return this.#used;
  }

  /** These bytes are there already. */
  count(bytes: number): void {
    this.#used += bytes;
  }

  /** For bytes that are about to be written. Makes room if need be; throws STORE_FULL, and takes nothing. */
  async take(bytes: number): Promise<void> {
    if (!this.fits(bytes)) await this.require(bytes);
    // In one turn with the taking: somebody else may have had what was there.
    if (!this.fits(bytes)) throw imageErrors.STORE_FULL(this.limit);
    this.#used += bytes;
  }

  /** These bytes are gone. */
  give(bytes: number): void {
    this.#used = Math.max(0, this.#used - bytes);
  }

  fits(bytes: number): boolean {
    return this.#used + bytes <= this.limit;
  }

  /** Makes room for so many bytes, and leaves it to whoever comes first. Throws STORE_FULL. */
  async require(bytes: number): Promise<void> {
    if (this.fits(bytes)) return;
    if (bytes <= this.limit && Date.now() >= this.#hopelessUntil) await this.#makeRoom(bytes);
    if (!this.fits(bytes)) throw imageErrors.STORE_FULL(this.limit);
  }

  async #makeRoom(bytes: number): Promise<void> {
    this.#making ??= (this.evict?.(bytes) ?? Promise.resolve()).finally(() => {
      this.#making = null;
    });
    await this.#making;
    if (!this.fits(bytes)) this.#hopelessUntil = Date.now() + LOOK_AGAIN_MS;
  }
}
