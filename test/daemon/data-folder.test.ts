import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openDataFolder } from '../../daemon/data-folder.ts';
import type { SkerryError } from '../../errors/skerry-error.ts';
import { bundleChild } from '../support/powercut/run-child.ts';

interface Context {
  scratch: string;
  script: string;
  folder: string;
  /** Starts another node over the folder; resolves with it and the line it says: `held KEY`, or an error. */
  start: (options?: {
    folder?: string;
    user?: number;
    before?: string[];
  }) => Promise<{ node: ChildProcess; line: string }>;
}

const dataFolder = suite<Context>('data folder');
const children: ChildProcess[] = [];

dataFolder.before(async (context) => {
  context.scratch = mkdtempSync(join(tmpdir(), 'skerry-data-'));
  chmodSync(context.scratch, 0o755);
  context.script = await bundleChild(context.scratch, 'holding-child');
});
let count = 0;
dataFolder.before.each((context) => {
  context.folder = join(context.scratch, `data-${count++}`);
  context.start = async ({ folder = context.folder, user, before = [] } = {}) => {
    const command = [
      ...before,
      process.execPath,
      context.script,
      folder,
      ...(user === undefined ? [] : [String(user)]),
    ];
    const node = spawn(command[0]!, command.slice(1), {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH },
    });
    children.push(node);
    const [data] = await once(node.stdout!, 'data');
    return { node, line: String(data).trim() };
  };
});
dataFolder.after.each(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
dataFolder.after(({ scratch }) => rmSync(scratch, { recursive: true, force: true }));

async function errorOf(folder: string): Promise<SkerryError> {
  try {
    await (await openDataFolder(folder)).close();
  } catch (error) {
    return error as SkerryError;
  }
  throw new Error('there was no error');
}

dataFolder('it is made for its owner alone, with a key, a version and the process to signal', async ({ folder }) => {
  const data = await openDataFolder(join(folder, 'not', 'there', 'yet'));
  assert.is(statSync(data.path).mode & 0o777, 0o700);
  assert.is(data.nodeKey.length, 32);
  for (const file of ['node.key', 'version', 'skerry.pid'])
    assert.is(statSync(join(data.path, file)).mode & 0o777, 0o600, file);
  assert.is(readFileSync(join(data.path, 'skerry.pid'), 'utf8'), `${process.pid}\n`);
  await data.close();
  await data.close();
  assert.is(existsSync(join(data.path, 'skerry.pid')), false);
});

dataFolder('of a start that failed nothing is left but what was there before', async ({ folder }) => {
  mkdirSync(folder);
  const data = await openDataFolder(join(folder, 'not', 'there', 'yet'));
  mkdirSync(join(data.path, 'state'));
  writeFileSync(join(data.path, 'state', 'data'), 'x');
  await data.discard();
  assert.equal(readdirSync(folder), []);
  const other = await openDataFolder(join(folder, 'not', 'there', 'yet'));
  writeFileSync(join(folder, 'not', 'mine'), 'x');
  await other.discard();
  assert.equal(readdirSync(join(folder, 'not')), ['mine'], 'what somebody else has put there stays');
  await (await openDataFolder(join(folder, 'known'))).close();
  await (await openDataFolder(join(folder, 'known'))).discard();
  assert.ok(existsSync(join(folder, 'known', 'node.key')), 'a folder that was there is kept');
});

dataFolder('the key stays the same from start to start, and is another one in another folder', async ({ folder }) => {
  const keys: string[] = [];
  for (const path of [folder, folder, `${folder}-other`]) {
    const data = await openDataFolder(path);
    keys.push(Buffer.from(data.nodeKey).toString('hex'));
    await data.close();
  }
  assert.is(keys[0], keys[1]);
  assert.is.not(keys[0], keys[2]);
});

dataFolder('an existing folder that others could read is closed to them', async ({ folder }) => {
  mkdirSync(folder, { mode: 0o755 });
  const data = await openDataFolder(folder);
  assert.is(statSync(folder).mode & 0o777, 0o700);
  await data.close();
});

dataFolder('an open folder that holds other things is refused and left as it is', async ({ folder }) => {
  mkdirSync(folder, { mode: 0o755 });
  writeFileSync(join(folder, 'letter.txt'), 'not ours');
  assert.is((await errorOf(folder)).code, 'DATA_OPEN_TO_OTHERS');
  assert.is(statSync(folder).mode & 0o777, 0o755);
});

dataFolder('a place where no folder can be made is refused', async () => {
  assert.is((await errorOf('/proc/skerry/data')).code, 'DATA_NOT_WRITABLE');
});

dataFolder('a folder in use by another node is refused, with its process id', async ({ folder, start }) => {
  const { node, line } = await start();
  assert.match(line, /^held /);
  const link = `${folder}-link`;
  symlinkSync(folder, link);
  for (const path of [folder, link, `${folder}/.`]) {
    const error = await errorOf(path);
    assert.is(error.code, 'DATA_IN_USE');
    assert.match(error.what, `(process ${node.pid})`);
  }
  assert.is(readFileSync(join(folder, 'skerry.pid'), 'utf8'), `${node.pid}\n`);
  node.stdin!.end();
  await once(node, 'exit');
  await (await openDataFolder(folder)).close();
});

dataFolder('after a SIGKILL the next start works at once, whatever the pid file says', async ({ folder, start }) => {
  const first = await start();
  first.node.kill('SIGKILL');
  await once(first.node, 'exit');
  // A process that runs and is no node.
  writeFileSync(join(folder, 'skerry.pid'), `${process.ppid}\n`);
  const second = await start();
  assert.is(second.line, first.line);
  assert.is(readFileSync(join(folder, 'skerry.pid'), 'utf8'), `${second.node.pid}\n`);
});

dataFolder('of many nodes that start at once over a crashed one, exactly one gets it', async ({ start }) => {
  const crashed = await start();
  crashed.node.kill('SIGKILL');
  await once(crashed.node, 'exit');
  const lines = (await Promise.all(Array.from({ length: 6 }, () => start()))).map(({ line }) => line.split(' ')[0]);
  assert.equal(lines.sort(), [...Array(5).fill('DATA_IN_USE'), 'held']);
});

dataFolder('a folder with a very long name works', async ({ folder }) => {
  const data = await openDataFolder(join(folder, 'x'.repeat(200)));
  assert.is((await errorOf(data.path)).code, 'DATA_IN_USE');
  await data.close();
});

dataFolder('a folder from a newer version is refused with both versions', async ({ folder }) => {
  mkdirSync(folder);
  writeFileSync(join(folder, 'version'), '7\n');
  const error = await errorOf(folder);
  assert.is(error.code, 'DATA_NEWER');
  assert.match(error.what, 'version 7; this one knows up to 1');
});

dataFolder('a damaged key or version is reported, and not replaced', async ({ folder }) => {
  await (await openDataFolder(folder)).close();
  for (const [file, content] of [
    ['node.key', 'short'],
    ['version', ''],
    ['version', 'one\n'],
  ] as const) {
    const before = readFileSync(join(folder, file));
    writeFileSync(join(folder, file), content);
    const error = await errorOf(folder);
    assert.is(error.code, 'DATA_DAMAGED');
    assert.match(error.what, join(folder, file));
    assert.is(readFileSync(join(folder, file), 'utf8'), content);
    writeFileSync(join(folder, file), before);
  }
  await (await openDataFolder(folder)).close();
});

dataFolder('a file in its place, or on the way to it, is reported', async ({ folder }) => {
  writeFileSync(folder, '');
  for (const path of [folder, join(folder, 'below')]) assert.is((await errorOf(path)).code, 'DATA_NOT_A_FOLDER');
});

const asRoot: Record<string, (context: Context) => Promise<void>> = {
  'a folder of another user is refused': async ({ folder }) => {
    mkdirSync(folder);
    chownSync(folder, 65534, 65534);
    const error = await errorOf(folder);
    assert.is(error.code, 'DATA_NOT_OURS');
    assert.match(error.what, 'belongs to user 65534, and the node runs as user 0');
  },
  'a folder that cannot be made or written is refused with its path': async ({ folder, start }) => {
    mkdirSync(folder, { mode: 0o755 });
    const { line } = await start({ folder: join(folder, 'new'), user: 65534 });
    assert.match(line, `DATA_NOT_WRITABLE the data folder ${join(folder, 'new')} cannot be written (EACCES)`);
  },
  'a folder on a read-only disk is refused': async ({ folder, start }) => {
    mkdirSync(folder);
    const mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"';
    const before = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', mount, folder];
    assert.match((await start({ before })).line, /^DATA_NOT_WRITABLE .*\(EROFS\)$/);
  },
  'a folder in use is refused from another network namespace too': async ({ folder, start }) => {
    const holder = await start();
    const other = await start({ before: ['unshare', '-n'] });
    assert.is(
      other.line,
      `DATA_IN_USE the data folder ${folder} is in use by another node (process ${holder.node.pid})`,
    );
  },
};
for (const [promise, body] of Object.entries(asRoot)) {
  if (process.getuid!() === 0) dataFolder(promise, body);
  else {
    console.log(`skipped: ${promise}, since the test needs root`);
    dataFolder.skip(promise, () => {});
  }
}

dataFolder.run();
