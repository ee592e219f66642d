/** An image in another registry, as a source of images to run. */
import type { Descriptor } from '../oci/documents.ts';
import { formatReference, type ImageSource, type RegistryReference, type RootDocument } from '../oci/index.ts';
import type { Credentials } from './credentials.ts';
import { RemoteRepository } from './repository.ts';
import { Transport, type TransportOptions } from './transport.ts';

export interface RemoteOptions extends Omit<TransportOptions, 'registry' | 'url'> {
  readonly credentials: Credentials | null;
}

/** A connection with the registry that the reference names. `close` ends it. */
export function openRemote(
  reference: RegistryReference,
  access: 'pull' | 'push',
  { credentials, ...options }: RemoteOptions,
): { repository: RemoteRepository; transport: Transport } {
  const { registry, repository: name } = reference;
  const transport = new Transport({ ...options, registry });
  // Docker Hub's own images are named without their folder.
  const repository = registry === 'docker.io' && !name.includes('/') ? `library/${name}` : name;
  const image = formatReference(reference);
  return { transport, repository: new RemoteRepository({ transport, repository, image, access, credentials }) };
}

export class RemoteSource implements ImageSource {
  readonly label: string;
  readonly #reference: RegistryReference;
  readonly #repository: RemoteRepository;
  readonly #transport: Transport;

  constructor(reference: RegistryReference, options: RemoteOptions) {
    this.label = formatReference(reference);
    this.#reference = reference;
    ({ repository: this.#repository, transport: this.#transport } = openRemote(reference, 'pull', options));
  }

  /** All else is asked for by digest: a tag that moves meanwhile changes nothing. */
  root(signal: AbortSignal): Promise<RootDocument> {
    const { tag, digest } = this.#reference;
    return this.#repository.manifest(digest ?? (tag as string), signal);
  }

  async manifest({ digest }: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    return (await this.#repository.manifest(digest, signal)).bytes;
  }

  async config(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.layer(descriptor, signal)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  layer({ digest, size }: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#repository.blob({ digest, size }, signal);
  }

  layerOrDelta(
    { digest, size }: Descriptor,
    bases: readonly string[],
    signal: AbortSignal,
  ): Promise<Buffer | AsyncIterable<Uint8Array>> {
    return this.#repository.blobOrDelta({ digest, size }, bases, signal);
  }

  close(): Promise<void> {
    return this.#transport.close();
  }
}
