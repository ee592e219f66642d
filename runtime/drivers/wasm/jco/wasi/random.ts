/** wasi:random/*: the system's own randomness for all three, since it costs no more. */
import { randomFillSync } from 'node:crypto';
import { HostTrap } from './failure.ts';

/** Bytes of one call: they are the host's memory until the guest has them. */
const limit = 16 * 1024 * 1024;

function bytes(length: bigint): Uint8Array {
  if (length > BigInt(limit)) throw new HostTrap(`${length} random bytes in one call, and ${limit} are the most`);
  return randomFillSync(new Uint8Array(Number(length)));
}

function number(): bigint {
  return randomFillSync(new BigUint64Array(1))[0]!;
}

export const random = {
  'wasi:random/random': { getRandomBytes: bytes, getRandomU64: number },
  'wasi:random/insecure': { getInsecureRandomBytes: bytes, getInsecureRandomU64: number },
  'wasi:random/insecure-seed': { insecureSeed: () => [number(), number()] },
};
