import { parse } from '@bytecodealliance/jco';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { section } from '../../../../../images/wasm/core-sections.ts';
import {
  dataModule,
  failedGrows,
  hostMemory,
  hostModule,
  instrument,
  instrumentAll,
  knownPages,
  startFunction,
} from '../../../../../runtime/drivers/wasm/jco/wasm-instrument.ts';
import { splitModule } from '../../../../../runtime/drivers/wasm/jco/wasm-sections.ts';

const test = suite('jco: core modules that tell why they failed');

type Exports = Record<string, (...args: number[]) => number> & Record<string, { value: number }>;

async function exportsOf(text: string, imports = {}): Promise<Exports> {
  const { bytes } = instrument(await parse(text), false);
  return new WebAssembly.Instance(await WebAssembly.compile(bytes), imports).exports as Exports;
}

test('memory grows as before, and each refusal is counted', async () => {
  const { grow, ...rest } = await exportsOf(`(module
    (memory 1 3)
    (func (export "other") (result i32) (i32.const 7))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`);
  assert.is(rest.other!(), 7);
  assert.is(grow!(1), 1);
  assert.is(rest[failedGrows]!.value, 0);
  assert.is(grow!(2), -1);
  assert.is(grow!(1_000_000), -1);
  assert.is(rest[failedGrows]!.value, 2);
  assert.is(grow!(1), 2);
  assert.is(rest[failedGrows]!.value, 2);
});

test('tables grow as before, and each refusal is counted', async () => {
  for (const memory of ['', '(memory 1)']) {
    const { grow, ...rest } = await exportsOf(`(module ${memory}
      (table $a 1 1 funcref) (table $b 1 4 funcref)
      (func (export "grow") (param i32) (result i32) (table.grow $b (ref.null func) (local.get 0))))`);
    assert.is(grow!(2), 1);
    assert.is(rest[failedGrows]!.value, 0);
    assert.is(grow!(2), -1);
    assert.is(rest[failedGrows]!.value, 1);
    assert.is(grow!(1), 3);
    assert.is(rest[failedGrows]!.value, 1);
  }
});

const sizes = `(module
  (memory 2 70)
  (data (i32.const 0) "start")
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))`;

/** An instance with a memory that was given to it. */
async function withMemory(memory: WebAssembly.Memory): Promise<Exports> {
  const { bytes } = instrument(await parse(sizes), true);
  const imports = { [hostModule]: { [hostMemory]: memory } };
  const exports = new WebAssembly.Instance(await WebAssembly.compile(bytes), imports).exports as Exports;
  exports[knownPages]!.value = 2;
  return exports;
}

test('a given memory that was larger before looks new to the guest', async () => {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 8 });
  memory.grow(3);
  const { size, grow, read, ...rest } = await withMemory(memory);
  assert.is(size!(), 2);
  assert.is(read!(0), 's'.charCodeAt(0));
  assert.is(grow!(1), 2);
  assert.is(size!(), 3);
  assert.is(memory.buffer.byteLength, 5 * 65_536);
  assert.is(grow!(4), 3);
  assert.is(size!(), 7);
  assert.is(memory.buffer.byteLength, 7 * 65_536);
  assert.is(grow!(0), 7);
  assert.is(rest[failedGrows]!.value, 0);
  for (const pages of [2, 65_536, -1, 2 ** 31 - 1]) assert.is(grow!(pages), -1, `${pages} pages`);
  assert.is(rest[failedGrows]!.value, 4);
  assert.is(size!(), 7);
  assert.is(grow!(1), 7);
});

test('a memory tells its own limits when it is to be given', async () => {
  assert.equal(instrument(await parse('(module (memory 64 70))'), true).memory, { initial: 64, maximum: 70 });
  assert.equal(instrument(await parse('(module (memory 3))'), true).memory, { initial: 3, maximum: 65_536 });
  assert.is(instrument(await parse('(module (import "a" "m" (memory 3)))'), true).memory, null);
});

test('a memory whose size another module asks for stays with its module', async () => {
  const owner = await parse(sizes);
  const reader = await parse('(module (import "a" "m" (memory 1)) (func (export "f") (drop (memory.size))))');
  const user = await parse('(module (import "a" "m" (memory 1)) (func (export "f") (drop (i32.load (i32.const 0)))))');
  const all = (...modules: Uint8Array[]) => instrumentAll(modules.map((bytes) => ({ bytes, detach: true })));
  assert.is(all(owner, reader)[0]!.memory, null);
  assert.equal(all(owner, user)[0]!.memory, { initial: 2, maximum: 70 });
});

