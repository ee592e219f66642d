/** The `skerry` command; `skerry up` goes to the daemon before it gets here. */
import { run } from './run.ts';
import { processTerminal } from './terminal.ts';

// What goes to stdout is for `run` to see to; failures have nowhere else to be told than here.
process.stderr.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 74));

const status = await run(process.argv.slice(2), processTerminal());
// What Ctrl-C or a failure left behind (an open upload, a build that is waited for) must not keep the process.
process.stderr.write('', () => process.exit(status));
