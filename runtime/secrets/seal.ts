import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { secretErrors } from './errors.ts';

/** As it is in the state store: both in Base64. */
export interface SealedValue {
  readonly nonce: string;
  /** The ciphertext and, behind it, the tag. */
  readonly sealed: string;
}

const ALGORITHM = 'aes-256-gcm';
/** NIST SP 800-38D, section 8.2.2: random nonces of 96 bits are good for 2^32 values under one key. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Encrypts a value so that it opens with this key and under this name only. `key`: 32 bytes. */
export function seal(key: Uint8Array, name: string, value: string): SealedValue {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(name));
  const sealed = Buffer.concat([cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return { nonce: nonce.toString('base64'), sealed: sealed.toString('base64') };
}

/** Throws SECRET_UNREADABLE when it was sealed with another key or under another name, or is damaged. */
export function unseal(key: Uint8Array, name: string, { nonce, sealed }: SealedValue): string {
  try {
    const bytes = Buffer.from(sealed, 'base64');
    const decipher = createDecipheriv(ALGORITHM, key, Buffer.from(nonce, 'base64'), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(name));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]).toString('utf8');
  } catch (error) {
    throw secretErrors.SECRET_UNREADABLE(name).because(error);
  }
}
