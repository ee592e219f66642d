/** Runs skopeo, with its output, its files and its time bounded, and says what went wrong. */
import { execFile, spawn } from 'node:child_process';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { MAX_DOCUMENT_BYTES } from './documents.ts';
import { ociErrors } from './errors.ts';

export interface SkopeoRun {
  /** `skopeo`, or the path of one. */
  readonly command: string;
  /** What its user calls the image. */
  readonly image: string;
  readonly registry: string;
  /** The longest file that it may write, in bytes. */
  readonly maxFileBytes: number;
  readonly signal: AbortSignal;
}

/** Of what it writes to stderr, the end. */
const KEPT_MESSAGE = 4096;
/** Proxies, and where credentials and certificates are, are for the user of the node to say. */
const passed =
  /^(PATH|HOME|TMPDIR|XDG_RUNTIME_DIR|REGISTRY_AUTH_FILE|DOCKER_CONFIG|SSL_CERT_(FILE|DIR)|(https?|no|all)_proxy)$/i;

/**
 * Resolves with what it wrote to stdout. Throws SKOPEO_MISSING, the errors whose codes begin with REGISTRY,
 * IMAGE_NOT_FOUND, IMAGE_MALFORMED, and what `signal` aborts with.
 */
export function runSkopeo(args: readonly string[], run: SkopeoRun): Promise<Uint8Array> {
  const { command, image, registry, maxFileBytes, signal } = run;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => passed.test(name)));
  // Which signatures an image needs is Skerry's own to say, not that of a policy file for other tools.
  const whole = [`--fsize=${maxFileBytes + MAX_DOCUMENT_BYTES}`, '--', command, '--insecure-policy', ...args];
  return new Promise((resolve, reject) => {
    // A credential helper or a shell around it ends with it.
    const child = spawn('prlimit', whole, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const output: Buffer[] = [];
    let length = 0;
    let message = '';
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has just ended by itself.
      }
    };
    if (signal.aborted) end();
    signal.addEventListener('abort', end);
    child.stdout.on('data', (data: Buffer) => {
      length += data.length;
      if (length > MAX_DOCUMENT_BYTES) end();
      else output.push(data);
    });
    child.stderr.on('data', (data: Buffer) => {
      message = (message + data).slice(-KEPT_MESSAGE);
    });
    child.on('error', (error) => {
      signal.removeEventListener('abort', end);
      reject(ociErrors.SKOPEO_MISSING().because(error));
    });
    child.on('close', (status) => {
      signal.removeEventListener('abort', end);
      if (signal.aborted) reject(signal.reason);
      else if (length > MAX_DOCUMENT_BYTES)
        reject(ociErrors.IMAGE_MALFORMED(image, `its manifest has more than ${MAX_DOCUMENT_BYTES} bytes`));
      else if (status === 0) resolve(Buffer.concat(output));
      else reject(explain(status, message, image, registry));
    });
  });
}

/** Why images cannot be pulled from registries, or null: SKOPEO_MISSING. */
export function pullProblem(command = 'skopeo'): Promise<SkerryError | null> {
  return new Promise((resolve) => {
    execFile(command, ['--version'], { timeout: 5000 }, (error) =>
      resolve(error ? ociErrors.SKOPEO_MISSING().because(error) : null),
    );
  });
}

/** skopeo has one exit status for all its failures; its words are all there is to tell them apart. */
function explain(status: number | null, message: string, image: string, registry: string): SkerryError {
  if (/^prlimit: failed to execute/m.test(message)) return ociErrors.SKOPEO_MISSING().because(new Error(message));
  const why = /level=fatal msg="((?:[^"\\]|\\.)*)"/.exec(message)?.[1]?.replace(/\\(.)/g, '$1') ?? message.trim();
  // The innermost reason stands last, and repeats the name of the image no more.
  const short = why.split(': ').slice(-2).join(': ').slice(0, 300) || `skopeo ended with status ${status}`;
  const error = () => {
    if (/manifest unknown|name unknown|not found/i.test(why)) return ociErrors.IMAGE_NOT_FOUND(image, []);
    if (/unauthorized|denied|authentication required|invalid username/i.test(why))
      return ociErrors.REGISTRY_DENIED(image);
    if (/x509|tls:|gave HTTP response to HTTPS/i.test(why)) return ociErrors.REGISTRY_TLS(registry, short);
    if (/connection refused|no such host|i\/o timeout|unreachable|connection reset|server misbehaving|EOF$/i.test(why))
      return ociErrors.REGISTRY_UNREACHABLE(registry, short);
    return ociErrors.REGISTRY_FAILED(image, short);
  };
  return error().because(new Error(message));
}
