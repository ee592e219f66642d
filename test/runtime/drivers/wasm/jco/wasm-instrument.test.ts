import { parse } from '@bytecodealliance/jco';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { failedGrows, instrument, startFunction } from '../../../../../runtime/drivers/wasm/jco/wasm-instrument.ts';

const test = suite('jco: core modules that tell why they failed');

type Exports = Record<string, (...args: number[]) => number> & Record<string, { value: number }>;

async function exportsOf(text: string, imports = {}): Promise<Exports> {
  const bytes = instrument(await parse(text));
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
  assert.is(instrument(module), module);
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
