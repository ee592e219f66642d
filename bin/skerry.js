#!/usr/bin/env node
// `skerry up` is the node itself, in this process so that signals reach it; so is `examine`, which `skerry doctor` calls
// where no node runs. Everything else is the command line.
import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const args = process.argv.slice(2);

/** The place of the command word: behind options that stand before it, two of which take a value. */
function commandIndex() {
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--data' || args[i] === '--node') i++;
    else if (!args[i].startsWith('-')) return i;
  }
  return -1;
}

const at = commandIndex();
const isDaemon = /^(up|examine)$/.test(args[at] ?? '') && !args.includes('--help') && !args.includes('-h');
const entry = fileURLToPath(new URL(`../dist/${isDaemon ? 'daemon' : 'cli'}.js`, import.meta.url));
if (!existsSync(entry)) {
  process.stderr.write(
    'skerry is not set up yet: its dist folder is missing; run `npm start`, or `node scripts/setup.mjs` to set it up only [NOT_SET_UP]\n',
  );
  process.exit(1);
}
// The daemon finds its flags behind the command.
if (isDaemon) process.argv.splice(2, args.length, args[at], ...args.slice(0, at), ...args.slice(at + 1));
await import(pathToFileURL(entry).href);
