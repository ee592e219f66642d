import type { Descriptor } from '../oci/documents.ts';
import type { ImageSource, RootDocument } from '../oci/index.ts';

/** A source whose image is checked as soon as it is known which one it is: before anything of it is stored. */
export class GuardedSource implements ImageSource {
  readonly #source: ImageSource;
  readonly #check: (root: RootDocument, signal: AbortSignal) => Promise<void>;

  /** @param check throws what the image is refused with */
  constructor(source: ImageSource, check: (root: RootDocument, signal: AbortSignal) => Promise<void>) {
    this.#source = source;
    this.#check = check;
  }

  get label(): string {
    return this.#source.label;
  }

  async root(signal: AbortSignal): Promise<RootDocument> {
    const root = await this.#source.root(signal);
    await this.#check(root, signal);
    return root;
  }

  manifest(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    return this.#source.manifest(descriptor, signal);
  }

  config(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    return this.#source.config(descriptor, signal);
  }

  layer(descriptor: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#source.layer(descriptor, signal);
  }

  async layerOrDelta(
    descriptor: Descriptor,
    bases: readonly string[],
    signal: AbortSignal,
  ): Promise<Buffer | AsyncIterable<Uint8Array>> {
    const whole = () => this.#source.layer(descriptor, signal);
    return (await this.#source.layerOrDelta?.(descriptor, bases, signal)) ?? whole();
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
