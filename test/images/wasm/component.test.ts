import { readFile } from 'node:fs/promises';
import { parse } from '@bytecodealliance/jco';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ComponentInfo, inspectComponent, unofferedImports } from '../../../images/wasm/component.ts';
import { OFFERED_IMPORTS } from '../../../runtime/drivers/wasm/offer.ts';
import { javaScriptComponent } from '../../support/javascript.ts';

const test = suite('inspecting a component');

const hello = 'export default { fetch() { return new Response("hello") } }';

/** One of each kind of import and export that the format has, nested components and a core module too. */
const everything = `(component $everything
  (type $t (instance (export "f" (func))))
  (import "wasi:http/types@0.2.10" (instance (export "fields" (type (sub resource)))))
  (import "wasi:keyvalue/store@0.2.0" (instance (type $t)))
  (import "plain-function" (func (param "a" u32) (result string)))
  (import "some-resource" (type $r (sub resource)))
  (import "an-alias" (type (eq $r)))
  (import "a-component" (component))
  (import "a-module" (core module (import "a" "b" (func)) (export "c" (func))))
  (core module $m (memory (export "memory") 1) (func (export "run")))
  (core instance $i (instantiate $m))
  (component $inner (export "nothing" (instance $none)) (instance $none))
  (func $run (canon lift (core func $i "run")))
  (instance $handler (export "run" (func $run)))
  (export "run" (func $run))
  (export "wasi:http/incoming-handler@0.2.10" (instance $handler))
  (@producers (processed-by "a tool" "1.2"))
)`;

function info(bytes: Uint8Array): ComponentInfo {
  const found = inspectComponent(bytes, 'test.wasm');
  if (!found.ok) throw new Error(`refused: ${found.why}`);
  return found.info;
}

/** A component that passes on, under `name`, what it imported. */
async function exporting(name: string, sort = 'instance'): Promise<ComponentInfo> {
  return info(await parse(`(component (import "x" (${sort})) (export "${name}" (${sort} 0)))`));
}

test('a text file, an image and an empty file are not Wasm', () => {
  for (const text of ['', '\0as', 'export default {}', '\x89PNG\r\n']) {
    const found = inspectComponent(Buffer.from(text, 'latin1'), 'x');
    assert.is(found.ok, false);
    if (!found.ok) assert.is(found.problem, 'not-wasm');
  }
});

test('a core module is told from a component', async () => {
  const found = inspectComponent(await parse('(module (func (export "_start")))'), 'x');
  assert.is(!found.ok && found.problem, 'core-module');
});

test('a format version of neither kind is named', () => {
  const found = inspectComponent(Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0a, 0, 1, 0), 'x');
  assert.is(!found.ok && found.problem, 'invalid');
  assert.match(found.ok ? '' : found.why, '0a 00 01 00');
});

test('imports, exports, name and producers are read from every kind of entry', async () => {
  const found = info(await parse(everything));
  assert.equal(found.imports, [
    'wasi:http/types@0.2.10',
    'wasi:keyvalue/store@0.2.0',
    'plain-function',
    'some-resource',
    'a-component',
    'a-module',
  ]);
  assert.equal(found.exports, ['run', 'wasi:http/incoming-handler@0.2.10']);
  assert.is(found.handler, 'p2');
  assert.is(found.name, 'everything');
  assert.equal(found.producers, ['a tool 1.2']);
  assert.is(found.file, 'test.wasm');
});

test('an HTTP handler is found in both versions of WASI, release candidates included', async () => {
  const cases: [string, 'p2' | 'p3' | null][] = [
    ['wasi:http/incoming-handler@0.2.0', 'p2'],
    ['wasi:http/incoming-handler@0.2.12', 'p2'],
    ['wasi:http/handler@0.3.0', 'p3'],
    ['wasi:http/handler@0.3.0-rc-2025-09-16', 'p3'],
    ['wasi:http/incoming-handler@0.1.0', null],
    ['wasi:http/incoming-handler@0.20.0', null],
    ['wasi:http/handler@0.2.0', null],
    ['wasi:http/outgoing-handler@0.2.0', null],
    ['wasi:cli/run@0.2.0', null],
    ['evil:http/incoming-handler@0.2.0', null],
  ];
  for (const [name, expected] of cases) assert.is((await exporting(name)).handler, expected, name);
});

test('what is named like a handler but is not an instance does not count', async () => {
  assert.is((await exporting('wasi:http/incoming-handler@0.2.0', 'component')).handler, null);
});

test('a component built from JavaScript and one of everything say what they import that is not offered', async () => {
  const javascript = info(await readFile(await javaScriptComponent(hello)));
  assert.is(javascript.handler, 'p2');
  assert.ok(javascript.imports.includes('wasi:http/types@0.2.10'));
  assert.equal(unofferedImports(javascript, OFFERED_IMPORTS), []);
  assert.equal(unofferedImports(info(await parse(everything)), OFFERED_IMPORTS), [
    'wasi:keyvalue/store@0.2.0',
    'plain-function',
    'some-resource',
    'a-component',
    'a-module',
  ]);
});

test('an offer holds for one series of versions and for the interfaces it names', () => {
  const offered = [
    { package: 'a:b', interfaces: ['c'], version: '0.2' },
    { package: 'd:e', interfaces: '*', version: '0.3' },
  ] as const;
  const imports = [
    'a:b/c@0.2.0',
    'a:b/c@0.2',
    'a:b/c@0.20.0',
    'a:b/c',
    'a:b/x@0.2.0',
    'd:e/f@0.3.0-rc-1',
    'd:e/f@0.2.0',
  ];
  assert.equal(unofferedImports({ imports }, offered), ['a:b/c@0.20.0', 'a:b/c', 'a:b/x@0.2.0', 'd:e/f@0.2.0']);
});

