import { parse } from '@bytecodealliance/jco';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { InitialMemoryError, limitMemory } from '../../../../../runtime/drivers/wasm/jco/wasm-limits.ts';

const test = suite('jco: memory limits written into core modules');
const page = 65_536;

/** A module's memory, after it was held to the limit. */
async function memoryOf(bytes: Uint8Array): Promise<{ grow(pages: number): number; buffer: ArrayBuffer }> {
  const instance = new WebAssembly.Instance(await WebAssembly.compile(bytes));
  return instance.exports.m as never;
}

/** How many pages can be added, one by one. */
function growable(memory: { grow(pages: number): number }): number {
  let pages = 0;
  try {
    for (;;) {
      memory.grow(1);
      pages++;
    }
  } catch {
    return pages;
  }
}

test('a memory without a maximum of its own grows to the limit and no further', async () => {
  const module = await parse('(module (memory (export "m") 2))');
  const [limited] = limitMemory([{ bytes: module, instances: 1 }], 10 * page);
  const memory = await memoryOf(limited!.bytes);
  assert.is(memory.buffer.byteLength, 2 * page);
  assert.is(growable(memory), 8);
});

test('a maximum below the limit stays', async () => {
  const module = await parse('(module (memory (export "m") 1 3))');
  const [limited] = limitMemory([{ bytes: module, instances: 1 }], 10 * page);
  assert.is(growable(await memoryOf(limited!.bytes)), 2);
});

test('memories of several modules stay under the limit together', async () => {
  const modules = await Promise.all([
    parse('(module (memory (export "m") 1))'),
    parse('(module (memory (export "m") 4))'),
    parse('(module (memory (export "m") 1 2))'),
  ]);
  const limited = limitMemory(
    modules.map((bytes) => ({ bytes, instances: 1 })),
    20 * page,
  );
  let pages = 1 + 4 + 1;
  for (const { bytes } of limited) pages += growable(await memoryOf(bytes));
  assert.ok(pages <= 20, `${pages} pages`);
  assert.ok(pages >= 18, `${pages} pages: what one cannot use goes to the others`);
});

test('a module with two instances counts twice', async () => {
  const module = await parse('(module (memory (export "m") 1))');
  const [limited] = limitMemory([{ bytes: module, instances: 2 }], 10 * page);
  assert.is(growable(await memoryOf(limited!.bytes)), 4);
  assert.throws(
    () => limitMemory([{ bytes: module, instances: 11 }], 10 * page),
    (error: unknown) => error instanceof InitialMemoryError && error.needed === 11 * page,
  );
});

test('more at the start than the limit is an error that says how much', async () => {
  const module = await parse('(module (memory 100) (table 1000 funcref))');
  assert.throws(
    () => limitMemory([{ bytes: module, instances: 1 }], 100 * page),
    (error: unknown) => error instanceof InitialMemoryError && error.needed === 100 * page + 1000 * 32,
  );
});

test('tables count, and cannot grow without end', async () => {
  const module = await parse('(module (memory 1) (table (export "t") 10 funcref))');
  const [limited] = limitMemory([{ bytes: module, instances: 1 }], 2 * page);
  const table = new WebAssembly.Instance(await WebAssembly.compile(limited!.bytes)).exports.t as {
    length: number;
    grow(by: number): number;
  };
  assert.throws(() => table.grow(page / 32));
  table.grow(16);
  assert.is(table.length, 26);
});

test('a module that only imports its memory stays as it is', async () => {
  const module = await parse('(module (import "a" "m" (memory 1)) (func (export "f")))');
  const [limited] = limitMemory([{ bytes: module, instances: 1 }], page);
  assert.equal(Buffer.from(limited!.bytes), Buffer.from(module));
});

test('a memory that the host gives counts like one of its own', async () => {
  const [own, given] = await Promise.all([parse('(module (memory (export "m") 1))'), parse('(module)')]);
  const memory = { initial: 3, maximum: 65_536 };
  const [limited, held] = limitMemory(
    [
      { bytes: own, instances: 1 },
      { bytes: given, instances: 1, memory },
    ],
    10 * page,
  );
  assert.is(growable(await memoryOf(limited!.bytes)), 3);
  assert.equal(held!.memory, { initial: 3, maximum: 6 });
});

test.run();
