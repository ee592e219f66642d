/** Public keys that signatures are verified with. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { trustErrors } from './errors.ts';

const MAX_PEM = 16 * 1024;
const MIN_RSA_BITS = 2048;
const curves = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/**
 * A public key and nothing else: a private key must not be kept here, and of a certificate nobody could tell whether it was
 * meant as a key or as an authority. Throws POLICY_INVALID.
 */
export function parsePublicKey(pem: string): KeyObject {
  const text = pem.trim();
  if (text.length > MAX_PEM) throw trustErrors.POLICY_INVALID(`the key has more than ${MAX_PEM} bytes`);
  if (/PRIVATE KEY-----/.test(text))
    throw trustErrors.POLICY_INVALID(
      'this is a private key; it belongs to who signs, and the public one (cosign.pub) here',
    );
  if (!/^-----BEGIN PUBLIC KEY-----[\s\w+/=]+-----END PUBLIC KEY-----$/.test(text))
    throw trustErrors.POLICY_INVALID('the key is not one public key in PEM form (BEGIN PUBLIC KEY)');
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch (error) {
    throw trustErrors.POLICY_INVALID('the key cannot be read').because(error);
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const strong =
    (type === 'ec' && curves.has(details?.namedCurve ?? '')) ||
    (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) ||
    type === 'ed25519';
  if (!strong)
    throw trustErrors.POLICY_INVALID(`a key of this kind (${type}) is not taken: ECDSA, Ed25519 or RSA of 2048 bits`);
  return key;
}

/** One way to write it. */
export function formatPublicKey(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** SHA-256 of the key, in hex: two files with the same key have the same. */
export function keyFingerprint(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}
