/**
 * Sigstore bundles, verified without a network: https://docs.sigstore.dev/about/bundle/. The cryptography of certificates,
 * logs and timestamps is that of @sigstore/verify, which is loaded when it is needed first: most nodes never do.
 */
import { type KeyObject, X509Certificate } from 'node:crypto';
import type { Bundle } from '@sigstore/bundle';
import type { TrustedRoot } from '@sigstore/protobuf-specs';
import type { SignedEntity } from '@sigstore/verify';
import * as z from 'zod';
import { IN_TOTO, SIGN_PREDICATE } from './media-types.ts';
import { Refusal, type Subject } from './signature.ts';

export interface Identity {
  /** The subject alternative name of the certificate: an e-mail address or a URI, compared as a whole. */
  readonly identity: string;
  /** Who vouched for it: the URL of an OpenID Connect provider. */
  readonly issuer: string;
}

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';

const statementSchema = z.object({
  predicateType: z.string(),
  subject: z.array(z.object({ digest: z.record(z.string(), z.string()) })).max(100),
});

/** A bundle that was made with a key: no certificate vouches for it, and no log needs to. Throws Refusal. */
export async function verifyBundleByKey(json: string, key: KeyObject, subject: Subject): Promise<void> {
  const { toSignedEntity } = await import('@sigstore/verify');
  const bundle = await parseBundle(json);
  if (bundle.verificationMaterial.content.$case !== 'publicKey')
    throw new Refusal('it was made with a certificate, and not with a key');
  const entity = open(() => toSignedEntity(bundle, signedBytes(bundle, subject)));
  if (!entity.signature.verifySignature(key)) throw new Refusal('it was made with another key, or was changed');
  checkContent(bundle, subject);
}

/**
 * A bundle that was made with a certificate. What the trust root lists must have taken part: a log of certificates, a
 * transparency log; and something that it lists must tell when the certificate was used. Throws Refusal.
 */
export async function verifyBundleByIdentity(
  json: string,
  root: TrustedRoot,
  wanted: Identity,
  subject: Subject,
): Promise<void> {
  const { toSignedEntity, toTrustMaterial, Verifier } = await import('@sigstore/verify');
  const bundle = await parseBundle(json);
  const { content } = bundle.verificationMaterial;
  if (content.$case === 'publicKey') throw new Refusal('it was made with a key, and not with a certificate');
  const leaf = content.$case === 'certificate' ? content.certificate : content.x509CertificateChain.certificates[0];
  const signer = open(() => {
    const entity = toSignedEntity(bundle, signedBytes(bundle, subject));
    const verifier = new Verifier(toTrustMaterial(root), {
      ctlogThreshold: root.ctlogs.length > 0 ? 1 : 0,
      tlogThreshold: root.tlogs.length > 0 ? 1 : 0,
      timestampThreshold: 1,
    });
    return verifier.verify(withVouchedTimes(entity));
  });
  const { subjectAlternativeName: name = '', extensions } = signer.identity ?? {};
  // The library would take what is wanted for a regular expression that fits anywhere in the name.
  if (name !== wanted.identity) throw new Refusal(`it was made by "${name.slice(0, 200)}", not ${wanted.identity}`);
  const issuer = extensions?.issuer ?? '';
  if (issuer !== wanted.issuer)
    throw new Refusal(`"${issuer.slice(0, 200)}" vouched for who made it, not ${wanted.issuer}`);
  const usages = open(() => new X509Certificate(leaf!.rawBytes).keyUsage) ?? [];
  if (!usages.includes(CODE_SIGNING)) throw new Refusal('its certificate is not one for signing code');
  checkContent(bundle, subject);
}

/** A signature may be over the manifest itself, which must then be here. */
function signedBytes(bundle: Bundle, { bytes }: Subject): Buffer {
  if (bundle.content.$case === 'messageSignature' && bytes === null) throw new Refusal('what it signs is not here');
  return Buffer.from(bytes ?? []);
}

/** The time of a log entry is the log's word only where the log has signed it (its promise); a proof leaves it out. */
function withVouchedTimes(entity: SignedEntity): SignedEntity {
  const timestamps = entity.timestamps.filter(
    (each) => each.$case !== 'transparency-log' || each.tlogEntry.inclusionPromise !== undefined,
  );
  return { ...entity, timestamps };
}

async function parseBundle(json: string): Promise<Bundle> {
  const { bundleFromJSON } = await import('@sigstore/bundle');
  return open(() => bundleFromJSON(JSON.parse(json)));
}

/** A signature over the manifest itself is about it; a signed statement must say that it is. */
function checkContent(bundle: Bundle, { digest }: Subject): void {
  if (bundle.content.$case === 'messageSignature') return;
  const { payload, payloadType } = bundle.content.dsseEnvelope;
  const parsed = payloadType === IN_TOTO ? statementSchema.safeParse(open(() => JSON.parse(payload.toString()))) : null;
  if (!parsed?.success) throw new Refusal('what it signs is no statement about an image');
  const { predicateType, subject } = parsed.data;
  // The same key may sign what is in an image, or what was found wrong with it: that is no word that it may run.
  if (predicateType !== SIGN_PREDICATE)
    throw new Refusal(`it is an attestation (${predicateType.slice(0, 100)}), and not a signature`);
  if (!subject.some((each) => each.digest.sha256 !== undefined && `sha256:${each.digest.sha256}` === digest))
    throw new Refusal(`it is about another image, sha256:${(subject[0]?.digest.sha256 ?? '').slice(0, 64)}`);
}

/** What the libraries throw of what others wrote is a refusal, whatever it is. */
function open<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) throw error;
    // The inner reason is the one that helps: which part of a chain does not hold.
    const { message } = (error as Error).cause instanceof Error ? ((error as Error).cause as Error) : (error as Error);
    throw new Refusal(message.split('\n')[0]!.slice(0, 200));
  }
}
