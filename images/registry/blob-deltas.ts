/** Deltas between nodes: extra heads on the specification's own requests, which clients that do not know them never see. */
import type { Context } from 'hono';
import { deltaErrors } from '../delta/errors.ts';
import {
  acceptsDelta,
  applyDelta,
  BASE_HEADER,
  BASES_HEADER,
  baseOf,
  canUseDeltas,
  DELTA_CODING,
  makeDelta,
  parseBases,
} from '../delta/index.ts';
import type { StoredBlob } from '../store/index.ts';
import type { Caller } from './auth/bearer.ts';
import { allows } from './auth/scope.ts';
import type { RegistryEnv, RegistryParts } from './context.ts';

type Ctx = Context<RegistryEnv>;

/** Deltas on their way at once, each in memory as long as its reader takes: the others get the whole blob. */
const MAX_UNDER_WAY = 8;

export class BlobDeltas {
  readonly #parts: Pick<RegistryParts, 'repositories' | 'blobs'>;
  #underWay = 0;

  constructor(parts: Pick<RegistryParts, 'repositories' | 'blobs'>) {
    this.#parts = parts;
  }

  /** The blob as a delta from one that the caller says to have. Null where the whole blob is to be sent. */
  async serve(c: Ctx, digest: string, caller: Caller): Promise<Response | null> {
    if (c.req.header('range') !== undefined || !acceptsDelta(c.req.header('accept-encoding'))) return null;
    if (this.#underWay >= MAX_UNDER_WAY) return null;
    this.#underWay++;
    const base = await this.#base(c, caller, digest);
    const delta = base && (await makeDelta(this.#parts.blobs, digest, base));
    if (!delta || c.env.outgoing.closed) {
      this.#underWay--;
      return null;
    }
    c.env.outgoing.once('close', () => this.#underWay--);
    const headers = {
      'content-type': 'application/octet-stream',
      'content-encoding': DELTA_CODING,
      'content-length': String(delta.length),
      'docker-content-digest': digest,
      vary: `accept-encoding, ${BASES_HEADER}`,
    };
    return c.body(new Uint8Array(delta), 200, headers);
  }

  /** Tells who begins an upload that the blob may come as a delta, and from what. */
  async offerBase(c: Ctx, caller: Caller): Promise<void> {
    const base = await this.#base(c, caller, null);
    if (base === null) return;
    c.header('accept-encoding', DELTA_CODING);
    c.header(BASE_HEADER, base);
  }

  /** From a base that the caller could pull. Throws what `applyDelta` throws. */
  async apply(
    delta: Buffer,
    caller: Caller,
    blob: { readonly digest: string; readonly size: number },
  ): Promise<StoredBlob> {
    if (!canUseDeltas()) throw deltaErrors.DELTA_UNAVAILABLE('this node was built without them');
    return applyDelta(this.#parts.blobs, delta, blob, this.#readable(caller, [baseOf(delta)]));
  }

  async #base(c: Ctx, caller: Caller, target: string | null): Promise<string | null> {
    const bases = canUseDeltas() ? parseBases(c.req.header(BASES_HEADER)) : [];
    if (bases.length === 0) return null;
    for (const base of this.#readable(caller, bases))
      if (base !== target && (await this.#parts.blobs.has(base))) return base;
    return null;
  }

  /** Those of them that the caller could pull. What is elsewhere must not show in what is made of it. */
  #readable({ grants }: Caller, digests: readonly string[]): string[] {
    const { repositories } = this.#parts;
    const holders = repositories.withBlobs(digests);
    const may = (name: string) => allows(grants, name, 'pull');
    return digests.filter((digest) => holders.get(digest)!.some(may));
  }
}
