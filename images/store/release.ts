/**
 * Gives back the memory of bytes that nobody needs any more. The garbage collector would, but it lets some 64 MiB of them
 * gather first, which is more than a node may take for all the pushes that it receives at once.
 */
const { port1: nowhere, port2 } = new MessageChannel();
nowhere.close();
port2.close();

/** Afterwards the piece is empty. Bytes that share their memory with others are left to the collector. */
export function release(piece: Uint8Array): void {
  const { buffer } = piece;
  // What is sent away leaves this side, and at a closed port nobody takes it.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === piece.byteLength) nowhere.postMessage(null, [buffer]);
}
