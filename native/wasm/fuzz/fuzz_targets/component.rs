#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skerry_wasm::fuzz::component(bytes));
