/** A node that root starts: two processes, of which the one that serves has no rights. Looked at from outside. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { whyNotSplit } from '../../../daemon/hostd/split.ts';
import { projectRoot } from '../../../errors/project-root.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { ask, discard, type ProcessNode, spawnNode, startProcess, temporaryFolder } from '../../support/test-node.ts';
import { testUnless } from '../../support/test-unless.ts';

const why = whyNotSplit();
const split = suite('root and the node');
const test = (what: string, work: () => Promise<void>) => testUnless(split, why && `this is ${why}`, what, work);

/** Fields of /proc/PID/status. */
function status(pid: number, task = pid): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8').trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(':\t', 2)));
}

async function pidOf(node: ProcessNode): Promise<number> {
  return (await node.admin.call('GET', '/v1/node')).json().pid;
}

async function withNode(options: Parameters<typeof startProcess>[0], work: (node: ProcessNode) => Promise<void>) {
  const node = await startProcess(options);
  try {
    await work(node);
  } finally {
    await discard(node);
  }
}

const NONE = '0'.repeat(16);

test('what serves is a user of its own without a capability, in each of its threads; hostd alone is root', () =>
  withNode({ args: ['--engine', 'auto'] }, async (node) => {
    await node.admin.deploy('fn');
    assert.is((await ask(node.url, { path: '/fn/hello' })).body.toString(), 'hello');
    const pid = await pidOf(node);
    assert.is.not(pid, node.child.pid);
    const user = status(pid).Uid!.split('\t')[0]!;
    assert.ok(Number(user) > 0x7000_0000, `user ${user}`);
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const thread = status(pid, Number(task));
      assert.is(thread.Uid, [user, user, user, user].join('\t'));
      assert.is(thread.Gid, [user, user, user, user].join('\t'));
      assert.is(thread.Groups!.trim(), '');
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.is(thread[set], NONE, set);
      assert.is(thread.NoNewPrivs, '1');
    }
    assert.is(status(node.child.pid!).Uid!.split('\t')[1], '0');
  }));

test('what the node keeps is its own user and closed to others; what containers stand on is not its to move', () =>
  withNode({}, async (node) => {
    const user = Number(status(await pidOf(node)).Uid!.split('\t')[0]);
    const top = statSync(node.data);
    assert.equal([top.uid, top.gid, top.mode & 0o7777], [0, user, 0o1770]);
    for (const name of readdirSync(node.data)) {
      const found = statSync(join(node.data, name));
      assert.is(found.uid, ['builds', 'layers', 'machines', 'volumes'].includes(name) ? 0 : user, name);
    }
    assert.is(statSync(join(node.data, 'layers')).mode & 0o777, 0o700);
    assert.is(statSync(node.admin.socket).mode & 0o777, 0o600);
    const rename = spawn('setpriv', [
      ...[`--reuid=${user}`, `--regid=${user}`, '--clear-groups', '--'],
      ...['mv', join(node.data, 'layers'), join(node.data, 'mine')],
    ]);
    assert.is.not(await new Promise((resolve) => rename.once('exit', resolve)), 0);
    assert.ok(existsSync(join(node.data, 'layers')));
  }));

test('a folder of data from a node that was root as a whole is given over, with all it holds', async () => {
  const data = temporaryFolder();
  const first = await startProcess({ data });
  await first.admin.deploy('fn');
  const user = Number(status(await pidOf(first)).Uid!.split('\t')[0]);
  first.child.kill('SIGTERM');
  await first.ended;
  // As it was: all root's, closed to others.
  await new Promise((resolve) => spawn('chown', ['-R', '0:0', data]).once('exit', resolve));
  chmodSync(data, 0o700);
  await withNode({ data }, async (node) => {
    assert.is((await ask(node.url, { path: '/fn/hello' })).body.toString(), 'hello');
    assert.is(statSync(join(data, 'state')).uid, user);
  });
});

