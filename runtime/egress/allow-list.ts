/** Which destinations a workload may reach: nothing but what its list says. */
import { isSpecialAddress } from './address.ts';
import { formatHost, type Host, parseHostAndPort } from './host.ts';
import { isInternalName } from './internal-name.ts';

/** The ports of an entry that names none: http and https. */
const DEFAULT_PORTS: readonly number[] = [80, 443];
/** The same of another workload of the node: http is all that it answers by itself. */
const DEFAULT_PORTS_INSIDE: readonly number[] = [80];

interface AllowEntry {
  readonly host: Host;
  /** `*.example.com`: every name below it, not itself. */
  readonly wildcard: boolean;
  readonly port: number | null;
}

function parseEntry(text: string): AllowEntry | null {
  const wildcard = text.startsWith('*.');
  const parsed = parseHostAndPort(wildcard ? text.slice(2) : text);
  if (!parsed || (wildcard && parsed.host.isAddress)) return null;
  return { ...parsed, wildcard };
}

/**
 * The one way of writing an entry `HOST[:PORT]`; null when it is none. HOST is a name, `*.NAME` for all names below it,
 * an IPv4 address, or an IPv6 address in brackets.
 */
export function canonicalAllowEntry(text: string): string | null {
  const entry = parseEntry(text);
  if (!entry) return null;
  const port = entry.port === null ? '' : `:${entry.port}`;
  return `${entry.wildcard ? '*.' : ''}${formatHost(entry.host)}${port}`;
}

/** The allow-list of one workload: deny by default. */
export class AllowList {
  /** Ports by host name or address; wildcards by the name below which they hold. */
  readonly #exact = new Map<string, Set<number>>();
  readonly #below = new Map<string, Set<number>>();

  /** What is no entry allows nothing. */
  constructor(entries: readonly string[]) {
    for (const text of entries) {
      const entry = parseEntry(text);
      if (!entry) continue;
      const map = entry.wildcard ? this.#below : this.#exact;
      const ports = map.get(entry.host.name) ?? new Set();
      const unsaid = isInternalName(entry.host.name) ? DEFAULT_PORTS_INSIDE : DEFAULT_PORTS;
      for (const port of entry.port === null ? unsaid : [entry.port]) ports.add(port);
      map.set(entry.host.name, ports);
    }
  }

  /** Names and addresses that entries say one by one. */
  get exact(): string[] {
    return [...this.#exact.keys()];
  }

  /** Whether the workload may ask for this host at all, before anything is resolved. */
  permits(host: Host, port: number): boolean {
    return this.#entries(host).some((ports) => ports.has(port));
  }

  /** Whether there is a port at which it may. */
  permitsSome(host: Host): boolean {
    return this.#entries(host).length > 0;
  }

  #entries({ name, isAddress }: Host): ReadonlySet<number>[] {
    const exact = this.#exact.get(name);
    const found = exact ? [exact] : [];
    if (isAddress) return found;
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const domain = name.slice(dot + 1);
      // Other workloads are named as such: `*.internal` is somebody's own domain, and means none of them.
      if (isInternalName(name) && !isInternalName(domain)) break;
      const below = this.#below.get(domain);
      if (below) found.push(below);
    }
    return found;
  }

  /**
   * Whether a connection may go to this address (canonical), to which an allowed name resolved or which was named itself.
   * One that is not on the internet must itself be on the list.
   */
  permitsAddress(address: string, port: number): boolean {
    return !isSpecialAddress(address) || this.#exact.get(address)?.has(port) === true;
  }
}
