import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { AdminClient, AdminTarget } from '../gateway/admin/client.ts';
import type { Terminal } from './terminal.ts';

export interface ConnectionFlags {
  readonly data?: string;
  readonly node?: string;
}

/** `--data`, SKERRY_DATA, else root's or the user's own place (design.md, Contract: Where). */
export function dataFolder(flags: ConnectionFlags, env: Terminal['env']): string {
  const said = flags.data ?? env.SKERRY_DATA;
  if (said) return said;
  return process.getuid?.() === 0 ? '/var/lib/skerry' : join(env.HOME || homedir(), '.local/share/skerry');
}

/** What is said on the command line goes before what the environment says; a URL before a folder. */
export function adminTarget(flags: ConnectionFlags, env: Terminal['env']): AdminTarget {
  const url = flags.node ?? (flags.data === undefined ? env.SKERRY_NODE : undefined);
  if (url) return { url, token: env.SKERRY_ADMIN_TOKEN || undefined };
  return { socket: join(resolve(dataFolder(flags, env)), 'skerry.sock') };
}

/** A client for the node that the flags and the environment name. */
export async function connect(flags: ConnectionFlags, env: Terminal['env']): Promise<AdminClient> {
  const { AdminClient } = await import('../gateway/admin/client.ts');
  return new AdminClient(adminTarget(flags, env));
}
