/** The tokens of the registry: named, with what each allows. Of a token itself only a hash is kept. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { RecordStore } from '../../oci/index.ts';
import { tokenErrors } from './errors.ts';
import { formatGrant, type Grant, parseGrant } from './scope.ts';

/** `token/NAME`. */
interface TokenRecord {
  /** Of this very token: one that is made anew under the same name is another. */
  readonly id: string;
  /** SHA-256 in hex. A token has 256 bits by chance: nothing is gained by a slow hash. */
  readonly hash: string;
  readonly grants: readonly Grant[];
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface TokenSummary {
  readonly name: string;
  readonly scopes: readonly string[];
  /** ISO 8601. */
  readonly createdAt: string;
}

/** Who has shown a token. */
export interface Holder {
  readonly name: string;
  readonly id: string;
  readonly grants: readonly Grant[];
}

const TOKENS = 'token/';
const PREFIX = 'skerry_';
const TOKEN_BYTES = 32;
/** Without a colon: it is the user's name of Basic credentials. */
const nameGrammar = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const MAX_SCOPES = 64;

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();
/** Compared with when there is no such token, so that this takes no less time. */
const NOBODY = randomBytes(32);

export class Tokens {
  readonly #records: RecordStore;

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** Makes one, and returns it: it is not to be had again. Throws TOKEN_INVALID, TOKEN_EXISTS. */
  async create(name: string, scopes: readonly string[]): Promise<string> {
    if (!nameGrammar.test(name)) throw tokenErrors.TOKEN_INVALID(`"${name.slice(0, 100)}" cannot be its name`);
    if (scopes.length === 0 || scopes.length > MAX_SCOPES)
      throw tokenErrors.TOKEN_INVALID(`it needs 1 to ${MAX_SCOPES} scopes`);
    const grants = scopes.map((scope) => {
      const grant = parseGrant(scope);
      if (!grant) throw tokenErrors.TOKEN_INVALID(`"${scope.slice(0, 300)}" is not a scope`);
      return grant;
    });
    const key = TOKENS + name;
    if (this.#records.get(key)) throw tokenErrors.TOKEN_EXISTS(name);
    const token = PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
    const value: TokenRecord = {
      id: randomBytes(8).toString('hex'),
      hash: hashOf(token).toString('hex'),
      grants,
      createdAt: new Date().toISOString(),
    };
    await this.#records.commit([{ key, expect: 0, value }]);
    return token;
  }

  /** By name. */
  list(): TokenSummary[] {
    return this.#records
      .list<TokenRecord>(TOKENS, () => {})
      .map(({ key, value: { grants, createdAt } }) => {
        return { name: key.slice(TOKENS.length), scopes: grants.map(formatGrant), createdAt };
      });
  }

  /** What was issued for it is void at once. Throws NO_TOKEN. */
  async remove(name: string): Promise<void> {
    const found = this.#records.get(TOKENS + name);
    if (!found) throw tokenErrors.NO_TOKEN(name);
    await this.#records.commit([{ key: found.key, expect: found.generation, delete: true }]);
  }

  /** Null when there is none of that name, or another one was shown. */
  verify(name: string, token: string): Holder | null {
    const found = nameGrammar.test(name) ? this.#records.get<TokenRecord>(TOKENS + name) : null;
    const expected = found ? Buffer.from(found.value.hash, 'hex') : NOBODY;
    const right = timingSafeEqual(hashOf(token), expected);
    return found && right ? { name, id: found.value.id, grants: found.value.grants } : null;
  }

  /** Whose token this is, when only the token is shown. */
  verifyAlone(token: string): Holder | null {
    for (const { name } of this.list()) {
      const holder = this.verify(name, token);
      if (holder) return holder;
    }
    return null;
  }

  /** As it is now; null when it was removed, also when there is another of that name. */
  holder(name: string, id: string): Holder | null {
    const found = this.#records.get<TokenRecord>(TOKENS + name);
    return found?.value.id === id ? { name, id, grants: found.value.grants } : null;
  }
}
