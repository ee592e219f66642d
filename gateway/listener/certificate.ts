/** The gateway's certificate and private key: read, checked, and read again when the files change. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { asSkerryError, type SkerryError } from '../../errors/skerry-error.ts';
import { gatewayErrors } from '../errors.ts';

/** Reads files that this process itself may not be allowed to read. */
export interface FileAccess {
  /** Throws the system's error. */
  read(path: string): Promise<Buffer>;
  /** The same as long as the file is the same one and unchanged; null when it is not there. */
  state(path: string): Promise<string | null>;
}

export const ownFiles: FileAccess = {
  read: (path) => readFile(path),
  async state(path) {
    const found = await stat(path).catch(() => null);
    return found && `${found.dev} ${found.ino} ${found.size} ${found.mtimeMs}`;
  },
};

export interface CertificateFiles {
  /** PEM: the certificate, then its chain. */
  readonly cert: string;
  /** PEM, without a passphrase. */
  readonly key: string;
  /** This process's own when left out. */
  readonly access?: FileAccess;
}

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** When it expires, in milliseconds since 1970. */
  readonly expires: number;
  /** SHA-256 of the certificate, as `openssl x509 -fingerprint` writes it. */
  readonly fingerprint: string;
}

async function read(file: string, access: FileAccess): Promise<Buffer> {
  try {
    return await access.read(file);
  } catch (error) {
    throw gatewayErrors.TLS_UNREADABLE(file, (error as NodeJS.ErrnoException).code ?? String(error)).because(error);
  }
}

/** What OpenSSL says, in its shortest form: `error:1E08010C:DECODER routines::unsupported` → `unsupported`. */
function why(error: unknown): string {
  const { message } = error as Error;
  return message.split(':').pop()?.trim() || message;
}

function parseKey(file: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const encrypted = pem.includes('ENCRYPTED');
    throw gatewayErrors.TLS_INVALID(file, encrypted ? 'the key is encrypted' : why(error)).because(error);
  }
}

function parseCertificate(file: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw gatewayErrors.TLS_INVALID(file, why(error)).because(error);
  }
}

/** Throws TLS_UNREADABLE, TLS_INVALID, TLS_MISMATCH, TLS_EXPIRED. */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  const { access = ownFiles } = files;
  const cert = await read(files.cert, access);
  const key = await read(files.key, access);
  const parsed = parseCertificate(files.cert, cert);
  if (!parsed.checkPrivateKey(parseKey(files.key, key))) throw gatewayErrors.TLS_MISMATCH(files.cert, files.key);
  const expires = Date.parse(parsed.validTo);
  if (expires <= Date.now()) throw gatewayErrors.TLS_EXPIRED(files.cert, parsed.validTo);
  try {
    // The chain behind the certificate, and whether OpenSSL would serve with the two.
    createSecureContext({ cert, key });
  } catch (error) {
    throw gatewayErrors.TLS_INVALID(files.cert, why(error)).because(error);
  }
  return { cert, key, expires, fingerprint: parsed.fingerprint256 };
}

/** How often the files are looked at, in milliseconds. By their names: renewals replace files, links and folders. */
const LOOK_MS = 2000;

export interface ReloadOptions {
  readonly files: CertificateFiles;
  readonly apply: (certificate: Certificate) => void;
  /** The new pair is not usable: the old one goes on. */
  readonly onBad: (error: SkerryError) => void;
  readonly lookMs?: number;
}

/** Follows the two files: a good new pair is applied, a bad one told. */
export class CertificateReload {
  /** Resolves when changes of the files will be seen. */
  readonly ready: Promise<void>;
  readonly #options: ReloadOptions;
  readonly #timer: NodeJS.Timeout;
  #applied: string;
  /** What the files looked like when they were read, and when they were last looked at. */
  #read = '';
  #seen = '';
  #looking: Promise<void>;

  /** `current` is what was read from the files a moment ago. */
  constructor(current: Certificate, options: ReloadOptions) {
    this.#options = options;
    this.#applied = current.fingerprint;
    this.ready = this.#state().then((state) => {
      this.#read = state;
      this.#seen = state;
    });
    this.#looking = this.ready;
    this.#timer = setInterval(() => void this.#queue(() => this.#look()), options.lookMs ?? LOOK_MS).unref();
  }

  /** Reads the files now, whether they look changed or not. */
  reload(): Promise<void> {
    return this.#queue(() => this.#load());
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  #queue(step: () => Promise<void>): Promise<void> {
    this.#looking = this.#looking.then(step);
    return this.#looking;
  }

  /** Two files are not replaced at once: they are read when they have stayed the same from one look to the next. */
  async #look(): Promise<void> {
    const state = await this.#state();
    const settled = state === this.#seen;
    this.#seen = state;
    if (settled && state !== this.#read) await this.#load();
  }

  async #load(): Promise<void> {
    this.#read = await this.#state();
    try {
      const next = await readCertificate(this.#options.files);
      if (next.fingerprint === this.#applied) return;
      this.#options.apply(next);
      this.#applied = next.fingerprint;
    } catch (error) {
      this.#options.onBad(asSkerryError(error));
    }
  }

  async #state(): Promise<string> {
    const { cert, key, access = ownFiles } = this.#options.files;
    const states = await Promise.all([cert, key].map((file) => access.state(file)));
    return states.map((each) => each ?? 'gone').join();
  }
}
