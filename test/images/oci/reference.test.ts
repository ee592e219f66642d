import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { formatReference, type NamedReference, parseReference } from '../../../images/oci/index.ts';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

const named: Record<string, [registry: string, repository: string, tag: string | null, digest: string | null]> = {
  'registry.example.com/team/app:1.0': ['registry.example.com', 'team/app', '1.0', null],
  'registry.example.com/app': ['registry.example.com', 'app', 'latest', null],
  [`registry.example.com/app@${digest}`]: ['registry.example.com', 'app', null, digest],
  [`registry.example.com/app:1.0@${digest}`]: ['registry.example.com', 'app', '1.0', digest],
  'localhost/app': ['localhost', 'app', 'latest', null],
  'localhost:5050/app:Tag_1.x-y': ['localhost:5050', 'app', 'Tag_1.x-y', null],
  '127.0.0.1:5050/a/b/c': ['127.0.0.1:5050', 'a/b/c', 'latest', null],
  '[::1]:5050/app': ['[::1]:5050', 'app', 'latest', null],
  'Registry/app': ['registry', 'app', 'latest', null],
  my_image: ['', 'my_image', 'latest', null],
  'my_image:5050': ['', 'my_image', '5050', null],
  'team/a.b__c--d': ['', 'team/a.b__c--d', 'latest', null],
};

for (const [text, [registry, repository, tag, digestPart]] of Object.entries(named))
  test(`${text} is an image ${registry === '' ? "in the node's own store" : `in the registry ${registry}`}`, () => {
    const kind = registry === '' ? 'own' : 'registry';
    assert.equal(parseReference(text), { kind, registry, repository, tag, digest: digestPart });
  });

test('a reference is written in one way, and read again as the same image', () => {
  for (const [text, written] of [
    ['Localhost:5050/app', 'localhost:5050/app:latest'],
    [`localhost/app:1@${digest}`, `localhost/app@${digest}`],
    ['app', 'app:latest'],
  ] as const) {
    assert.is(formatReference(parseReference(text) as NamedReference), written);
    assert.is(formatReference(parseReference(written) as NamedReference), written);
  }
});

test('folders and archives are named by their paths, a folder with a tag where it has several images', () => {
  assert.equal(parseReference('oci:build/out'), { kind: 'oci', path: 'build/out', tag: null });
  assert.equal(parseReference('oci:/build/out:v1.2'), { kind: 'oci', path: '/build/out', tag: 'v1.2' });
  assert.equal(parseReference('oci:C:/out'), { kind: 'oci', path: 'C:/out', tag: null });
  assert.equal(parseReference('docker-archive:a:b.tar'), { kind: 'docker-archive', path: 'a:b.tar' });
});

const invalid: Record<string, string> = {
  '': 'empty',
  ':tag': 'empty',
  '@sha256:00': 'digest|hex',
  'app:': 'tag',
  'app:-x': 'tag',
  [`app:${'x'.repeat(129)}`]: 'tag',
  'app@sha512:00': 'hex',
  [`app@${digest}@${digest}`]: 'two digests',
  [`app@${digest.toUpperCase()}`]: 'hex',
  'localhost/App': 'lower case',
  'localhost/': 'repository',
  'localhost//app': 'repository',
  'localhost/../app': 'repository',
  'localhost/app/': 'repository',
  '/app': 'repository',
  'a b': 'repository',
  '-app': 'repository',
  'app\n': 'repository',
  'localhost:port/app': 'registry',
  'local_host:80/app': 'registry',
  '--tls-verify=false.x/app': 'registry',
  [`a/${'x'.repeat(254)}`]: 'longer',
  'oci:': 'path',
  'oci::tag': 'path',
  'oci:folder:': 'tag',
  'oci:folder:a tag': 'tag',
  'docker-archive:': 'path',
  'docker-archive:a\0b': 'NUL',
};

for (const [text, why] of Object.entries(invalid))
  test(`${JSON.stringify(text.slice(0, 60))} is refused, with the reason`, () => {
    try {
      parseReference(text);
      assert.unreachable();
    } catch (error) {
      assert.is((error as SkerryError).code, 'REFERENCE_INVALID');
      assert.match((error as SkerryError).message, new RegExp(why));
    }
  });

test.run();
