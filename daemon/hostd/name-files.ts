/** What a container is told of names, over what its image says: hosts(5) and resolv.conf(5), read-only. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RESOLVER_ADDRESS } from '../../runtime/network/addresses.ts';

/** Names of the files, in the folder that they are written to and in `/etc` inside. */
export const NAME_FILES = ['hosts', 'resolv.conf'] as const;

/** In memory, where it is done sooner than another thread is asked. `hostname`: letters, digits, dots, dashes and underscores. */
export function writeNameFiles(folder: string, hostname: string): void {
  const texts: Record<(typeof NAME_FILES)[number], string> = {
    hosts: `127.0.0.1 localhost\n::1 localhost\n127.0.0.1 ${hostname}\n`,
    // The resolver is the node: one that does not answer within a second has lost the question.
    'resolv.conf': `nameserver ${RESOLVER_ADDRESS}\noptions timeout:1 attempts:5\n`,
  };
  for (const name of NAME_FILES) writeFileSync(join(folder, name), texts[name], { mode: 0o644 });
}
