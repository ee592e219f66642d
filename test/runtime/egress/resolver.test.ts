import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EgressFailure } from '../../../runtime/egress/failure.ts';
import { addressesInHosts, type Resolve, systemResolver } from '../../../runtime/egress/resolver.ts';

interface Context {
  folder: string;
  resolve: Resolve;
  /** Names that were asked for, with the type of the record. */
  asked: string[];
  close(): void;
}

const resolver = suite<Context>('resolver');

const TYPES: Record<number, string> = { 1: 'A', 28: 'AAAA' };
/** What the name server knows; `silent.test` gets no answer. */
const ZONE: Record<string, Uint8Array[]> = {
  'A both.test': [Uint8Array.from([192, 0, 2, 1]), Uint8Array.from([192, 0, 2, 2])],
  'AAAA both.test': [Uint8Array.from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
  'A four.test': [Uint8Array.from([192, 0, 2, 4])],
};

/** An answer of RFC 1035, section 4, to a question with one name. */
function answerTo(question: Buffer, asked: string[]): Buffer | null {
  const labels: string[] = [];
  let at = 12;
  for (let length = question[at] as number; length > 0; length = question[at] as number) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const name = labels.join('.').toLowerCase();
  const type = TYPES[question.readUInt16BE(at + 1)] ?? '?';
  asked.push(`${type} ${name}`);
  if (name === 'silent.test') return null;
  const records = ZONE[`${type} ${name}`] ?? [];
  const known = Object.keys(ZONE).some((key) => key.endsWith(` ${name}`));
  const head = Buffer.alloc(12);
  question.copy(head, 0, 0, 2);
  head.writeUInt16BE(known ? 0x8180 : 0x8183, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  const answers = records.map((data) => {
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0);
    question.copy(record, 2, at + 1, at + 5);
    record.writeUInt32BE(60, 4 + 2);
    record.writeUInt16BE(data.length, 10);
    return Buffer.concat([record, data]);
  });
  return Buffer.concat([head, question.subarray(12, at + 5), ...answers]);
}

resolver.before.each(async (context) => {
  context.asked = [];
  context.folder = mkdtempSync(join(tmpdir(), 'skerry-resolver-'));
  const hostsFile = join(context.folder, 'hosts');
  writeFileSync(hostsFile, '10.0.0.9 listed.test\n');
  const server = createSocket('udp4');
  server.on('message', (question, from) => {
    const answer = answerTo(question, context.asked);
    if (answer) server.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  context.resolve = systemResolver({ hostsFile, servers: [`127.0.0.1:${port}`] });
  context.close = () => server.close();
});
resolver.after.each(({ close, folder }) => {
  close();
  rmSync(folder, { recursive: true, force: true });
});

const never = new AbortController().signal;
const kindOf = (work: Promise<unknown>) => work.then(String, (error: EgressFailure) => error.kind);

resolver('both families are asked for, and tried in turn', async ({ resolve, asked }) => {
  assert.equal(await resolve('both.test', never), ['2001:db8::1', '192.0.2.1', '192.0.2.2']);
  assert.equal([...asked].sort(), ['A both.test', 'AAAA both.test']);
  assert.equal(await resolve('four.test', never), ['192.0.2.4']);
});

resolver('localhost and what /etc/hosts says are not asked for', async ({ resolve, asked }) => {
  assert.equal(await resolve('localhost', never), ['127.0.0.1', '::1']);
  assert.equal(await resolve('db.localhost', never), ['127.0.0.1', '::1']);
  assert.equal(await resolve('listed.test', never), ['10.0.0.9']);
  assert.equal(asked, []);
});

resolver('a name that does not exist is told as such', async ({ resolve }) => {
  assert.is(await kindOf(resolve('missing.test', never)), 'DNS-error');
});

resolver('a server that does not answer is given up when the connection is', async ({ resolve, asked }) => {
  const ending = new AbortController();
  const silent = kindOf(resolve('silent.test', ending.signal));
  while (asked.length === 0) await new Promise(setImmediate);
  ending.abort();
  assert.is(await silent, 'DNS-timeout');
});

resolver('a hosts file is read as the system reads it', () => {
  const text =
    '127.0.0.1 localhost\n# 1.2.3.4 db\n10.0.0.5\tdb DB.example.com # ours\nfe80::1%eth0 db\n::7 db\nno db\n';
  assert.equal(addressesInHosts(text, 'db'), ['10.0.0.5', '::7']);
  assert.equal(addressesInHosts(text, 'db.example.com'), ['10.0.0.5']);
  assert.equal(addressesInHosts(text, 'ours'), []);
});

resolver.run();
