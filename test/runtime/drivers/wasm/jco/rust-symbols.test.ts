import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readableSymbol } from '../../../../../runtime/drivers/wasm/jco/rust-symbols.ts';

const test = suite('jco: names of Rust functions in a backtrace');

const names: [symbol: string, readable: string][] = [
  ['_ZN10behaviours6faults4trap17h5bf5c86a05362926E', 'behaviours::faults::trap'],
  [
    '_ZN84_$LT$wasip2..imports..wasi..io..streams..StreamError$u20$as$u20$core..fmt..Debug$GT$3fmt17hcf86d5fcef31deb2E',
    '<wasip2::imports::wasi::io::streams::StreamError as core::fmt::Debug>::fmt',
  ],
  ['_RNvNtCshXfaRvt2tfW_3std7process5abort', 'std::process::abort'],
  ['_RNvCsfLfy6EI15iL_7___rustc12___rust_abort', '__rustc::__rust_abort'],
  ['_RNCNvNtCshXfaRvt2tfW_3std9panicking13panic_handler0B5_', 'std::panicking::panic_handler::{closure#0}'],
  [
    '_RINvNtNtCshXfaRvt2tfW_3std3sys9backtrace26___rust_end_short_backtraceNCNvNtB6_9panicking13panic_handler0zEB6_',
    'std::sys::backtrace::__rust_end_short_backtrace::<std::panicking::panic_handler::{closure#0}, !>',
  ],
  // From RFC 2603.
  ['_RNvNtC7mycrate3foo3bar', 'mycrate::foo::bar'],
  ['_RINvNtC3std3mem8align_ofdE', 'std::mem::align_of::<f64>'],
  ['_RNvXs_C7mycrateNtB4_3FooNtNtC4core3fmt5Debug3fmt', '<mycrate::Foo as core::fmt::Debug>::fmt'],
  ['_RINvC1a1fRhQShAhj4_FhEuDNtC1a1TEL_E', 'a::f::<&u8, &mut [u8], [u8; 4], fn(u8), dyn a::T>'],
];

test('a symbol of either form is told as it was written', () => {
  for (const [symbol, readable] of names) assert.is(readableSymbol(symbol), readable, symbol);
});

test('any other name stays, and so does one that is broken off, refers to itself, or would grow without end', () => {
  const others = [
    'abort',
    'wasi:http/incoming-handler@0.2.12#handle',
    '_ZN3foo',
    '_ZN99999999foo3barE',
    '_ZN4$uffffff$E',
    '_RNvC3foo',
    '_RNvB_3foo',
    `_R${'NvNtNt'.repeat(1000)}`,
    `_RINvC1a1f${'T'.repeat(50_000)}E`,
    `_RINvC1a1f${'TB_B_'.repeat(2000)}E`,
    '_Rwhatever',
  ];
  for (const name of others) assert.is(readableSymbol(name), name);
});

test('every beginning of a symbol is taken without an exception', () => {
  for (const [symbol] of names) {
    for (let length = 0; length < symbol.length; length++) readableSymbol(symbol.slice(0, length));
  }
});

test.run();
