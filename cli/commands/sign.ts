/** Signs an image of the node as cosign does. The private key stays here: the node gets the signature. */
import { sign } from 'node:crypto';
import type { Context } from '../context.ts';
import { cliErrors } from '../errors.ts';
import { readPrivateKey } from '../signing/private-key.ts';
import { writeJson, writeLine } from '../terminal.ts';

export async function signImage(
  { client, terminal, json }: Context,
  reference: string,
  flags: { key: string },
): Promise<void> {
  const key = await readPrivateKey(flags.key, terminal.env.COSIGN_PASSWORD);
  const { repository, digest } = await client.signingSubject(reference);
  const [, asked = digest] = reference.split('@');
  // What is signed is what was asked for, whatever the node says.
  if (asked !== digest) throw cliErrors.OTHER_DIGEST(reference, digest);
  const payload = Buffer.from(signingPayload(repository, digest));
  const signature = sign('sha256', payload, key).toString('base64');
  await client.attachSignature({
    reference: `${repository}@${digest}`,
    payload: payload.toString('base64'),
    signature,
  });
  if (json) writeJson(terminal.stdout, { repository, digest });
  else writeLine(terminal.stdout, `${repository}@${digest} is signed`);
}

/** https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#simple-signing */
function signingPayload(repository: string, digest: string): string {
  const critical = {
    identity: { 'docker-reference': repository },
    image: { 'docker-manifest-digest': digest },
    type: 'cosign container image signature',
  };
  return JSON.stringify({ critical, optional: null });
}
