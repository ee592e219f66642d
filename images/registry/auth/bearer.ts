/** Bearer tokens: what a client gets for a token of `skerry token create`, for some repositories and a short time. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { type Access, type Action, allows, type Grant } from './scope.ts';
import type { Tokens } from './tokens.ts';

/** In seconds; what docker's own token service gives. */
export const BEARER_SECONDS = 300;
/** Larger ones are not looked at, in characters. */
const MAX_LENGTH = 16 * 1024;

const claimsSchema = z.object({
  /** Name and id of the token it was issued for; both null for nobody. */
  name: z.string().nullable(),
  id: z.string().nullable(),
  access: z.array(z.object({ repository: z.string(), actions: z.array(z.enum(['pull', 'push', 'delete'])) })),
  /** In seconds since 1970. */
  expires: z.number(),
});
type Claims = z.infer<typeof claimsSchema>;

/** Who is asking, and what of it the bearer token was issued for. */
export interface Caller {
  /** Of the token; null for nobody in particular. */
  readonly name: string | null;
  /** What the caller could ask a bearer token for. */
  readonly grants: readonly Grant[];
  /** What this one was asked for and allows still. */
  readonly access: readonly Access[];
}

export class Bearers {
  readonly #key: Uint8Array;
  readonly #tokens: Tokens;
  readonly #anonymous: readonly Grant[];

  /** @param key 32 bytes that this node alone knows @param anonymous what those may do that show no token */
  constructor(key: Uint8Array, tokens: Tokens, anonymous: readonly Grant[]) {
    this.#key = key;
    this.#tokens = tokens;
    this.#anonymous = anonymous;
  }

  /** Whether a bearer token may be had without a token. */
  get anonymous(): boolean {
    return this.#anonymous.length > 0;
  }

  /** Of what is wanted only what is allowed gets into it. */
  issue(holder: { name: string; id: string; grants: readonly Grant[] } | null, wanted: readonly Access[]): string {
    const grants = holder?.grants ?? this.#anonymous;
    const access = wanted.map(({ repository, actions }) => {
      return { repository, actions: actions.filter((action) => allows(grants, repository, action)) };
    });
    const claims: Claims = {
      name: holder?.name ?? null,
      id: holder?.id ?? null,
      access,
      expires: Math.floor(Date.now() / 1000) + BEARER_SECONDS,
    };
    const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
    return `${payload}.${this.#sign(payload)}`;
  }

  /** Null when it is none of this node's, has expired, or its token was removed. */
  verify(bearer: string): Caller | null {
    if (bearer.length > MAX_LENGTH) return null;
    const [payload = '', signature = '', more] = bearer.split('.');
    const expected = Buffer.from(this.#sign(payload));
    const given = Buffer.from(signature);
    if (more !== undefined || given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
    const { name, id, access, expires } = claimsSchema.parse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
    if (expires * 1000 <= Date.now()) return null;
    if (name === null || id === null) {
      // The setting may have been another one when it was issued.
      return this.anonymous ? { name: null, grants: this.#anonymous, access } : null;
    }
    const holder = this.#tokens.holder(name, id);
    return holder && { name, grants: holder.grants, access };
  }

  #sign(payload: string): string {
    return createHmac('sha256', this.#key).update(payload).digest('base64url');
  }
}

/** Both must say so: the bearer token was asked for it, and its holder may still have it. */
export function mayDo(caller: Caller, repository: string, action: Action): boolean {
  const asked = caller.access.some((each) => each.repository === repository && each.actions.includes(action));
  return asked && allows(caller.grants, repository, action);
}
