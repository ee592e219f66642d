/** Addresses in the network of a workload that are the node's: TCP to them is steered to it (`native/host/steering.ts`). */

/** Where its resolver is asked, over UDP and TCP. */
export const RESOLVER_ADDRESS = '127.64.0.53';
export const RESOLVER_PORT = 53;

/** What stands in a network for the node, and for names. */
export interface NetworkAddresses {
  /** Where its resolver is asked. */
  readonly resolver: string;
  /** IPv4 addresses that stand for names, from the first on. */
  readonly names: { readonly first: number; readonly count: number };
}

/** In a network that is a loopback alone: names stand for 127.65.0.0 to 127.127.255.255. */
export const LOOPBACK_ADDRESSES: NetworkAddresses = {
  resolver: RESOLVER_ADDRESS,
  names: { first: 0x7f41_0000, count: 0x003f_0000 },
};

function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
function hashOf(name: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

/**
 * Addresses of names, one each, made from the name: the next run of the node finds the same, so that what a workload
 * remembers of an earlier answer goes on to mean what it meant.
 */
export class NamedAddresses {
  readonly #range: NetworkAddresses['names'];
  readonly #most: number;
  readonly #addresses = new Map<string, string>();
  readonly #names = new Map<string, string>();
  /** Of names that may make room for others, by name: when one was asked for last, in milliseconds. */
  readonly #lastAsked = new Map<string, number>();
  readonly #keepMs: number;

  /** @param most names that are not kept for good  @param keepMs how long one of them is kept after it was asked for  @param range of the addresses */
  constructor(most: number, keepMs: number, range = LOOPBACK_ADDRESSES.names) {
    this.#range = range;
    this.#most = most;
    this.#keepMs = keepMs;
  }

  /** The address of a name from now on. */
  keep(name: string): string {
    this.#lastAsked.delete(name);
    return this.#addresses.get(name) ?? this.#give(name);
  }

  /** The address of a name for a while; null when there are too many. */
  lend(name: string, now: number): string | null {
    const found = this.#addresses.get(name);
    if (found !== undefined && !this.#lastAsked.has(name)) return found;
    if (found === undefined && this.#lastAsked.size >= this.#most && !this.#makeRoom(now)) return null;
    // The one that was asked for last stands last.
    this.#lastAsked.delete(name);
    this.#lastAsked.set(name, now);
    return found ?? this.#give(name);
  }

  nameOf(address: string): string | undefined {
    return this.#names.get(address);
  }

  /** Whether an address could stand for a name. */
  covers(address: string): boolean {
    const { first, count } = this.#range;
    const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    return number >= first && number < first + count;
  }

  #give(name: string): string {
    const { first, count } = this.#range;
    for (let at = hashOf(name) % count; ; at = (at + 1) % count) {
      const address = textOf(first + at);
      if (this.#names.has(address)) continue;
      this.#names.set(address, name);
      this.#addresses.set(name, address);
      return address;
    }
  }

  #makeRoom(now: number): boolean {
    const [oldest] = this.#lastAsked;
    if (oldest === undefined || now - oldest[1] < this.#keepMs) return false;
    const [name] = oldest;
    this.#lastAsked.delete(name);
    this.#names.delete(this.#addresses.get(name) as string);
    this.#addresses.delete(name);
    return true;
  }
}
