/**
 * What sigstore's services do, by hand: an authority that gives out certificates for identities, one for timestamps (by
 * openssl), a transparency log with a single entry; and the trust root that names them.
 */
import { spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { der, oid, sequence } from './certificates.ts';

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
const TRUE = der(0x01, Buffer.from([0xff]));
const CODE_SIGNING = oid('2b06010505070303');
const TIME_STAMPING = oid('2b06010505070308');
const SERVER_AUTH = oid('2b06010505070301');
const HOUR_MS = 3_600_000;

const extension = (id: string, value: Uint8Array, critical = false) =>
  sequence(oid(id), ...(critical ? [TRUE] : []), der(0x04, value));
const name = (common: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(common)))));
const time = (ms: number) =>
  der(0x17, Buffer.from(`${new Date(ms).toISOString().slice(2, 19).replaceAll(/[-T:]/g, '')}Z`));
const keyPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();

export interface Issued {
  /** PEM. */
  readonly cert: string;
  readonly key: KeyObject;
}

interface Wanted {
  readonly identity: string;
  readonly issuer: string;
  /** In milliseconds since 1970; valid for ten minutes. */
  readonly from?: number;
  readonly usage?: 'code' | 'server';
  /** The public key of who asks; one is made when it is left out. */
  readonly publicKey?: KeyObject;
}

export interface BundleOptions {
  /** Goes to the timestamp authority, unless false. */
  readonly timestamp?: boolean;
  /** Goes into the log; in milliseconds since 1970, as the log says. */
  readonly logged?: number;
  /** The log's promise beside its proof. */
  readonly promise?: boolean;
  readonly predicateType?: string;
}