test('an offer may be one draft alone, or a name without a version', () => {
  const offered = [
    { package: 'a:b', interfaces: '*', version: '0.2.0-draft' },
    { package: 'd:e', interfaces: ['f'], version: '' },
  ] as const;
  const imports = ['a:b/c@0.2.0-draft', 'a:b/c@0.2.0-draft2', 'a:b/c@0.2.0', 'd:e/f', 'd:e/f@0.1.0', 'd:e/g', 'd:e'];
  assert.equal(unofferedImports({ imports }, offered), [
    'a:b/c@0.2.0-draft2',
    'a:b/c@0.2.0',
    'd:e/f@0.1.0',
    'd:e/g',
    'd:e',
  ]);
});

test('an import missed twice is named once', () => {
  assert.equal(unofferedImports({ imports: ['a:b/c@1.0.0', 'a:b/c@1.0.0'] }, []), ['a:b/c@1.0.0']);
});

test('a component cut off anywhere is refused, or shows nothing that the whole does not', async () => {
  const bytes = await parse(everything);
  const whole = info(bytes);
  const boundaries = new Set<number>();
  for (let end = 0; end < bytes.length; end++) {
    const found = inspectComponent(bytes.subarray(0, end), 'x');
    if (!found.ok) continue;
    boundaries.add(end);
    assert.ok(found.info.imports.every((name, index) => whole.imports[index] === name));
    assert.ok(found.info.exports.every((name, index) => whole.exports[index] === name));
  }
  assert.ok(boundaries.size < 40, `only cuts between two sections can go unseen: ${[...boundaries]}`);
});

test('half of a real component is refused, and the reason is the size that a section claims', async () => {
  const bytes = await readFile(await javaScriptComponent(hello));
  const found = inspectComponent(bytes.subarray(0, bytes.length >> 1), 'x');
  assert.is(!found.ok && found.problem, 'invalid');
  assert.match(found.ok ? '' : found.why, /claims \d+ bytes and \d+ are left/);
});

test('claimed counts and sizes cost nothing: four billion imports in twelve bytes are refused', () => {
  const preamble = [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0];
  const four = [0xff, 0xff, 0xff, 0xff, 0x0f];
  const hostile = [
    [10, 5, ...four], // imports
    [11, 5, ...four], // exports
    [10, ...four], // the section itself
    [10, 7, 1, 0, ...four], // a name
    [10, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // a number of more than 32 bits
    [0, ...four, 1],
  ];
  for (const section of hostile) {
    const found = inspectComponent(Uint8Array.from([...preamble, ...section]), 'x');
    assert.is(!found.ok && found.problem, 'invalid', String(section));
  }
});

/** Numbers from 0 to 1, the same for the same seed: mulberry32, by Tommy Ettinger (public domain). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Refuses or reports, never throws; and what it reports comes from the bytes. */
function holds(bytes: Uint8Array): void {
  const found = inspectComponent(bytes, 'x');
  if (found.ok) {
    const names = [...found.info.imports, ...found.info.exports];
    assert.ok(names.length <= bytes.length);
    const text = names.length < 100 ? Buffer.from(bytes) : null;
    for (const name of text ? names : []) assert.ok(text?.includes(name), name);
    unofferedImports(found.info, OFFERED_IMPORTS);
  } else {
    assert.ok(['not-wasm', 'core-module', 'invalid'].includes(found.problem));
    assert.is(typeof found.why, 'string');
  }
}

const seed = Number(process.env.SKERRY_TEST_SEED ?? Date.now() % 2 ** 32);

test(`random changes and cuts of components never throw (SKERRY_TEST_SEED=${seed})`, async () => {
  const random = seeded(seed);
  const below = (end: number) => Math.floor(random() * end);
  const small = await parse(everything);
  for (let round = 0; round < 20_000; round++) {
    const bytes = small.slice(0, random() < 0.3 ? below(small.length) : small.length);
    for (let changes = below(4); changes >= 0 && bytes.length > 0; changes--) bytes[below(bytes.length)] = below(256);
    holds(bytes);
  }
  for (let round = 0; round < 5_000; round++) {
    holds(
      Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0, ...Array.from({ length: below(64) }, () => below(256))]),
    );
  }
});

test(`so do those of a real component of 13 MB (SKERRY_TEST_SEED=${seed})`, async () => {
  const random = seeded(seed);
  const below = (end: number) => Math.floor(random() * end);
  const whole = await readFile(await javaScriptComponent(hello));
  // Most of it is code, which is passed over: change what is read, at both ends.
  const place = () => (random() < 0.5 ? below(8192) : whole.length - 1 - below(8192));
  for (let round = 0; round < 2_000; round++) {
    const at = Array.from({ length: 1 + below(3) }, place);
    const before = at.map((index) => {
      const value = whole[index]!;
      whole[index] = below(256);
      return value;
    });
    const end = random() < 0.2 ? below(whole.length) : whole.length;
    const found = inspectComponent(whole.subarray(0, end), 'x');
    assert.ok(found.ok || typeof found.why === 'string');
    // In reverse, since a place may have been drawn twice.
    for (let index = at.length - 1; index >= 0; index--) whole[at[index]!] = before[index]!;
  }
  assert.ok(inspectComponent(whole, 'x').ok, 'all changes were undone');
});

test.run();
