import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LogRecord, WorkloadLogs } from '../../../runtime/logs/workload-logs.ts';

const text = (value: string) => Buffer.from(value);

async function withLogs(work: (logs: WorkloadLogs, folder: string, errors: unknown[]) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-logs-'));
  const errors: unknown[] = [];
  const logs = new WorkloadLogs(join(folder, 'logs'), (error) => errors.push(error));
  try {
    await work(logs, join(folder, 'logs'), errors);
  } finally {
    await logs.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const texts = (records: readonly LogRecord[]) => records.map((record) => record.text);

test('pieces become lines, apart for each request and stream, and the last one needs no newline', () =>
  withLogs(async (logs) => {
    const log = logs.of('w');
    log.piece('r', 'q1', 'stdout', text('one '));
    log.piece('r', 'q2', 'stdout', text('two\n'));
    log.piece('r', 'q1', 'stderr', text('three\nfo'));
    log.piece('r', 'q1', 'stdout', text('line\n\nlast'));
    log.requestEnded('r', 'q1');
    const seen = (await log.tail(100)).map(({ requestId, stream, text }) => `${requestId} ${stream} ${text}`);
    assert.equal(seen, [
      'q2 stdout two',
      'q1 stderr three',
      'q1 stdout one line',
      'q1 stdout ',
      'q1 stdout last',
      'q1 stderr fo',
    ]);
  }));

test('the last lines are given, oldest first, also by the next start of the node', () =>
  withLogs(async (logs, folder) => {
    for (let i = 0; i < 50; i++) logs.of('w').write('r', 'q', 'stdout', `line ${i}`);
    assert.equal(texts(await logs.of('w').tail(3)), ['line 47', 'line 48', 'line 49']);
    assert.equal(await logs.of('w').tail(0), []);
    assert.equal(await logs.of('nobody').tail(5), []);
    await logs.close();
    const again = new WorkloadLogs(folder, (error) => assert.unreachable(String(error)));
    assert.equal(texts(await again.of('w').tail(2)), ['line 48', 'line 49']);
  }));

test('what a workload writes is bounded on disk, the newest kept, and nobody but the node reads it', () =>
  withLogs(async (logs, folder) => {
    const log = logs.of('w');
    const long = 'ä'.repeat(4000);
    for (let i = 0; i < 1500; i++) {
      log.write('r', 'q', 'stdout', `${i} ${long}`);
      if (i % 20 === 0) await log.flush();
    }
    await log.flush();
    const files = readdirSync(join(folder, 'w')).map((name) => statSync(join(folder, 'w', name)));
    assert.is(files.length, 2);
    for (const { size, mode } of files) {
      assert.ok(size <= 2 ** 20, `${size}`);
      assert.is(mode & 0o077, 0);
    }
    assert.match((await log.tail(1))[0]!.text, /^1499 /);
  }));

test('lines that come faster than the disk may take are dropped, and that is said', () =>
  withLogs(async (logs) => {
    const log = logs.of('w');
    for (let i = 0; i < 100; i++) log.write('r', 'q', 'stdout', 'x'.repeat(8000));
    await log.flush();
    log.write('r', 'q', 'stdout', 'after');
    const records = await log.tail(1000);
    assert.ok(records.length < 100);
    const remark = records.find((record) => record.stream === 'node');
    const dropped = Number(/^(\d+) lines were dropped/.exec(remark?.text ?? '')?.[1]);
    assert.is(records.filter((record) => record.text.startsWith('xxx')).length + dropped, 100);
  }));

test('a line without end is cut, and takes no more memory than that', () =>
  withLogs(async (logs) => {
    const log = logs.of('w');
    for (let i = 0; i < 100; i++) log.piece('r', 'q', 'stdout', Buffer.alloc(1000, 'a'));
    log.piece('r', 'q', 'stdout', text('\nnext\n'));
    const records = await log.tail(100);
    assert.is(texts(records).join('').replace('next', '').length, 100_000);
    for (const record of records) assert.ok(record.text.length <= 8192);
    assert.is(records.at(-1)!.text, 'next');
  }));

test('bytes that are no UTF-8, and a line that a power cut cut off, make the log no less readable', () =>
  withLogs(async (logs, folder) => {
    const log = logs.of('w');
    log.piece('r', 'q', 'stdout', Buffer.from([0xff, 0xfe, 0x41, 0x0a]));
    await log.flush();
    writeFileSync(join(folder, 'w', 'old.ndjson'), '{"time":"2026-01-01T00:00:00.000Z","te');
    const records = await log.tail(10);
    assert.is(records.length, 1);
    assert.match(records[0]!.text, /A$/);
  }));

test('a follower gets each line as it comes, until it ends', () =>
  withLogs(async (logs) => {
    const log = logs.of('w');
    const seen: string[] = [];
    const end = log.follow((record) => seen.push(record.text));
    log.piece('r', 'q', 'stdout', text('one\ntw'));
    assert.equal(seen, ['one']);
    log.piece('r', 'q', 'stdout', text('o\n'));
    end();
    log.piece('r', 'q', 'stdout', text('three\n'));
    assert.equal(seen, ['one', 'two']);
  }));

test('readers, writers and a removal at the same time end well, and a new workload of the name begins empty', () =>
  withLogs(async (logs, folder, errors) => {
    const log = logs.of('w');
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      log.write('r', 'q', 'stdout', `${i} ${'x'.repeat(7000)}`);
      if (i % 10 === 0) work.push(log.tail(5));
      if (i % 20 === 0) work.push(log.flush());
    }
    work.push(logs.remove('w'));
    await Promise.all(work);
    assert.equal(await logs.of('w').tail(10), []);
    log.write('r', 'q', 'stdout', 'new');
    assert.equal(texts(await logs.of('w').tail(10)), ['new']);
    assert.equal(readdirSync(join(folder, 'w')), ['new.ndjson']);
    assert.equal(errors, []);
  }));

test('a disk that refuses is reported; the workload goes on', () =>
  withLogs(async (logs, folder, errors) => {
    writeFileSync(folder, 'a file where the folder should be');
    logs.of('w').write('r', 'q', 'stdout', 'lost');
    await logs.of('w').flush();
    assert.is(errors.length, 1);
    assert.equal(await logs.of('w').tail(1), []);
  }));

test.run();
