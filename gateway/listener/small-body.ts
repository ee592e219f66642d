/**
 * Up to here, in bytes, head and body go out as one string, which Node writes in one piece: as a buffer the body would
 * be a second piece, which costs about a tenth of a small request.
 */
export const ONE_WRITE_BYTES = 16 * 1024;

/** The bytes as a string of as many characters. */
export function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
