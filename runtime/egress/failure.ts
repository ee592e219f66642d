import type { EgressErrorKind } from './egress.ts';

/** Why a connection or a request failed; becomes `reply.error` at the edge of the client. */
export class EgressFailure extends Error {
  readonly kind: EgressErrorKind;

  constructor(kind: EgressErrorKind, detail: string, cause?: unknown) {
    super(detail, { cause });
    this.name = 'EgressFailure';
    this.kind = kind;
  }
}

/** Errors of the operating system, of OpenSSL as Node tells them, of llhttp and of undici. */
const KINDS: Readonly<Record<string, EgressErrorKind>> = {
  ECONNREFUSED: 'connection-refused',
  ECONNRESET: 'connection-terminated',
  EPIPE: 'connection-terminated',
  ECONNABORTED: 'connection-terminated',
  ETIMEDOUT: 'connection-timeout',
  EHOSTUNREACH: 'destination-unavailable',
  EHOSTDOWN: 'destination-unavailable',
  ENETUNREACH: 'destination-IP-unroutable',
  EADDRNOTAVAIL: 'destination-IP-unroutable',
  EACCES: 'destination-IP-prohibited',
  EPERM: 'destination-IP-prohibited',
  EMFILE: 'connection-limit-reached',
  ENFILE: 'connection-limit-reached',
  EPROTO: 'TLS-protocol-error',
  UND_ERR_SOCKET: 'connection-terminated',
  UND_ERR_INFO: 'connection-terminated',
  UND_ERR_HEADERS_OVERFLOW: 'HTTP-response-header-section-size',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'HTTP-response-incomplete',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'HTTP-request-body-size',
  UND_ERR_INVALID_ARG: 'HTTP-protocol-error',
  UND_ERR_NOT_SUPPORTED: 'HTTP-request-denied',
};

/** What Node says of a certificate that it does not accept (`crypto_common.cc`, X509ErrorCode). */
const CERTIFICATE =
  /^(CERT_|ERR_TLS_CERT_ALTNAME|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED_CERT|UNABLE_TO_(GET|VERIFY|DECRYPT|DECODE)|CRL_|INVALID_(CA|PURPOSE)|PATH_LENGTH_EXCEEDED|HOSTNAME_MISMATCH|ERROR_IN_CERT)/;

function kindOf(code: string): EgressErrorKind | null {
  const known = KINDS[code];
  if (known) return known;
  if (CERTIFICATE.test(code)) return 'TLS-certificate-error';
  if (/^ERR_SSL_.*ALERT/.test(code)) return 'TLS-alert-received';
  if (/^ERR_(SSL|TLS)_/.test(code)) return 'TLS-protocol-error';
  if (/^(HPE_|ERR_HTTP2_)/.test(code)) return 'HTTP-protocol-error';
  return null;
}

/** Any failure of a connection or of the HTTP client as one of ours. */
export function asEgressFailure(error: unknown): EgressFailure {
  if (error instanceof EgressFailure) return error;
  for (let each: unknown = error; each instanceof Error; each = each.cause) {
    if (each instanceof EgressFailure) return each;
    // The one error of undici that need not have a code.
    const unparsable = each.name === 'HTTPParserError';
    const kind = unparsable ? 'HTTP-protocol-error' : kindOf(String((each as NodeJS.ErrnoException).code ?? ''));
    if (kind) return new EgressFailure(kind, describe(each), error);
  }
  return new EgressFailure('internal-error', 'the node could not make the request', error);
}

/** OpenSSL's messages have an address and a source line of its own around what they say. */
function describe(error: Error): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const openssl = /^[0-9A-F]+:error:[^:]*:[^:]*:([^:]+):/.exec(message);
  return openssl ? `${openssl[1]} (${code})` : message.split('\n')[0] || String(code);
}
