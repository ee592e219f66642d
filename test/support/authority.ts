/** Certificates for tests, made on the spot: an authority, and what it vouches for (RFC 5280, ECDSA over P-256). */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { der, oid, sequence } from './certificates.ts';

const octets = (...content: Uint8Array[]) => der(0x04, ...content);
const TRUE = der(0x01, Buffer.from([0xff]));

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
const extension = (id: string, critical: boolean, value: Uint8Array) =>
  sequence(oid(id), ...(critical ? [TRUE] : []), octets(value));

function name(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));
}

function time(ms: number): Buffer {
  return der(0x17, Buffer.from(`${new Date(ms).toISOString().slice(2, 19).replaceAll(/[-T:]/g, '')}Z`));
}

function subjectAlternative(host: string): Buffer {
  if (isIPv4(host)) return der(0x87, Buffer.from(host.split('.').map(Number)));
  if (isIPv6(host)) throw new Error('not needed yet');
  return der(0x82, Buffer.from(host));
}

const DAY_MS = 24 * 3_600_000;

interface Made {
  readonly key: string;
  readonly cert: string;
}

export interface Authority {
  /** PEM. */
  readonly cert: string;
  /** A certificate for these hosts, valid for a day from `from` on (a time in milliseconds). */
  issue(hosts: readonly string[], from?: number): Made;
}

export function makeAuthority(): Authority {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = name(`test authority ${randomBytes(4).toString('hex')}`);
  const certify = (subject: Buffer, key: KeyObject, extensions: Buffer[], from: number) => {
    const content = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      ECDSA_SHA256,
      issuer,
      sequence(time(from), time(from + DAY_MS)),
      subject,
      key.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = sign('sha256', content, { key: authority.privateKey, dsaEncoding: 'der' });
    const whole = sequence(content, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature));
    const lines = whole.toString('base64').match(/.{1,64}/g) as string[];
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  };
  const isAuthority = extension('551d13', true, sequence(TRUE));
  return {
    cert: certify(issuer, authority.publicKey, [isAuthority], Date.now() - 60_000),
    issue(hosts, from = Date.now() - 60_000) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const names = extension('551d11', false, sequence(...hosts.map(subjectAlternative)));
      return {
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
        cert: certify(name('test'), publicKey, [names], from),
      };
    },
  };
}