/** Instantiates a module whose data stands apart, as the engine does it. */
async function apart(text: string, pages: number): Promise<Exports> {
  const module = await parse(text);
  const { bytes, detached } = instrument(module, true, true);
  assert.ok(detached);
  const imports = { [hostModule]: { [hostMemory]: new WebAssembly.Memory({ initial: pages }) } };
  const exports = new WebAssembly.Instance(await WebAssembly.compile(bytes), imports).exports as Exports;
  const data = splitModule(module).content.get(section.data)!;
  new WebAssembly.Instance(await WebAssembly.compile(dataModule(data)), imports);
  return exports;
}

test('modules that differ only in their data and their memory become one, and each has its own data', async () => {
  const text = (pages: number, word: string) => `(module (memory ${pages})
    (data (i32.const 8) "${word}") (data (i32.const 10) "!")
    (func (export "size") (result i32) (memory.size))
    (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))`;
  const [one, two] = await Promise.all([parse(text(1, 'one')), parse(text(3, 'other'))]);
  assert.equal(instrument(one, true, true).bytes, instrument(two, true, true).bytes);
  for (const [pages, word] of [
    [1, 'on!'],
    [3, 'ot!er'],
  ] as const) {
    const { read } = await apart(text(pages, word.replace('!', 'x')), pages);
    assert.is(String.fromCharCode(...Array.from(word, (_, i) => read!(8 + i))), word);
  }
});

test('data that the code names, or that has no place of its own, stays with its module', async () => {
  for (const text of [
    '(module (memory 1) (data "passive") (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1))))',
    '(module (memory 1) (data (i32.const 0) "active") (func (data.drop 0)))',
    '(module (import "a" "g" (global i32)) (memory 1) (data (global.get 0) "where the global says"))',
  ]) {
    const { detached, bytes } = instrument(await parse(text), true, true);
    assert.not(detached, text);
    assert.ok(splitModule(bytes).content.has(section.data));
  }
});

test('instructions of every kind are stepped over on the way to memory.grow', async () => {
  const exports = await exportsOf(
    `(module
    (import "host" "f" (func $f (param i32) (result i32)))
    (import "host" "g" (global $g i32))
    (type $t (func (param i32) (result i32)))
    (table 1 funcref)
    (elem (i32.const 0) $f)
    (memory 1 2)
    (global $own (mut i64) (i64.const -1))
    (func (export "run") (param $p i32) (result i32) (local f32 f64 v128)
      (local.set 1 (f32.const 65.25)) (local.set 2 (f64.const -1e300))
      (local.set 3 (v128.const i32x4 64 64 64 64))
      (v128.store (i32.const 64) (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 3) (local.get 3)))
      (drop (i8x16.extract_lane_u 0 (local.get 3)))
      (global.set $own (i64.const 9223372036854775807))
      (memory.fill (i32.const 0) (i32.const 64) (i32.const 64))
      (memory.copy (i32.const 100) (i32.const 0) (i32.const 64))
      (block $a (block $b (br_table $a $b $a (local.get $p))))
      (drop (select (result i32) (i32.const 64) (i32.const 64) (local.get $p)))
      (drop (i32.trunc_sat_f64_s (local.get 2)))
      (drop (call_indirect (type $t) (i32.const 64) (i32.const 0)))
      (if (i32.load8_u offset=300 align=1 (i32.const 0)) (then unreachable))
      (i32.add (memory.grow (i32.const 1)) (i32.add (global.get $g) (call $f (i32.const 0x4000))))))`,
    {
      host: { f: (x: number) => x + 1, g: 1000 },
    },
  );
  assert.is(exports.run!(0), 1 + 1000 + 0x4001);
  assert.is(exports.run!(1), -1 + 1000 + 0x4001);
  assert.is(exports[failedGrows]!.value, 1);
});

test('the start function waits to be called', async () => {
  const exports = await exportsOf(`(module
    (global $g (export "g") (mut i32) (i32.const 0))
    (func $start (global.set $g (i32.const 5)))
    (start $start))`);
  assert.is(exports.g!.value, 0);
  exports[startFunction]!();
  assert.is(exports.g!.value, 5);
});

test('a module with neither stays as it is', async () => {
  const module = await parse('(module (func (export "f") (result i32) (i32.const 64)))');
  assert.is(instrument(module, true).bytes, module);
});

test('names stay, for the stack of a trap', async () => {
  const exports = await exportsOf(`(module (memory 1)
    (func $breaks unreachable)
    (func (export "run") (drop (memory.grow (i32.const 0))) (call $breaks)))`);
  assert.throws(
    () => exports.run!(),
    (error: Error) => /breaks/.test(error.stack ?? ''),
  );
});

test.run();
