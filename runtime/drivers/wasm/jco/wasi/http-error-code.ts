/** `wasi:http/types.error-code`, as jco has it. */
import type { EgressErrorKind } from '../../../../egress/egress.ts';

export type ErrorCode = { readonly tag: string; readonly val?: unknown };

/** Cases with a record in them; that of the others is an option, or there is none. */
const records: Partial<Record<EgressErrorKind, unknown>> = {
  'DNS-error': { rcode: undefined, infoCode: undefined },
  'TLS-alert-received': { alertId: undefined, alertMessage: undefined },
};

/** The case of a kind: they have the same names. */
export function errorCode(kind: EgressErrorKind): ErrorCode {
  return { tag: kind, val: records[kind] };
}
