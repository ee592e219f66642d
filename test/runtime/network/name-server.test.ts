/** Questions for names, well formed and not, as a workload's resolver answers them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AllowList } from '../../../runtime/egress/allow-list.ts';
import { NamedAddresses } from '../../../runtime/network/addresses.ts';
import { answer } from '../../../runtime/network/name-server.ts';
import { question, readAnswer } from '../../support/dns-client.ts';

const test = suite("a workload's resolver");

const allow = new AllowList(['api.example.com:443', '*.wild.example', 'xn--bcher-kva.example']);
const refused: string[] = [];
const addresses = new NamedAddresses(4, 1000);
const names = {
  allows: (name: string) => allow.permitsSome({ name, isAddress: false }),
  addressOf: (name: string) => addresses.keep(name),
  refused: (name: string) => void refused.push(name),
};
const ask = (bytes: Buffer) => {
  const reply = answer(bytes, names);
  return reply && readAnswer(reply);
};

test('an allowed name has one address, of loopback, whatever the case that it is asked in', () => {
  const first = ask(question('api.example.com'));
  assert.is(first?.code, 0);
  assert.match(first?.address ?? '', /^127\.(6[5-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$/);
  const shouted = ask(question('API.Example.COM'));
  assert.is(shouted?.address, first?.address);
  assert.is(shouted?.question.toString('latin1', 1, 4), 'API', 'told back as it was written');
  assert.is(ask(question('a.wild.example'))?.code, 0);
  assert.is(ask(question('xn--bcher-kva.example'))?.code, 0);
});

test('what is not allowed does not exist', () => {
  for (const name of ['example.com', 'com', 'www.api.example.com', 'wild.example', 'api.example.co', 'localhost', '']) {
    const told = ask(question(name));
    assert.is(told?.code, 3, name);
    assert.is(told?.answers, 0, name);
  }
  assert.ok(refused.includes('example.com'));
});

test('of an allowed name there is IPv4 alone; other kinds are empty and no error', () => {
  for (const type of [28, 16, 33, 65, 15]) {
    const told = ask(question('api.example.com', { type }));
    assert.equal([told?.code, told?.answers], [0, 0], String(type));
  }
  assert.is(ask(question('api.example.com', { type: 255 }))?.answers, 1);
});

test('a label with what no host name has is no way to an allowed name', () => {
  for (const labels of [
    ['api.example', 'com'],
    ['api.example.com'],
    ['api', 'example', 'com\0'],
    ['api', 'example', Buffer.from([0x63, 0x6f, 0xed])],
    ['api ', 'example', 'com'],
    ['x.wild', 'example'],
  ]) {
    assert.is(ask(question('', { labels }))?.code, 3, String(labels));
  }
});

test('what is no plain question is dropped or refused', () => {
  const good = question('api.example.com');
  const dropped: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['half a head', good.subarray(0, 11)],
    ['a head alone', good.subarray(0, 12)],
    ['a name without an end', good.subarray(0, 20)],
    ['a question without a class', good.subarray(0, good.length - 1)],
    ['an answer', question('api.example.com', { flags: 0x8180 })],
    ['no question', question('api.example.com', { counts: [0, 0, 0, 0] })],
    ['two questions', question('api.example.com', { counts: [2, 0, 0, 0] })],
    ['a question with answers', question('api.example.com', { counts: [1, 1, 0, 0] })],
    ['a pointer to itself', Buffer.concat([good.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])])],
    ['a label of 64 bytes', Buffer.concat([good.subarray(0, 12), Buffer.from([64]), Buffer.alloc(80, 97)])],
    ['a name that is too long', question(Array(140).fill('a').join('.'))],
    ['more than a question is', question('api.example.com', { rest: Buffer.alloc(600) })],
  ];
  for (const [what, bytes] of dropped) assert.is(answer(bytes, names), null, what);
  assert.is(ask(question('api.example.com', { flags: 0x2900 }))?.code, 4, 'another operation');
  assert.is(ask(question('api.example.com', { class: 3 }))?.code, 5, 'another class');
  const options = Buffer.from([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
  assert.is(ask(question('api.example.com', { counts: [1, 0, 0, 1], rest: options }))?.code, 0, 'EDNS is passed over');
});

test('no bytes make it fail', () => {
  let state = 20_251_125;
  const random = (below: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.concat([question('api.example.com'), Buffer.alloc(random(40))]);
    for (let changes = random(6); changes >= 0; changes--) bytes[random(bytes.length)] = random(256);
    const reply = answer(bytes.subarray(0, random(bytes.length + 1)), names);
    assert.ok(reply === null || reply.length <= 512);
  }
});

test('names keep their addresses from one run of the node to the next, and two never share one', () => {
  const many = Array.from({ length: 5000 }, (_, i) => `n${i}.example`);
  const first = new NamedAddresses(1, 0);
  const given = many.map((name) => first.keep(name));
  assert.is(new Set(given).size, many.length);
  const second = new NamedAddresses(1, 0);
  assert.equal(
    many.map((name) => second.keep(name)),
    given,
  );
  for (const [i, address] of given.entries()) assert.is(first.nameOf(address), many[i]);
});

test('names below a wildcard are bounded: the oldest gives way when it was not asked for in a while', () => {
  const lent = new NamedAddresses(2, 1000);
  const a = lent.lend('a', 0);
  assert.ok(a);
  assert.ok(lent.lend('b', 10));
  assert.is(lent.lend('c', 500), null, 'all are in use');
  assert.is(lent.lend('a', 900), a);
  assert.ok(lent.lend('c', 1011), 'b was not asked for');
  assert.is(lent.nameOf(a as string), 'a');
  assert.is(lent.lend('b', 1012), null);
});

test.run();
