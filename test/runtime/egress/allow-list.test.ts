import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { canonicalAddress, isSpecialAddress } from '../../../runtime/egress/address.ts';
import { AllowList, canonicalAllowEntry } from '../../../runtime/egress/allow-list.ts';
import { type Host, parseHost } from '../../../runtime/egress/host.ts';

const permits = (entries: string[], host: string, port: number) =>
  new AllowList(entries).permits(parseHost(host) as Host, port);

test('an empty list permits nothing', () => {
  assert.not(permits([], 'example.com', 443));
  assert.not(permits([], '93.184.216.34', 80));
});

test('an entry permits its host on ports 80 and 443, or on the one port it names', () => {
  for (const port of [80, 443]) assert.ok(permits(['example.com'], 'example.com', port));
  assert.not(permits(['example.com'], 'example.com', 8080));
  assert.ok(permits(['example.com:8080'], 'example.com', 8080));
  assert.not(permits(['example.com:8080'], 'example.com', 443));
  assert.ok(permits(['example.com:8080', 'example.com'], 'example.com', 8080));
});

test('a host is the same in any case, with a dot at its end, and in its own alphabet', () => {
  for (const host of ['EXAMPLE.com', 'example.com.', 'example。com']) {
    assert.ok(permits(['example.com'], host, 443), host);
    assert.ok(permits([host], 'example.com', 443), host);
  }
  assert.ok(permits(['münchen.example'], 'xn--mnchen-3ya.example', 443));
});

test('a wildcard permits every name below, not the name itself and not a look-alike', () => {
  const entries = ['*.example.com'];
  assert.ok(permits(entries, 'a.example.com', 443));
  assert.ok(permits(entries, 'a.b.example.com', 80));
  assert.not(permits(entries, 'example.com', 443));
  assert.not(permits(entries, 'evilexample.com', 443));
  assert.not(permits(entries, 'a.example.com.evil.test', 443));
  assert.not(permits(entries, 'a.example.com', 8080));
});

test('addresses are permitted as they are, however they are written', () => {
  assert.ok(permits(['192.0.2.1:8080'], '192.0.2.1', 8080));
  assert.ok(permits(['[2001:DB8:0::1]'], '[2001:db8::1]', 443));
  assert.not(permits(['192.0.2.1'], '192.0.2.2', 443));
  // Another address, although it reaches the same host.
  assert.not(permits(['127.0.0.1'], '[::ffff:127.0.0.1]', 80));
});

test('what is no HOST[:PORT] is no entry', () => {
  const bad = [
    '',
    '*',
    '*.',
    'a b',
    'a:0',
    'a:65536',
    'a:b',
    '127.1',
    '0x7f.0.0.1',
    '2130706433',
    '::1',
    '[::1',
    'http://a',
  ];
  const worse = [
    'a/b',
    'user@host',
    '*.1.2.3.4',
    'a.*.b',
    '%61.com',
    '[fe80::1%eth0]',
    '[1.2.3.4]',
    'a..b',
    'a,b',
    '-a',
  ];
  for (const text of [...bad, ...worse]) assert.is(canonicalAllowEntry(text), null, text);
  assert.is(canonicalAllowEntry('*.Example.COM.:8443'), '*.example.com:8443');
  assert.is(canonicalAllowEntry('[2001:db8:0:0::1]:443'), '[2001:db8::1]:443');
});

const special = {
  'loopback, this network': ['127.0.0.1', '127.255.1.2', '0.0.0.0', '0.1.2.3', '::1', '::'],
  'private and shared': ['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', '100.127.255.255'],
  'unique local, link-local, site-local': ['fc00::1', 'fd12:3456::1', '169.254.169.254', 'fe80::1', 'fec0::1'],
  'multicast and reserved': ['224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255', 'ff02::1', '192.0.0.8'],
  'documentation and benchmarks': ['192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1', '2001:db8::1', '3fff::1'],
  'IPv4 in IPv6: mapped, compatible, translated': [
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '::127.0.0.1',
    '::ffff:0:10.0.0.1',
  ],
  'NAT64, 6to4, Teredo': [
    '64:ff9b::7f00:1',
    '64:ff9b::10.0.0.1',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:c0a8:101::1',
    '2001::1',
  ],
};
for (const [kind, addresses] of Object.entries(special)) {
  test(`addresses that are not on the internet: ${kind}`, () => {
    for (const text of addresses) {
      const address = canonicalAddress(text) as string;
      assert.ok(isSpecialAddress(address), text);
      assert.not(new AllowList(['example.com']).permitsAddress(address, 80), text);
      const entry = address.includes(':') ? `[${address}]:80` : `${address}:80`;
      assert.ok(new AllowList([entry]).permitsAddress(address, 80), `${text}, itself allowed`);
      assert.not(new AllowList([entry]).permitsAddress(address, 81), `${text}, allowed on another port`);
    }
  });
}

test('public addresses may be connected to', () => {
  const list = ['1.1.1.1', '172.15.0.1', '172.32.0.1', '100.63.0.1', '100.128.0.1', '2606:4700::1', '64:ff9b::808:808'];
  for (const text of [...list, '::ffff:8.8.8.8', '2002:808:808::1', '2400:cb00::1']) {
    assert.not(isSpecialAddress(canonicalAddress(text) as string), text);
  }
});

test('another workload of the node is allowed its http port, unless the entry says which', () => {
  const list = new AllowList(['api.skerry.internal', 'db.skerry.internal:5432', 'skerry.internal.example']);
  const host = (name: string) => ({ name, isAddress: false });
  assert.equal(
    [80, 443].map((port) => list.permits(host('api.skerry.internal'), port)),
    [true, false],
  );
  assert.equal(
    [80, 5432].map((port) => list.permits(host('db.skerry.internal'), port)),
    [false, true],
  );
  assert.equal(
    [80, 443].map((port) => list.permits(host('skerry.internal.example'), port)),
    [true, true],
  );
  assert.ok(list.permitsSome(host('db.skerry.internal')));
  assert.not(list.permitsSome(host('other.skerry.internal')));
});

test('a wildcard over a domain of somebody’s own means no workload of the node; one over theirs does', () => {
  const permits = (entry: string, name: string, port: number) =>
    new AllowList([entry]).permits({ name, isAddress: false } as never, port);
  for (const entry of ['*.internal', '*.internal:5432']) {
    assert.ok(permits(entry, 'db.internal', entry.endsWith('5432') ? 5432 : 443));
    for (const port of [80, 443, 5432]) assert.not(permits(entry, 'api.skerry.internal', port));
  }
  assert.ok(permits('*.skerry.internal', 'api.skerry.internal', 80));
  assert.ok(permits('api.skerry.internal', 'api.skerry.internal', 80));
});

test.run();
