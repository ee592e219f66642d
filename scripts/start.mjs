// `npm start`: sets up what is missing, starts a node in the foreground and deploys examples/hello.
// Arguments after `--` go to `skerry up`.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root, say, setup } from './setup.mjs';

await setup();

const skerry = join(root, 'bin', 'skerry.js');
const node = spawn(process.execPath, [skerry, 'up', ...process.argv.slice(2)], {
  cwd: process.env.INIT_CWD ?? root,
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
});
// On a terminal Ctrl-C reaches both processes: the node decides when it is over.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    if (!process.stdin.isTTY || signal === 'SIGTERM') node.kill(signal);
  });
}
node.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)));

node.once('message', ({ gateway, data }) => {
  const args = ['deploy', join('examples', 'hello'), '--data', data];
  const deploy = spawn(process.execPath, [skerry, ...args], { cwd: root, stdio: ['ignore', 2, 2] });
  deploy.on('exit', (code) => {
    if (code === 0) say(`hello is deployed: curl ${gateway}/hello`);
    else say('examples/hello could not be deployed; the node runs all the same');
    say('deploy your own: npx skerry deploy FILE.ts (npx skerry --help lists the rest); Ctrl-C stops the node');
  });
});
