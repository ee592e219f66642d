import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type KeyValueStore, openKeyValueStore } from '../../runtime/keyvalue/store.ts';
import { makeCertificate, writeCertificate } from '../support/certificates.ts';
import { guest } from '../support/guests.ts';
import { header, RawConnection } from '../support/raw-http.ts';
import { ask, discard, type ProcessOptions, spawnNode, startProcess, temporaryFolder } from '../support/test-node.ts';

/** A start that must fail: with one line, which says what to do, and nothing left behind. */
async function failsToStart(options: ProcessOptions, code: string, pattern: RegExp): Promise<string> {
  const attempt = await spawnNode(options);
  attempt.child.once('message', () => attempt.child.kill('SIGKILL'));
  const how = await attempt.ended;
  const output = attempt.output();
  assert.ok(typeof how === 'number' && how > 0, `it ended with ${how}: ${output}`);
  assert.match(output, new RegExp(`(?:^|\\n)[^\\n]+; [^\\n]+ \\[${code}\\]\\n$`));
  assert.match(output, pattern);
  assert.not.match(output, /\n\s+at /);
  return attempt.data;
}

test('SIGTERM finishes the requests in flight, then ends with 0 and leaves no pid file and no socket', async () => {
  const node = await startProcess();
  try {
    await node.admin.deploy('fn', { timeout: '20s' });
    const { pid } = (await node.admin.call('GET', '/v1/node')).json();
    assert.is(readFileSync(join(node.data, 'skerry.pid'), 'utf8'), `${pid}\n`);
    const connection = await RawConnection.open(node.url);
    await connection.write('GET /fn/stream HTTP/1.1\r\nhost: a\r\n\r\n');
    await connection.until('line 0');
    node.child.kill('SIGTERM');
    const response = await connection.response();
    assert.ok(response.complete);
    assert.match(response.body.toString(), /line 9\n$/);
    assert.is(await node.ended, 0, node.output);
    assert.not(existsSync(join(node.data, 'skerry.pid')));
    assert.not(existsSync(node.admin.socket));
    connection.destroy();
  } finally {
    await discard(node);
  }
});

test('told to stop in the moment it is ready, it stops as cleanly', async () => {
  const node = await startProcess();
  try {
    node.child.kill('SIGTERM');
    assert.is(await node.ended, 0, node.output);
    assert.not(existsSync(node.admin.socket));
  } finally {
    await discard(node);
  }
});

