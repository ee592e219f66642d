/** The `skerry` command; `skerry up` goes to the daemon before it gets here. */
import { run } from './run.ts';
import { processTerminal } from './terminal.ts';

// The reader went away (`skerry logs hello | head`): nobody is left to tell anything.
for (const output of [process.stdout, process.stderr]) {
  output.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 74));
}

const status = await run(process.argv.slice(2), processTerminal());
// What Ctrl-C or a failure left behind (an open upload, a build that is waited for) must not keep the process.
process.stdout.write('', () => process.stderr.write('', () => process.exit(status)));
