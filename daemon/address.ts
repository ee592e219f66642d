import { isIPv4 } from 'node:net';
import { parseAddress } from './config-schema.ts';
import { daemonErrors } from './errors.ts';

export { parseAddress };

/** A name that only looks like 127.0.0.0/8 may be anywhere. @param address HOST:PORT */
export function isLoopback(address: string): boolean {
  const { host } = parseAddress(address) as { host: string };
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** Throws PORT_IN_USE, CANNOT_LISTEN. */
export async function orListenError<T>(what: string, address: string, listening: Promise<T>): Promise<T> {
  try {
    return await listening;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    if (code === 'EADDRINUSE') throw daemonErrors.PORT_IN_USE(what, address);
    throw daemonErrors.CANNOT_LISTEN(what, address, code).because(error);
  }
}
