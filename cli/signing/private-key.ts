/**
 * A private key to sign images with, from a file: a plain one (PKCS #8 or SEC 1), or one of cosign's, encrypted with a
 * password. It is used here and goes nowhere.
 */
import { createPrivateKey, type KeyObject, scrypt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import { cliErrors } from '../errors.ts';
import { unreadable } from '../unreadable.ts';

/** https://github.com/sigstore/sigstore/blob/main/pkg/cryptoutils/privatekey.go; the first name is that of old cosigns. */
const encryptedPem =
  /^-----BEGIN ENCRYPTED (COSIGN|SIGSTORE) PRIVATE KEY-----([\s\w+/=]+)-----END ENCRYPTED \1 PRIVATE KEY-----$/;

const base64 = z.string().transform((text) => Buffer.from(text, 'base64'));
const sealedSchema = z.object({
  kdf: z.object({
    name: z.literal('scrypt'),
    // What a file may cost: 1 GiB of memory at most.
    params: z.object({
      N: z
        .int()
        .min(2)
        .max(2 ** 20),
      r: z.int().min(1).max(8),
      p: z.int().min(1).max(4),
    }),
    salt: base64,
  }),
  cipher: z.object({ name: z.literal('nacl/secretbox'), nonce: base64 }),
  ciphertext: base64,
});

const MAX_FILE = 64 * 1024;

/** Throws UNREADABLE, KEY_INVALID, KEY_LOCKED. @param password of an encrypted one: COSIGN_PASSWORD */
export async function readPrivateKey(file: string, password: string | undefined): Promise<KeyObject> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw unreadable(file, error);
  });
  if (text.length > MAX_FILE) throw cliErrors.KEY_INVALID(file, `it has more than ${MAX_FILE} bytes`);
  const pem = text.trim();
  const [, , sealed] = encryptedPem.exec(pem) ?? [];
  const key = sealed === undefined ? parsePem(file, pem, password) : await unseal(file, sealed, password);
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw cliErrors.KEY_INVALID(file, 'it is not an ECDSA key on the curve P-256');
  return key;
}

function parsePem(file: string, pem: string, password: string | undefined): KeyObject {
  if (/BEGIN ENCRYPTED PRIVATE KEY/.test(pem) && password === undefined) throw cliErrors.KEY_LOCKED(file);
  if (!/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(pem)) throw cliErrors.KEY_INVALID(file, 'it has no private key');
  try {
    return createPrivateKey({ key: pem, ...(password === undefined ? {} : { passphrase: password }) });
  } catch (error) {
    throw cliErrors.KEY_INVALID(file, 'it cannot be read, or not with this password').because(error);
  }
}

async function unseal(file: string, sealed: string, password: string | undefined): Promise<KeyObject> {
  if (password === undefined) throw cliErrors.KEY_LOCKED(file);
  const parsed = sealedSchema.safeParse(parseJson(Buffer.from(sealed, 'base64').toString()));
  if (!parsed.success) throw cliErrors.KEY_INVALID(file, 'it is encrypted in a way that is not known');
  const { kdf, cipher, ciphertext } = parsed.data;
  const { N, r, p } = kdf.params;
  const derive = promisify<string, Buffer, number, object, Buffer>(scrypt);
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa');
  try {
    const secret = await derive(password, kdf.salt, 32, { N, r, p, maxmem: 256 * N * r });
    const key = Buffer.from(xsalsa20poly1305(secret, cipher.nonce).decrypt(ciphertext));
    return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw cliErrors.KEY_INVALID(file, 'COSIGN_PASSWORD does not open it').because(error);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
