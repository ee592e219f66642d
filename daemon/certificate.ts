/** The certificates of the node's listeners: read at the start, and followed while it runs. */
import {
  type Certificate,
  type CertificateFiles,
  CertificateReload,
  type FileAccess,
  readCertificate,
} from '../gateway/listener/certificate.ts';
import type { Logger } from './log.ts';
import type { Undo } from './undo.ts';

export interface ListenerCertificate {
  readonly files: CertificateFiles;
  readonly current: Certificate;
}

/** Null when there is none. Throws TLS_UNREADABLE, TLS_INVALID, TLS_MISMATCH, TLS_EXPIRED. */
export async function certificateOf(
  cert: string | undefined,
  key: string | undefined,
  access: FileAccess,
): Promise<ListenerCertificate | null> {
  if (cert === undefined || key === undefined) return null;
  const files = { cert, key, access };
  return { files, current: await readCertificate(files) };
}

export function followCertificate(
  what: string,
  { files, current }: ListenerCertificate,
  listener: { setCertificate(certificate: Certificate): void },
  log: Logger,
  undo: Undo,
): CertificateReload {
  const expires = (certificate: Certificate) => new Date(certificate.expires).toISOString();
  const reload = new CertificateReload(current, {
    files,
    apply: (next) => {
      listener.setCertificate(next);
      log.info({ certificate: files.cert, expires: expires(next) }, `the ${what} has a new certificate`);
    },
    onBad: (error) => log.error({ err: error }, 'the new certificate is not usable; the one before goes on'),
  });
  undo.add(() => reload.close());
  log.info({ certificate: files.cert, expires: expires(current) }, `the ${what} speaks TLS`);
  return reload;
}
