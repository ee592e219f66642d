import { createHash, type Hash } from 'node:crypto';
import { imageErrors } from '../errors.ts';

/** https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md#registered-algorithms; `sha256` is what every client has. */
export type DigestAlgorithm = 'sha256' | 'sha512';

const grammar = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/;

export function isDigest(text: string): boolean {
  return grammar.test(text);
}

export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return text === 'sha256' || text === 'sha512';
}

/** Its algorithm and its hex digits. Throws DIGEST_INVALID: nothing else may ever become part of a path. */
export function splitDigest(digest: string): { algorithm: DigestAlgorithm; hex: string } {
  if (!isDigest(digest)) throw imageErrors.DIGEST_INVALID(String(digest));
  return { algorithm: digest.slice(0, 6) as DigestAlgorithm, hex: digest.slice('sha256:'.length) };
}

/** A digest of what comes piece by piece. */
export class RunningDigest {
  readonly algorithm: DigestAlgorithm;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm = 'sha256', hash: Hash = createHash(algorithm)) {
    this.algorithm = algorithm;
    this.#hash = hash;
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  /** Of what came so far; more may come behind it. */
  copy(): RunningDigest {
    return new RunningDigest(this.algorithm, this.#hash.copy());
  }

  /** Once: nothing may come behind it. */
  end(): string {
    return `${this.algorithm}:${this.#hash.digest('hex')}`;
  }
}

export function digestOf(data: Uint8Array, algorithm?: DigestAlgorithm): string {
  const digest = new RunningDigest(algorithm);
  digest.update(data);
  return digest.end();
}

export async function digestOfStream(source: AsyncIterable<Uint8Array>, algorithm?: DigestAlgorithm): Promise<string> {
  const digest = new RunningDigest(algorithm);
  for await (const piece of source) digest.update(piece);
  return digest.end();
}