test('a function that does not read its small body answers before that has come', async () => {
  const node = await startProcess();
  try {
    await node.admin.deploy('fn', { timeout: '30s' });
    const connection = await RawConnection.open(node.url);
    await connection.write('POST /fn/discard HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel');
    assert.is((await connection.response()).status, 200);
    connection.destroy();
    const echoing = await RawConnection.open(node.url);
    await echoing.write('POST /fn/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await echoing.write('lo');
    assert.is((await echoing.response()).body.toString(), 'hello', 'one that reads it gets all of it');
    echoing.destroy();
  } finally {
    await discard(node);
  }
});

test('a request that takes longer than the stop timeout is broken off, and the node ends all the same', async () => {
  const node = await startProcess({ args: ['--stop-timeout', '50ms'] });
  try {
    await node.admin.deploy('fn', { timeout: '60s' });
    const connection = await RawConnection.open(node.url);
    await connection.write('GET /fn/sleep/50000 HTTP/1.1\r\nhost: a\r\n\r\n');
    // It is in the hands of the function when the node says so.
    for (;;) {
      const metrics = (await node.admin.call('GET', '/metrics')).body.toString();
      if (metrics.includes('skerry_requests_in_flight{workload="fn"} 1')) break;
    }
    node.child.kill('SIGTERM');
    await connection.closed;
    assert.is(await node.ended, 0);
    connection.destroy();
  } finally {
    await discard(node);
  }
});

test('a node without a usable certificate does not start, and says what is wrong with it', async () => {
  const files = writeCertificate();
  const args = ['--tls-cert', files.cert, '--tls-key', files.key];
  try {
    writeFileSync(files.key, makeCertificate().key);
    rmSync(await failsToStart({ args }, 'TLS_MISMATCH', /key\.pem is not that of the certificate/), {
      recursive: true,
    });
    rmSync(files.key);
    rmSync(await failsToStart({ args }, 'TLS_UNREADABLE', /key\.pem cannot be read \(ENOENT\)/), { recursive: true });
  } finally {
    rmSync(files.folder, { recursive: true });
  }
});

test('over TLS, SIGHUP has the node take a new certificate; a bad one is told, and the one before goes on', async () => {
  const files = writeCertificate();
  const node = await startProcess({ args: ['--tls-cert', files.cert, '--tls-key', files.key] });
  const subject = async () => {
    const socket = connect({ port: Number(new URL(node.url).port), rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };
  try {
    assert.match(node.url, /^https:/);
    assert.is(await subject(), 'localhost');
    writeFileSync(files.key, 'nonsense');
    node.child.kill('SIGHUP');
    while (!node.output.includes('TLS_INVALID'))
      await new Promise((resolve) => node.child.stdout!.once('data', resolve));
    assert.is(await subject(), 'localhost');
    const next = makeCertificate({ name: 'next' });
    writeFileSync(files.cert, next.cert);
    writeFileSync(files.key, next.key);
    node.child.kill('SIGHUP');
    while (!node.output.includes('new certificate"')) {
      await new Promise((resolve) => node.child.stdout!.once('data', resolve));
    }
    assert.is(await subject(), 'next');
  } finally {
    await discard(node);
    rmSync(files.folder, { recursive: true });
  }
});

test('after kill -9 the node starts again and serves all that was deployed', async () => {
  const first = await startProcess();
  let last = first;
  try {
    const view = await first.admin.deploy('fn', { env: { COLOUR: 'red' } });
    await first.admin.deploy('other', { routes: ['/shared/*'] });
    first.child.kill('SIGKILL');
    await first.ended;
    assert.ok(existsSync(first.admin.socket), 'what a killed node leaves does not stand in the way');
    last = await startProcess({ data: first.data });
    const status = (await last.admin.call('GET', '/v1/workloads/fn')).json().status;
    assert.is(status.phase, 'ready', 'what is kept is loaded before the node says that it is ready');
    assert.is((await ask(last.url, { path: '/fn/hello' })).body.toString(), 'hello');
    assert.is((await ask(last.url, { path: '/shared/hello' })).status, 404, 'the guest has no /shared/hello');
    assert.is((await ask(last.url, { path: '/hello', headers: { host: 'other.localhost' } })).body.toString(), 'hello');
    assert.match((await ask(last.url, { path: '/fn/env' })).body.toString(), /COLOUR/);
    const again = (await last.admin.call('GET', '/v1/workloads/fn')).json();
    assert.is(again.generation, view.generation);
    assert.is(again.revisions[0].id, view.revisions[0].id);
  } finally {
    await discard(last);
  }
});

test('what a workload stored is kept while it is deployed, and goes with it, also when the node was killed then', async () => {
  const first = await startProcess();
  const folder = join(first.data, 'keyvalue');
  const stored = async <T>(work: (store: KeyValueStore) => T | Promise<T>): Promise<T> => {
    const store = await openKeyValueStore(folder);
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  };
  const workloads = () => stored((store) => store.workloads());
  let last = first;
  try {
    await first.admin.deploy('fn');
    first.child.kill('SIGTERM');
    await first.ended;
    // As a node that was killed after it had removed `gone`, and before it had removed what that stored.
    await stored(async (store) => {
      for (const name of ['fn', 'gone']) await store.namespace(name, 1000).set('b', 'k', Buffer.from('v'));
    });
    last = await startProcess({ data: first.data });
    await last.admin.deploy('fn', { env: { A: '1' } });
    last.child.kill('SIGTERM');
    await last.ended;
    assert.equal(await workloads(), ['fn']);
    last = await startProcess({ data: first.data });
    await last.admin.call('GET', '/v1/workloads/fn/settled');
    assert.is((await last.admin.call('DELETE', '/v1/workloads/fn')).status, 204);
    last.child.kill('SIGTERM');
    await last.ended;
    assert.equal(await workloads(), []);
  } finally {
    await discard(last);
  }
});

test('a damaged component is reported and never served; deploying it again mends that', async () => {
  const first = await startProcess();
  let last = first;
  try {
    const { revisions } = await first.admin.deploy('fn');
    first.child.kill('SIGTERM');
    await first.ended;
    const hex = revisions[0].artifact.digest.slice('sha256:'.length);
    const blob = join(first.data, 'content/blobs/sha256', hex.slice(0, 2), hex);
    const bytes = readFileSync(blob);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(blob, bytes);
    last = await startProcess({ data: first.data });
    const refused = await ask(last.url, { path: '/fn/hello' });
    assert.is(refused.status, 503);
    assert.is(refused.json().code, 'NOT_STARTABLE');
    assert.match(refused.json().detail, /damaged|no sha256/);
    assert.ok(Number(refused.headers['retry-after']) > 0);
    const view = (await last.admin.call('GET', '/v1/workloads/fn/settled')).json();
    assert.is(view.status.phase, 'failed');
    assert.match(view.status.message, /BLOB_(CORRUPT|MISSING)/);
    assert.match(last.output, /BLOB_CORRUPT/, 'the log of the node tells of it');
    await last.admin.deploy('fn', { memory: '65MiB' });
    assert.is((await ask(last.url, { path: '/fn/hello' })).body.toString(), 'hello');
  } finally {
    await discard(last);
  }
});

test('a second node on the same folder is refused and the first goes on', async () => {
  const node = await startProcess();
  try {
    const { pid } = (await node.admin.call('GET', '/v1/node')).json();
    await failsToStart({ data: node.data }, 'DATA_IN_USE', new RegExp(`process ${pid}`));
    assert.is((await ask(node.url, { path: '/_skerry/healthz' })).status, 200);
  } finally {
    await discard(node);
  }
});

test('a port in use is named, and the folder is free again', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  try {
    const data = await failsToStart(
      { args: ['--listen', `127.0.0.1:${port}`] },
      'PORT_IN_USE',
      new RegExp(`gateway.*127.0.0.1:${port}`),
    );
    assert.not(existsSync(join(data, 'skerry.pid')));
    const env = { SKERRY_ADMIN_TOKEN: 'x'.repeat(16) };
    await failsToStart({ data, env, args: ['--admin', `127.0.0.1:${port}`] }, 'PORT_IN_USE', /admin API/);
    assert.not(existsSync(join(data, 'skerry.sock')));
    const fresh = { data: join(data, 'new', 'folder'), args: ['--listen', `127.0.0.1:${port}`] };
    await failsToStart(fresh, 'PORT_IN_USE', /gateway/);
    assert.not(existsSync(join(data, 'new')), 'a folder that was made for this start is gone again');
    rmSync(data, { recursive: true });
  } finally {
    taken.close();
  }
});

test('the admin API over TCP is refused without a token, with a short one, and off loopback', async () => {
  const env = { SKERRY_ADMIN_TOKEN: 'x'.repeat(32) };
  const folders = [
    await failsToStart({ args: ['--admin', '127.0.0.1:0'] }, 'ADMIN_NEEDS_TOKEN', /SKERRY_ADMIN_TOKEN/),
    await failsToStart(
      { args: ['--admin', '127.0.0.1:0'], env: { SKERRY_ADMIN_TOKEN: 'short' } },
      'ADMIN_NEEDS_TOKEN',
      /16/,
    ),
    await failsToStart({ args: ['--admin', '0.0.0.0:0'], env }, 'ADMIN_NOT_LOOPBACK', /0\.0\.0\.0/),
    await failsToStart({ args: ['--admin', '[::]:0'], env }, 'ADMIN_NOT_LOOPBACK', /::/),
    await failsToStart({ args: ['--admin', '127.example:0'], env }, 'ADMIN_NOT_LOOPBACK', /127\.example/),
  ];
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

test('a data folder that is a file, cannot be made, or is from a newer version is refused', async () => {
  const data = temporaryFolder();
  writeFileSync(join(data, 'file'), '');
  await failsToStart({ data: join(data, 'file') }, 'DATA_NOT_A_FOLDER', /file/);
  await failsToStart({ data: '/sys/skerry' }, 'DATA_NOT_WRITABLE', /\/sys\/skerry/);
  const newer = join(data, 'newer');
  mkdirSync(newer, { mode: 0o700 });
  writeFileSync(join(newer, 'version'), '999\n');
  await failsToStart({ data: newer }, 'DATA_NEWER', /999/);
  assert.equal(readdirSync(newer).sort(), ['version'], 'nothing was written into it');
  rmSync(data, { recursive: true });
});

test('an error of usage ends with 2 and one line', async () => {
  const attempt = await spawnNode({ args: ['--colour', 'red'] });
  assert.is(await attempt.ended, 2);
  assert.match(attempt.output(), /^[^\n]*--colour[^\n]* \[UP_USAGE\]\n$/);
  rmSync(attempt.data, { recursive: true });
});

test('bad requests, failing functions and clients that leave are no matter for the node', async () => {
  const node = await startProcess();
  try {
    await node.admin.deploy('fn', { timeout: '5s' });
    for (const path of [
      'trap',
      'panic',
      'exit/1',
      'no-answer',
      'half',
      'short',
      'long',
      'unfinished',
      'error',
      'huge-header',
      'recurse',
      'alloc',
    ]) {
      const connection = await RawConnection.open(node.url);
      await connection.write(`GET /fn/${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
      const response = await connection.response().catch(() => null);
      if (response?.status === 200) assert.not(response.complete, `${path} is not taken for whole`);
      else if (response) {
        assert.is(response.status, 500, path);
        assert.is(header(response, 'content-type'), 'application/problem+json', path);
      }
      connection.destroy();
    }
    for (const bytes of [
      '\0\0\0\0',
      'GET',
      'POST /fn/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf',
      'GET /fn/big/9999999 HTTP/1.1\r\nhost: a\r\n\r\n',
      'GET /fn/stream HTTP/1.1\r\nhost: a\r\n\r\n',
    ]) {
      for (const leave of ['destroy', 'reset'] as const) {
        const connection = await RawConnection.open(node.url);
        await connection.write(bytes);
        connection[leave]();
      }
    }
    assert.is((await ask(node.url, { path: '/fn/hello' })).body.toString(), 'hello');
    assert.not.match(node.output, /nothing caught/, node.output);
    node.child.kill('SIGTERM');
    assert.is(await node.ended, 0);
  } finally {
    await discard(node);
  }
});

test('two deploys at the same time both take effect', async () => {
  const node = await startProcess();
  try {
    const component = readFileSync(await guest('behaviours'));
    const views = await Promise.all(['a', 'b'].map((name) => node.admin.deploy(name, {}, component)));
    assert.equal(
      views.map(({ status }) => status.phase),
      ['ready', 'ready'],
    );
    for (const name of ['a', 'b'])
      assert.is((await ask(node.url, { path: `/${name}/hello` })).body.toString(), 'hello');
  } finally {
    await discard(node);
  }
});

test.run();
