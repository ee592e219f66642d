// `npm run conformance`: sets up everything and runs suites that others wrote against a node. Each is a folder of
// test/conformance with a main.ts, which ends with another status than 0 when something fails that is not accepted
// there by name. Arguments after `--` are the suites to run; without, all.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root, say, setup } from './setup.mjs';

const folder = join(root, 'test', 'conformance');
const suites = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort();
const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !suites.includes(name));
if (unknown !== undefined) fail(`there is no suite ${unknown}; there are: ${suites.join(', ')} [USAGE]`);

await setup({ development: true });
const failed = (wanted.length > 0 ? wanted : suites).filter((name) => {
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', join(folder, name, 'main.ts')], {
    cwd: root,
    stdio: 'inherit',
  });
  say(`${name}: ${status === 0 ? 'ok' : 'FAILED'}`);
  return status !== 0;
});
process.exit(failed.length === 0 ? 0 : 1);
