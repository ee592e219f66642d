/** From a host name to addresses, as this machine sees them. */
import { promises as dns } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { canonicalAddress } from './address.ts';
import { EgressFailure } from './failure.ts';
import { parseHost } from './host.ts';
import { EGRESS_TIMEOUTS } from './limits.ts';

/**
 * The addresses of a name (lower case, ASCII, no dot at the end), in their canonical form, the ones to try first in
 * front; never empty. Rejects with an EgressFailure: DNS-error, DNS-timeout. `signal` ends it.
 */
export type Resolve = (name: string, signal: AbortSignal) => Promise<string[]>;

/** What a name stands for without asking anyone (RFC 6761). */
const LOOPBACK = ['127.0.0.1', '::1'];

export interface ResolverOptions {
  /** hosts(5). */
  readonly hostsFile: string;
  /** `ADDRESS[:PORT]` each; null: those of /etc/resolv.conf. */
  readonly servers: readonly string[] | null;
}

/**
 * The resolver of the node: localhost, then /etc/hosts, then the name servers of /etc/resolv.conf. It asks them itself,
 * and not through getaddrinfo: that blocks a thread of Node's pool for each question, and a function with a slow name
 * server would keep the node from its files. What getaddrinfo adds by plug-ins (mDNS, search domains) is not there.
 */
export function systemResolver({ hostsFile, servers }: ResolverOptions): Resolve {
  return async (name, signal) => {
    if (name === 'localhost' || name.endsWith('.localhost')) return LOOPBACK;
    const listed = addressesInHosts(await readFile(hostsFile, 'utf8').catch(() => ''), name);
    return listed.length > 0 ? listed : ask(name, servers, signal);
  };
}

export const resolveHere: Resolve = systemResolver({ hostsFile: '/etc/hosts', servers: null });

/** What the text of a hosts(5) file says of a name. */
export function addressesInHosts(text: string, name: string): string[] {
  const found = text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const canonical = canonicalAddress(address);
    return canonical && names.some((each) => parseHost(each)?.name === name) ? [canonical] : [];
  });
  return [...new Set(found)];
}

async function ask(name: string, servers: readonly string[] | null, signal: AbortSignal): Promise<string[]> {
  // One for each question: it reads /etc/resolv.conf as it is now, and can be cancelled by itself.
  const resolver = new dns.Resolver({ timeout: EGRESS_TIMEOUTS.dnsQuery, tries: 2 });
  if (servers) resolver.setServers(servers);
  const cancel = () => resolver.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const answers = await Promise.allSettled([resolver.resolve6(name), resolver.resolve4(name)]);
    const [v6, v4] = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : [])) as [
      string[],
      string[],
    ];
    const addresses = interleave(v6, v4).map((address) => canonicalAddress(address) as string);
    if (addresses.length > 0) return addresses;
    throw failureOf(name, answers, signal);
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

/** IPv6 and IPv4 in turn, so that a family that does not work here costs one attempt (RFC 8305, section 4). */
function interleave(first: readonly string[], second: readonly string[]): string[] {
  const length = Math.max(first.length, second.length);
  return Array.from({ length }, (_, i) => [first[i], second[i]])
    .flat()
    .filter((address) => address !== undefined);
}

function failureOf(
  name: string,
  answers: readonly PromiseSettledResult<unknown>[],
  signal: AbortSignal,
): EgressFailure {
  const codes = answers.map((answer) => (answer.status === 'rejected' ? String(answer.reason.code ?? '') : ''));
  if (signal.aborted || codes.includes('ETIMEOUT')) {
    return new EgressFailure('DNS-timeout', `no name server answered for ${name} in time`);
  }
  const refused = codes.find((code) => code !== 'ENOTFOUND' && code !== 'ENODATA' && code !== '');
  if (refused) return new EgressFailure('DNS-error', `the name servers could not resolve ${name} (${refused})`);
  return new EgressFailure('DNS-error', `there is no address for ${name}`);
}
