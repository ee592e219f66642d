/**
 * The heads by which two nodes agree on a delta. Whoever wants one lists blobs that he has (`Skerry-Bases`), beside `dcz` among
 * the codings that he takes (Accept-Encoding); what a registry does not know of it passes it over, and sends the whole blob.
 * A registry says in its answer to the beginning of an upload that it takes `dcz` (RFC 7694), and which of the bases it has.
 */
import { isDigest } from '../store/index.ts';

/** https://www.rfc-editor.org/rfc/rfc9842#name-dictionary-compressed-zstan */
export const DELTA_CODING = 'dcz';
/** Digests with commas between, the best one first. */
export const BASES_HEADER = 'skerry-bases';
/** The one that the registry has. */
export const BASE_HEADER = 'skerry-base';
/** How long the blob is that a delta stands for, in bytes. */
export const SIZE_HEADER = 'skerry-blob-size';

/** So many are listed, and looked at. */
export const MAX_BASES = 16;

export function listBases(bases: readonly string[]): string {
  return bases.slice(0, MAX_BASES).join(', ');
}

/** What is no digest is passed over. */
export function parseBases(header: string | undefined): string[] {
  const parts = (header ?? '').split(',', MAX_BASES).map((part) => part.trim());
  return parts.filter((part) => isDigest(part) && part.startsWith('sha256:'));
}

/** Whether a list of codings (Accept-Encoding) has it. */
export function acceptsDelta(header: string | null | undefined): boolean {
  return (header ?? '').split(',').some((part) => /^dcz\s*(?:;\s*q=(?!0(?:\.0*)?\s*$)|$)/i.test(part.trim()));
}

/** Whether a body is one (Content-Encoding). */
export function isDelta(header: string | null | undefined): boolean {
  return header?.trim().toLowerCase() === DELTA_CODING;
}