test("a folder with somebody's things in it is not taken for one of data", async () => {
  const data = temporaryFolder();
  mkdirSync(join(data, '.ssh'));
  const attempt = await spawnNode({ data });
  assert.is(await attempt.ended, 1);
  assert.match(attempt.output(), /DATA_OTHERS_IN_IT/);
  assert.is(statSync(data).uid, 0);
  assert.equal(readdirSync(data), ['.ssh']);
  rmSync(data, { recursive: true });
});

test('a port of root and a key that only root can read are used; the key is read again when it changes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-tls-'));
  const put = (name: string) => {
    const { cert, key } = makeCertificate({ name });
    writeFileSync(join(folder, 'key.pem'), key, { mode: 0o600 });
    writeFileSync(join(folder, 'cert.pem'), cert, { mode: 0o600 });
  };
  const seen = (url: string) =>
    new Promise<string>((resolve, reject) => {
      const outgoing = request(`${url}/_skerry/healthz`, { rejectUnauthorized: false, agent: false }, (answer) => {
        const { subject } = (answer.socket as import('node:tls').TLSSocket).getPeerCertificate();
        answer.resume();
        resolve(String(subject.CN));
      });
      outgoing.on('error', reject).end();
    });
  put('first');
  const tls = ['--tls-cert', join(folder, 'cert.pem'), '--tls-key', join(folder, 'key.pem')];
  await withNode({ args: ['--listen', '127.0.113.1:443', ...tls] }, async (node) => {
    assert.is(node.url, 'https://127.0.113.1:443');
    assert.is(await seen(node.url), 'first');
    put('second');
    node.child.kill('SIGHUP');
    for (let tries = 0; (await seen(node.url)) !== 'second'; tries++) {
      assert.ok(tries < 200, 'the new certificate is served');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  rmSync(folder, { recursive: true });
});

test('an installation in a folder that is closed to others serves all the same', async () => {
  const closed = mkdtempSync(join(tmpdir(), 'skerry-closed-'));
  const inside = join(closed, 'deep', 'skerry');
  mkdirSync(inside, { recursive: true });
  writeFileSync(join(closed, 'secret'), 'of root');
  const data = join(closed, 'data');
  const script =
    'mount --make-rprivate / && mount --bind "$1" "$2" && exec "$3" "$2/bin/skerry.js" up --data "$4" --listen 127.0.0.1:0 --engine jco';
  const node = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', projectRoot, inside, process.execPath, data], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [node.stdout, node.stderr])
    stream.on('data', (piece) => {
      output += piece;
    });
  const ended = new Promise((resolve) => node.once('exit', resolve));
  try {
    for (let tries = 0; !output.includes('the node is ready'); tries++) {
      assert.ok(tries < 300, output);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const pid = Number(readFileSync(join(data, 'skerry.pid'), 'utf8'));
    assert.is.not(status(pid).Uid!.split('\t')[0], '0');
    // What it was not given is not there for it.
    assert.equal(readdirSync(`/proc/${pid}/root${closed}`).sort(), ['data', 'deep']);
    assert.equal(readdirSync(`/proc/${pid}/root${closed}/deep`), ['skerry']);
  } finally {
    node.kill('SIGTERM');
    assert.is(await ended, 0, output);
    rmSync(closed, { recursive: true });
  }
});

for (const [what, whose] of [
  ['the node', 'node'],
  ['hostd', 'hostd'],
] as const) {
  test(`when ${what} is killed the other ends too, and the next start finds all in order`, async () => {
    const data = temporaryFolder();
    const node = await startProcess({ data });
    await node.admin.deploy('fn');
    const pid = await pidOf(node);
    process.kill(whose === 'node' ? pid : node.child.pid!, 'SIGKILL');
    assert.is.not(await node.ended, 0);
    await withNode({ data }, async (next) => {
      assert.is((await ask(next.url, { path: '/fn/hello' })).body.toString(), 'hello');
      // Whoever adopts orphans may not have looked yet.
      assert.ok(!existsSync(`/proc/${pid}`) || status(pid).State!.startsWith('Z'), 'nothing of the first is left');
    });
  });
}

split.run();
