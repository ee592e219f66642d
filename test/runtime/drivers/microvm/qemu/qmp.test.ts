/** What QEMU's monitor says is believed only as far as it is what a monitor says, over a connection that may be anybody's. */
import type { Duplex } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { QMP_LIMITS, QmpClient } from '../../../../../runtime/drivers/microvm/qemu/qmp.ts';
import { duplexPair } from '../../../../../runtime/network/duplex-pair.ts';
import { failure } from '../../../../support/failure.ts';

const qmp = suite('QMP');

const GREETING = '{"QMP":{"version":{"qemu":{"major":7}},"capabilities":["oob"]}}\r\n';

/** A monitor that greets, and then says what `answer` makes of each command. */
function monitor(answer: (command: { execute: string; id: number }, say: (text: string) => void) => void): Duplex {
  const [near, far] = duplexPair();
  let seen = '';
  far.on('error', () => {});
  far.on('data', (piece: Buffer) => {
    seen += piece.toString();
    for (let end = seen.indexOf('\n'); end >= 0; end = seen.indexOf('\n')) {
      const command = JSON.parse(seen.slice(0, end));
      seen = seen.slice(end + 1);
      if (command.execute === 'qmp_capabilities') far.write(`{"return":{},"id":${command.id}}\r\n`);
      else answer(command, (text) => void far.write(text));
    }
  });
  far.write(GREETING);
  return near;
}

qmp('a command has its answer, whatever comes between, in pieces of any size', async () => {
  const events: string[] = [];
  const stream = monitor(({ id }, say) => {
    say('{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}\r\n{"ret');
    say(`urn":{"status":"paused"},"id":${id}}\r\n`);
  });
  const client = await QmpClient.open(stream, (event) => events.push(event));
  assert.equal(await client.execute('query-status'), { status: 'paused' });
  assert.equal(events, ['STOP']);
  client.close();
  assert.is(await client.closed, null);
  assert.is((await failure(client.execute('cont'))).code, 'MONITOR_GONE');
});

qmp('what it refuses is told with its words', async () => {
  const client = await QmpClient.open(
    monitor(({ id }, say) => say(`{"error":{"class":"GenericError","desc":"no such device"},"id":${id}}\r\n`)),
  );
  const error = await failure(client.execute('device_del'));
  assert.is(error.code, 'MONITOR_REFUSED');
  assert.match(error.message, /no such device/);
  client.close();
});

const nonsense: [string, string][] = [
  ['what is no JSON', 'hello\n'],
  ['JSON of another form', '[]\n'],
  ['an answer to nothing', '{"return":{},"id":99}\n'],
  ['an answer without a number', '{"return":{}}\n'],
  ['a line without an end', 'x'.repeat(QMP_LIMITS.lineBytes + 10)],
  ['a line that is too long', `{"return":"${'x'.repeat(QMP_LIMITS.lineBytes)}","id":2}\n`],
  ['events without end', '{"event":"RTC_CHANGE"}\n'.repeat(QMP_LIMITS.events + 1)],
];
for (const [what, text] of nonsense) {
  qmp(`${what} ends the connection`, async () => {
    const client = await QmpClient.open(monitor((_, say) => say(text)));
    assert.is((await failure(client.execute('query-status'))).code, 'MONITOR_NONSENSE');
    assert.is(((await client.closed) as { code?: string } | null)?.code, 'MONITOR_NONSENSE');
  });
}

qmp('one that does not greet is none', async () => {
  const [near, far] = duplexPair();
  far.on('error', () => {});
  far.write('{"return":{}}\n');
  assert.is((await failure(QmpClient.open(near))).code, 'MONITOR_NONSENSE');
});

qmp('one that does not answer is given up, and with it all that waits', async () => {
  const client = await QmpClient.open(monitor(() => {}));
  const other = failure(client.execute('query-status'));
  assert.is((await failure(client.execute('cont', {}, 20))).code, 'MONITOR_SILENT');
  assert.is((await other).code, 'MONITOR_SILENT');
});

qmp('one that ends tells whoever waits', async () => {
  const [near, far] = duplexPair();
  far.on('error', () => {});
  far.write(GREETING);
  far.once('data', () => far.end());
  assert.is((await failure(QmpClient.open(near))).code, 'MONITOR_GONE');
});

qmp.run();
