/** Pieces of bytes on their way to the main thread. */

export function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}

/** The buffer of a piece that has one to itself: it is handed over and not copied. */
export function ownBuffer(data: Uint8Array | null): ArrayBuffer[] {
  return data && data.byteLength === data.buffer.byteLength ? [data.buffer as ArrayBuffer] : [];
}
