/**
 * Cosign's first form of a signature: a small JSON document that names the image, and its signature.
 * https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
import { type KeyObject, verify } from 'node:crypto';
import * as z from 'zod';
import { SkerryError } from '../../errors/skerry-error.ts';
import { parseReference } from '../oci/index.ts';
import { Refusal, type Signature, type Subject } from './signature.ts';

/** Of a signature in base64: that of an RSA key of 16384 bits has less. */
const MAX_SIGNATURE = 4096;

const schema = z.object({
  critical: z.object({
    identity: z.object({ 'docker-reference': z.string().max(4096) }),
    image: z.object({ 'docker-manifest-digest': z.string().max(256) }),
    type: z.literal('cosign container image signature'),
  }),
});

/** Throws Refusal. */
export function verifySimple(
  signature: Extract<Signature, { kind: 'simple' }>,
  key: KeyObject,
  subject: Subject,
): void {
  const bytes = decodeBase64(signature.signature);
  const algorithm = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  if (!verify(algorithm, signature.payload, key, bytes))
    throw new Refusal('it was made with another key, or was changed');
  checkPayload(signature.payload, subject);
}

/** Whether this payload is about this image. Throws Refusal. */
export function checkPayload(payload: Uint8Array, { digest, repository }: Subject): void {
  const parsed = schema.safeParse(parseJson(payload));
  if (!parsed.success) throw new Refusal('what it signs is not the document of a container image');
  const { identity, image } = parsed.data.critical;
  const about = image['docker-manifest-digest'];
  if (about !== digest) throw new Refusal(`it is about another image, ${about.slice(0, 100)}`);
  const name = identity['docker-reference'];
  // Registries are called by many names, and images are copied between them: the repository must be the same.
  if (repositoryOf(name) !== repository)
    throw new Refusal(`it is about the repository "${name.slice(0, 100)}", not ${repository}`);
}

function repositoryOf(name: string): string | null {
  try {
    const reference = parseReference(name);
    return 'repository' in reference ? reference.repository : null;
  } catch (error) {
    if (error instanceof SkerryError) return null;
    throw error;
  }
}

/** Throws Refusal. */
export function decodeBase64(text: string): Buffer {
  if (text.length > MAX_SIGNATURE) throw new Refusal(`it has more than ${MAX_SIGNATURE} characters`);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new Refusal('it is not in base64');
  return Buffer.from(text, 'base64');
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
}
