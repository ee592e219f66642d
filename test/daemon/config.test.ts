import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSettings } from '../../daemon/config.ts';
import { parseAddress } from '../../daemon/config-schema.ts';
import { SkerryError } from '../../errors/skerry-error.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-config-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function file(text: string): string {
  const path = join(folder, 'node.toml');
  writeFileSync(path, text);
  return path;
}

async function refused(
  code: string,
  argv: string[],
  pattern: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<SkerryError> {
  try {
    await readSettings(argv, env);
  } catch (error) {
    assert.instance(error, SkerryError);
    assert.is((error as SkerryError).code, code, (error as SkerryError).message);
    assert.match((error as SkerryError).message, pattern);
    return error as SkerryError;
  }
  throw new Error(`not refused: ${argv.join(' ')}`);
}

test('a flag wins over the environment, that over the file, that over the default', async () => {
  const config = file('listen = "127.0.0.1:3"\nengine = "jco"\nstop-timeout = "3s"\n');
  const env = { SKERRY_LISTEN: '127.0.0.1:2', SKERRY_ENGINE: 'auto' };
  const all = await readSettings(['--config', config, '--listen', '127.0.0.1:1'], env);
  assert.is(all?.listen, '127.0.0.1:1');
  assert.is(all?.engine, 'auto');
  assert.is(all?.['stop-timeout'], '3s');
  assert.is(all?.['log-level'], 'info');
  assert.is(all?.registry, '127.0.0.1:5050');
  assert.is((await readSettings([], {}))?.listen, '127.0.0.1:8080');
  assert.is(
    (await readSettings([], { SKERRY_LISTEN: '' }))?.listen,
    '127.0.0.1:8080',
    'an empty variable says nothing',
  );
});

test('the data folder depends on the user, and a relative one on where the node is started', async () => {
  const root = process.getuid?.() === 0;
  assert.is((await readSettings([], {}))?.data.endsWith(root ? '/var/lib/skerry' : '/.local/share/skerry'), true);
  assert.is((await readSettings(['--data', 'here'], {}))?.data, resolve('here'));
  assert.is((await readSettings([], { SKERRY_DATA: '/d' }))?.data, '/d');
});

test('TLS is asked for with a certificate and its key, by flag, environment or file; one alone is refused', async () => {
  const config = file('tls-cert = "c.pem"\ntls-key = "k.pem"\n');
  const settings = await readSettings(['--config', config, '--tls-key', 'other.pem'], {});
  assert.is(settings?.['tls-cert'], resolve('c.pem'));
  assert.is(settings?.['tls-key'], resolve('other.pem'));
  const both = await readSettings([], { SKERRY_TLS_CERT: 'c.pem', SKERRY_TLS_KEY: 'k.pem' });
  assert.is(both?.['tls-cert'], resolve('c.pem'));
  assert.is((await readSettings([], {}))?.['tls-cert'], undefined);
  await refused('TLS_INCOMPLETE', ['--tls-cert', 'c.pem'], /tls-cert is given without tls-key/);
  await refused('TLS_INCOMPLETE', [], /tls-key is given without tls-cert/, { SKERRY_TLS_KEY: 'k.pem' });
});

test('an error in the file names the file and the line', async () => {
  await refused(
    'CONFIG_INVALID',
    ['--config', file('engine = "jco"\nlisten = "nowhere"\n')],
    /node\.toml:2:1: listen: must be HOST:PORT/,
  );
  await refused('CONFIG_INVALID', ['--config', file('\n\ncolour = "red"\n')], /node\.toml:3:1: colour: .*colour/);
  await refused('CONFIG_INVALID', ['--config', file('engine = "jco"\nlisten = \n')], /node\.toml:2:\d+/);
  await refused('CONFIG_INVALID', ['--config', file('engine = 7')], /node\.toml:1:1: engine: must be auto/);
  await refused('CONFIG_UNREADABLE', ['--config', join(folder, 'missing.toml')], /missing\.toml .*ENOENT/);
  await refused('CONFIG_UNREADABLE', ['--config', folder], /EISDIR/);
});

test('a value that a flag replaces is not held against the file', async () => {
  const config = file('listen = "nowhere"');
  assert.is((await readSettings(['--config', config, '--listen', '127.0.0.1:1'], {}))?.listen, '127.0.0.1:1');
});

test('an error in a flag or a variable names it', async () => {
  await refused('CONFIG_INVALID', ['--listen', '8080'], /--listen: must be HOST:PORT/);
  await refused('CONFIG_INVALID', [], /SKERRY_ENGINE: must be auto/, { SKERRY_ENGINE: 'v8' });
  await refused('CONFIG_INVALID', ['--stop-timeout', 'soon'], /--stop-timeout: must be a time/);
  await refused('CONFIG_INVALID', ['--discipline', 'lifo'], /--discipline: must be fcfs, slice or sjf/);
  for (const wrong of ['0', '0%', '101%', 'much', '-5GiB'])
    await refused('CONFIG_INVALID', ['--store-size', wrong], /--store-size: must be a size/);
  await refused('CONFIG_INVALID', ['--stop-timeout', '99999m'], /--stop-timeout: must be at most/);
  assert.is((await refused('UP_USAGE', ['--colour'], /--colour/)).exit, 2);
  await refused('UP_USAGE', ['--listen'], /argument missing/);
  await refused('UP_USAGE', ['extra'], /unexpected|too many arguments/);
});

test('the token of the admin API comes from the environment alone', async () => {
  assert.is((await readSettings([], { SKERRY_ADMIN_TOKEN: 'secret' }))?.adminToken, 'secret');
  await refused('CONFIG_INVALID', ['--config', file('admin-token = "x"')], /admin-token/);
});

test('addresses are HOST:PORT', () => {
  assert.equal(parseAddress('127.0.0.1:80'), { host: '127.0.0.1', port: 80 });
  assert.equal(parseAddress('[::1]:0'), { host: '::1', port: 0 });
  assert.equal(parseAddress('localhost:65535'), { host: 'localhost', port: 65_535 });
  for (const text of ['', ':80', 'a', 'a:', 'a:65536', 'a:b', '::1:80', 'a:80:80', 'a b:80', 'http://a:80']) {
    assert.is(parseAddress(text), null, text);
  }
});

test.run();
