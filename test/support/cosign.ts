/** The real cosign, with a home of its own; it signs offline: its certificates and timestamps come from a server here. */
import { execFile } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Client } from './own-registry.ts';
import { clientPath, whyNoClient } from './registry-clients.ts';
import type { Sigstore } from './sigstore.ts';

/** Why it cannot be used, or null. */
export function whyNoCosign(): string | null {
  const why = whyNoClient('cosign');
  return why && `${why} (go install github.com/sigstore/cosign/v3/cmd/cosign@latest)`;
}

export const PASSWORD = 'a password';

export class Cosign {
  readonly folder = mkdtempSync(join(tmpdir(), 'skerry-cosign-'));
  #services: Server | null = null;

  file(name: string): string {
    return join(this.folder, name);
  }

  /** Throws with what it said when it fails. */
  async run(...args: string[]): Promise<string> {
    const env = {
      ...process.env,
      PATH: clientPath,
      HOME: this.folder,
      DOCKER_CONFIG: this.folder,
      COSIGN_PASSWORD: PASSWORD,
    };
    return (await promisify(execFile)('cosign', args, { env, cwd: this.folder, timeout: 60_000 })).stdout;
  }

  /** Makes `cosign.key` and `cosign.pub`. */
  async makeKeys(): Promise<void> {
    await this.run('generate-key-pair');
  }

  async login(host: string, { name, token }: Pick<Client, 'name' | 'token'>): Promise<void> {
    await this.run('login', host, '-u', name, '-p', token);
  }

  /** `form`: the one of version 3, or the one before. */
  async signByKey(image: string, form: 'bundle' | 'simple'): Promise<void> {
    const offline = ['--use-signing-config=false', '--tlog-upload=false', `--new-bundle-format=${form === 'bundle'}`];
    await this.run('sign', '--key', 'cosign.key', ...offline, '--allow-http-registry', '-y', image);
  }

  /** Attaches a signed statement of this type. */
  async attest(image: string, type: string, predicate: string): Promise<void> {
    writeFileSync(this.file('predicate.json'), predicate);
    const offline = ['--use-signing-config=false', '--tlog-upload=false', '--allow-http-registry', '-y'];
    await this.run('attest', '--key', 'cosign.key', '--type', type, '--predicate', 'predicate.json', ...offline, image);
  }

  /** As who has logged in as `identity` at `issuer`: with a certificate of a moment's. */
  async signByIdentity(image: string, sigstore: Sigstore, who: { identity: string; issuer: string }): Promise<void> {
    const url = await this.#serve(sigstore, who);
    const service = (at: string) => `url=${at},api-version=1,start-time=2020-01-01T00:00:00Z,operator=test`;
    writeFileSync(this.file('trusted_root.json'), sigstore.trustRoot());
    const services = [`--fulcio=${service(url)}`, `--tsa=${service(`${url}/timestamp`)}`, '--tsa-config=EXACT:1'];
    await this.run('signing-config', 'create', ...services, '--out', 'signing.json');
    const config = ['--signing-config', 'signing.json', '--trusted-root', 'trusted_root.json'];
    await this.run('sign', '--identity-token', identityToken(who), ...config, '--allow-http-registry', '-y', image);
  }

  /** Throws unless it is signed by `cosign.pub`. */
  verifyByKey(image: string): Promise<string> {
    return this.run('verify', '--key', 'cosign.pub', '--insecure-ignore-tlog', '--allow-http-registry', image);
  }

  async #serve(sigstore: Sigstore, who: { identity: string; issuer: string }): Promise<string> {
    const server = createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece);
      const body = Buffer.concat(pieces);
      if (request.url === '/timestamp') {
        response.setHeader('content-type', 'application/timestamp-reply');
        return response.end(sigstore.timestampReply(body));
      }
      const publicKey = createPublicKey(JSON.parse(body.toString()).publicKeyRequest.publicKey.content);
      const certificates = [sigstore.issue({ ...who, publicKey }).cert, sigstore.identities.cert];
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ signedCertificateEmbeddedSct: { chain: { certificates } } }));
    });
    this.#services = server;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  }

  end(): void {
    this.#services?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Its signature is nobody's: the authority here does not look. */
function identityToken({ identity, issuer }: { identity: string; issuer: string }): string {
  const now = Math.floor(Date.now() / 1000);
  const head = { alg: 'RS256', kid: 'test', typ: 'JWT' };
  const times = { iat: now, exp: now + 600 };
  const claims = { iss: issuer, sub: 'test', aud: 'sigstore', email: identity, email_verified: true, ...times };
  const parts = [head, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  return [...parts, Buffer.alloc(256, 1).toString('base64url')].join('.');
}
