/** Host names and addresses as they stand in the authority of a URL and on an allow-list. */
import { domainToASCII } from 'node:url';
import { canonicalAddress } from './address.ts';

export interface Host {
  /** A name in lower case and ASCII without a dot at its end, or an address in its canonical form without brackets. */
  readonly name: string;
  readonly isAddress: boolean;
}

export interface HostAndPort {
  readonly host: Host;
  /** Null when none is given. */
  readonly port: number | null;
}

/** A name in the DNS, with the underscores that some records have (RFC 1123, RFC 2181). */
const NAME = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** What resolvers take for an IPv4 address: 127.1, 0x7f000001. */
const NUMERIC = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;
const AUTHORITY = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{1,5}))?$/;

/** Null for what is neither a host name nor an address. */
export function parseHost(text: string): Host | null {
  if (text.startsWith('[')) {
    const address = text.endsWith(']') ? canonicalAddress(text.slice(1, -1)) : null;
    return address?.includes(':') ? { name: address, isAddress: true } : null;
  }
  const address = canonicalAddress(text);
  if (address) return address.includes(':') ? null : { name: address, isAddress: true };
  // Percent-encoding and the like would be decoded by `domainToASCII`: a name has none of it.
  if (/[\s%/?#@\\:<>^|]/.test(text)) return null;
  const name = domainToASCII(text.replace(/\.$/, '')).toLowerCase();
  return NAME.test(name) && !NUMERIC.test(name) ? { name, isAddress: false } : null;
}

/** `HOST[:PORT]`; null when it is none. */
export function parseHostAndPort(text: string): HostAndPort | null {
  const match = AUTHORITY.exec(text);
  const host = match && parseHost(match[1] as string);
  if (!host) return null;
  if (match[2] === undefined) return { host, port: null };
  const port = Number(match[2]);
  return port >= 1 && port <= 65535 ? { host, port } : null;
}

/** An authority without the name and password that may stand before its `@`: for logs. */
export function withoutUserinfo(authority: string): string {
  return authority.replace(/^.*@/s, '…@');
}

/** As it stands in a URL: an IPv6 address in brackets. */
export function formatHost(host: Host): string {
  return host.isAddress && host.name.includes(':') ? `[${host.name}]` : host.name;
}
