/** Whom the node trusts to vouch for servers: Node's own list of authorities and the system's. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';

/** Where systems keep all their authorities in one file: Debian and Alpine, Red Hat, SUSE, others. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Files that cannot be read vouch for nobody. */
function certificatesIn(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').match(CERTIFICATE) ?? [];
  } catch {
    return [];
  }
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

export type Trust = () => SecureContext;

/**
 * The system's authorities are those of OpenSSL's own variables SSL_CERT_FILE and SSL_CERT_DIR when one is set, else of
 * the system's bundle; NODE_EXTRA_CA_CERTS adds to them. Read when they are needed first, since that
 * takes long and most nodes never do: what changes later counts when the node starts again.
 */
export function systemTrust(env: Readonly<Record<string, string | undefined>>): Trust {
  let context: SecureContext | null = null;
  return () => {
    context ??= createSecureContext({ ca: authorities(env) });
    return context;
  };
}

function authorities(env: Readonly<Record<string, string | undefined>>): string[] {
  const { SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS } = env;
  const own = [...(SSL_CERT_FILE ? [SSL_CERT_FILE] : []), ...(SSL_CERT_DIR?.split(':').flatMap(filesIn) ?? [])];
  const bundle = SYSTEM_BUNDLES.find((file) => existsSync(file));
  const files = SSL_CERT_FILE || SSL_CERT_DIR ? own : bundle ? [bundle] : [];
  const system = [...files, ...(NODE_EXTRA_CA_CERTS ? [NODE_EXTRA_CA_CERTS] : [])].flatMap(certificatesIn);
  return [...new Set([...rootCertificates, ...system])];
}
