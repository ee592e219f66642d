//! Guests that go wrong.

use std::hint::black_box;

use wasip2::http::types::{ErrorCode, OutgoingBody, ResponseOutparam};

use crate::answer::{Answer, write};

#[inline(never)]
pub fn trap() {
    core::arch::wasm32::unreachable()
}

pub fn endless() {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}

/// Takes memory, and touches it, until there is none.
pub fn allocate(out: ResponseOutparam) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    while kept.len() < 65_536 {
        kept.push(black_box(vec![1; 1 << 20]));
    }
    Answer::new(200).text(out, "there was no end to it");
}

/// Sends a part of its body, then traps.
pub fn half(out: ResponseOutparam) {
    let body = Answer::new(200).header("content-type", "text/plain").start(out);
    write(&body.write().expect("the stream is taken once"), b"the first half");
    trap();
}

/// Claims more than it sends.
pub fn short(out: ResponseOutparam) {
    let body = Answer::new(200).header("content-length", "100").start(out);
    write(&body.write().expect("the stream is taken once"), b"ten bytes.");
    let _ = OutgoingBody::finish(body, None);
}

/// Claims less than it sends.
pub fn long(out: ResponseOutparam) {
    let body = Answer::new(200).header("content-length", "4").start(out);
    write(&body.write().expect("the stream is taken once"), b"ten bytes.");
    let _ = OutgoingBody::finish(body, None);
}

/// Returns in the middle of its body, without finishing it.
pub fn unfinished(out: ResponseOutparam) {
    let body = Answer::new(200).header("content-type", "text/plain").start(out);
    write(&body.write().expect("the stream is taken once"), b"and then");
    std::mem::forget(body);
}

pub fn error(out: ResponseOutparam) {
    ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("an error of the guest".into()))));
}

/// 2 MB of headers.
pub fn huge_header(out: ResponseOutparam) {
    let value = "v".repeat(2048);
    let mut answer = Answer::new(200);
    for _ in 0..1024 {
        answer = answer.header("x-large", &value);
    }
    answer.text(out, "large");
}

pub fn recurse(out: ResponseOutparam) {
    Answer::new(200).text(out, &deeper(1).to_string());
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[(depth % 64) as usize]
}