function pem(whole: Uint8Array): string {
  const lines = Buffer.from(whole)
    .toString('base64')
    .match(/.{1,64}/g) as string[];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

const derOf = (text: string) => text.replaceAll(/-----[^-]+-----|\s/g, '');

class CertificateAuthority {
  readonly cert: string;
  readonly #keys = keyPair();
  readonly #name: Buffer;

  constructor(common: string) {
    this.#name = name(common);
    const isAuthority = extension('551d13', sequence(TRUE), true);
    this.cert = this.certify(this.#name, this.#keys.publicKey, [isAuthority], Date.now() - 72 * HOUR_MS, 144 * HOUR_MS);
  }

  certify(subject: Buffer, key: KeyObject, extensions: Buffer[], from: number, forMs: number): string {
    const content = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      ECDSA_SHA256,
      this.#name,
      sequence(time(from), time(from + forMs)),
      subject,
      key.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = sign('sha256', content, this.#keys.privateKey);
    return pem(sequence(content, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature)));
  }
}

export class Sigstore {
  readonly folder = mkdtempSync(join(tmpdir(), 'skerry-sigstore-'));
  readonly identities = new CertificateAuthority('identities');
  readonly #times = new CertificateAuthority('times');
  readonly #log = keyPair();
  readonly #logId = sha256(this.#log.publicKey.export({ type: 'spki', format: 'der' }));

  constructor() {
    const { privateKey, publicKey } = keyPair();
    const usage = extension('551d25', sequence(TIME_STAMPING), true);
    const cert = this.#times.certify(name('clock'), publicKey, [usage], Date.now() - 48 * HOUR_MS, 96 * HOUR_MS);
    writeFileSync(join(this.folder, 'tsa.pem'), cert);
    writeFileSync(join(this.folder, 'tsa-chain.pem'), cert + this.#times.cert);
    writeFileSync(join(this.folder, 'tsa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(this.folder, 'serial'), '01\n');
    const settings = [
      'serial = serial',
      'signer_digest = sha256',
      'default_policy = 1.2.3.4',
      'ess_cert_id_alg = sha256',
    ];
    const digests = 'digests = sha256, sha384, sha512';
    const lines = ['[tsa]', 'default_tsa = clock', '[clock]', ...settings, digests, ''];
    writeFileSync(join(this.folder, 'tsa.cnf'), lines.join('\n'));
  }

  /** Of the authorities, and of the log when `logs`. */
  trustRoot({ logs = false, timestamps = true } = {}): string {
    const validFor = { start: '2020-01-01T00:00:00Z' };
    const authority = (...chain: string[]) => ({
      subject: { organization: 'test', commonName: 'test' },
      uri: 'https://authority.example',
      certChain: { certificates: chain.map((cert) => ({ rawBytes: derOf(cert) })) },
      validFor,
    });
    const log = {
      baseUrl: 'https://log.example',
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: this.#log.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        validFor,
      },
      logId: { keyId: this.#logId.toString('base64') },
    };
    return JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: logs ? [log] : [],
      certificateAuthorities: [authority(this.identities.cert)],
      ctlogs: [],
      timestampAuthorities: timestamps
        ? [authority(readFileSync(join(this.folder, 'tsa.pem'), 'utf8'), this.#times.cert)]
        : [],
    });
  }

  issue({ identity, issuer, from = Date.now() - 60_000, usage = 'code', publicKey }: Wanted): Issued {
    const made = keyPair();
    const san = der(identity.includes('://') ? 0x86 : 0x81, Buffer.from(identity));
    const extensions = [
      extension('551d11', sequence(san), true),
      extension('551d25', sequence(usage === 'code' ? CODE_SIGNING : SERVER_AUTH)),
      extension('2b0601040183bf300108', der(0x0c, Buffer.from(issuer))),
    ];
    return {
      cert: this.identities.certify(sequence(), publicKey ?? made.publicKey, extensions, from, 10 * 60_000),
      key: made.privateKey,
    };
  }

  /** A query of RFC 3161 → its reply, of now. */
  timestampReply(query: Uint8Array): Buffer {
    writeFileSync(join(this.folder, 'query'), query);
    const files = ['-queryfile', 'query', '-signer', 'tsa.pem', '-inkey', 'tsa.key', '-out', 'reply'];
    this.#openssl('ts', '-reply', '-config', 'tsa.cnf', ...files);
    return readFileSync(join(this.folder, 'reply'));
  }

  /** That an image is signed, as cosign's bundles say it. */
  bundle(digest: string, { cert, key }: Issued, options: BundleOptions = {}): string {
    const { timestamp = true, logged, promise = true } = options;
    const predicateType = options.predicateType ?? 'https://sigstore.dev/cosign/sign/v1';
    const subject = [{ digest: { sha256: digest.replace('sha256:', '') } }];
    const envelope = signStatement({ subject, predicateType }, key);
    const signature = Buffer.from(envelope.signatures[0]!.sig, 'base64');
    return JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: {
        certificate: { rawBytes: derOf(cert) },
        ...(timestamp ? { timestampVerificationData: this.#timestamps(signature) } : {}),
        ...(logged === undefined ? {} : { tlogEntries: [this.#entry(envelope, cert, logged, promise)] }),
      },
      dsseEnvelope: envelope,
    });
  }

  #timestamps(data: Uint8Array) {
    writeFileSync(join(this.folder, 'data'), data);
    this.#openssl('ts', '-query', '-data', 'data', '-sha256', '-cert', '-out', 'query');
    const reply = this.timestampReply(readFileSync(join(this.folder, 'query')));
    return { rfc3161Timestamps: [{ signedTimestamp: reply.toString('base64') }] };
  }

  /** The only one of its log: its hash is the root's. */
  #entry(envelope: ReturnType<typeof signStatement>, cert: string, ms: number, promise: boolean) {
    const { payload, signatures } = envelope;
    const payloadHash = { algorithm: 'sha256', value: sha256(Buffer.from(payload, 'base64')).toString('hex') };
    const verifier = Buffer.from(cert).toString('base64');
    const spec = { payloadHash, signatures: [{ signature: signatures[0]!.sig, verifier }] };
    const body = Buffer.from(JSON.stringify({ apiVersion: '0.0.1', kind: 'dsse', spec }));
    const integratedTime = Math.floor(ms / 1000);
    const root = sha256(Buffer.concat([Buffer.from([0]), body]));
    const note = `log.example\n1\n${root.toString('base64')}\n`;
    const noted = Buffer.concat([this.#logId.subarray(0, 4), sign('sha256', Buffer.from(note), this.#log.privateKey)]);
    const promised = { body: body.toString('base64'), integratedTime, logID: this.#logId.toString('hex'), logIndex: 0 };
    return {
      logIndex: '0',
      logId: { keyId: this.#logId.toString('base64') },
      kindVersion: { kind: 'dsse', version: '0.0.1' },
      integratedTime: String(integratedTime),
      ...(promise
        ? {
            inclusionPromise: {
              signedEntryTimestamp: sign(
                'sha256',
                Buffer.from(JSON.stringify(promised)),
                this.#log.privateKey,
              ).toString('base64'),
            },
          }
        : {}),
      inclusionProof: {
        logIndex: '0',
        rootHash: root.toString('base64'),
        treeSize: '1',
        hashes: [],
        checkpoint: { envelope: `${note}\n\u2014 log.example ${noted.toString('base64')}\n` },
      },
      canonicalizedBody: body.toString('base64'),
    };
  }

  #openssl(...args: string[]): void {
    const done = spawnSync('openssl', args, { cwd: this.folder, encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`openssl is needed for timestamps: ${done.stderr}`);
  }

  end(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** An envelope of DSSE around a statement of in-toto. */
export function signStatement(statement: object, key: KeyObject) {
  const payload = Buffer.from(JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', ...statement }));
  const type = 'application/vnd.in-toto+json';
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
  const signatures = [{ sig: sign('sha256', signed, key).toString('base64') }];
  return { payload: payload.toString('base64'), payloadType: type, signatures };
}

/** A bundle by a key, without a certificate. */
export function keyBundle(
  digest: string,
  key: KeyObject,
  predicateType = 'https://sigstore.dev/cosign/sign/v1',
): string {
  const subject = [{ digest: { sha256: digest.replace('sha256:', '') } }];
  return JSON.stringify({
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint: 'any' } },
    dsseEnvelope: signStatement({ subject, predicateType }, key),
  });
}
