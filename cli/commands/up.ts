import { cliErrors } from '../errors.ts';

/** `bin/skerry.js` hands `up` to the daemon; the command's own code has no way to it. */
export async function up(): Promise<void> {
  throw cliErrors.USAGE('up is started by bin/skerry.js', 'run `skerry up`');
}
