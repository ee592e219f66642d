//! Guests that go wrong.

use std::hint::black_box;

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{
    ErrorCode, Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
};

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

/// Sends a part of its body, then traps, after so many milliseconds.
pub fn half(out: ResponseOutparam, after: u64) {
    let body = Answer::new(200).header("content-type", "text/plain").start(out);
    write(&body.write().expect("the stream is taken once"), b"the first half");
    if after > 0 {
        monotonic_clock::subscribe_duration(after * 1_000_000).block();
    }
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

/// Has the host keep 80 MB for it, or only hold them one after the other, and answers.
pub fn hoard(what: &str, out: ResponseOutparam) {
    const COUNT: usize = 2000;
    let text = "v".repeat(40_000);
    let headers = || Fields::from_list(&[("x-large".into(), text.clone().into_bytes())]).expect("headers");
    let method = || {
        let request = OutgoingRequest::new(Fields::new());
        request.set_method(&Method::Other(text.clone())).expect("a token");
        request
    };
    let body = || {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().expect("the body is taken once");
        let stream = body.write().expect("the stream is taken once");
        assert!(stream.check_write().is_ok_and(|room| room >= text.len() as u64));
        stream.write(text.as_bytes()).expect("there is room");
        drop(stream);
        // The host keeps what was written until the request is sent.
        std::mem::forget(body);
        request
    };
    match what {
        "headers" => drop((0..COUNT).map(|_| headers()).collect::<Vec<_>>()),
        "messages" => drop((0..COUNT).map(|_| OutgoingResponse::new(headers())).collect::<Vec<_>>()),
        "copies" => {
            let first = headers();
            let copy = || {
                let copy = first.clone();
                copy.append("x-one-more", b"1").expect("a header that is allowed");
                copy
            };
            drop((0..COUNT).map(|_| copy()).collect::<Vec<_>>());
        }
        "methods" => drop((0..COUNT).map(|_| method()).collect::<Vec<_>>()),
        "bodies" => drop((0..COUNT / 3).map(|_| body()).collect::<Vec<_>>()),
        _ => (0..COUNT).for_each(|_| drop((headers(), OutgoingResponse::new(headers()), method()))),
    }
    Answer::new(200).text(out, "kept");
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

/// Tries statuses that HTTP does not have, and answers what came of it.
pub fn bad_status(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let said = [0, 99, 1000, u16::MAX].map(|status| match response.set_status_code(status) {
        Ok(()) => format!("{status} was taken"),
        Err(()) => format!("{status} was refused"),
    });
    Answer::new(200).text(out, &said.join("\n"));
}

/// Tries headers that HTTP does not have, or that are not the guest's to set, and answers what came of it.
pub fn bad_headers(out: ResponseOutparam) {
    let fields = Fields::new();
    let tries: [(&str, &[u8]); 11] = [
        ("", b"v"),
        ("two words", b"v"),
        ("x-colon:", b"v"),
        ("x-line", b"a\r\nx-smuggled: 1"),
        ("x-null", b"a\0b"),
        ("connection", b"close"),
        ("transfer-encoding", b"chunked"),
        ("host", b"elsewhere"),
        ("content-length", b"many"),
        ("content-length", b"+5"),
        ("content-length", b""),
    ];
    let mut said: Vec<String> =
        tries.iter().map(|(name, value)| format!("{name}: {:?}", fields.append(name, value))).collect();
    fields.append("content-length", b"5").expect("a length that is allowed");
    said.push(format!("twice: {:?}", fields.append("content-length", b"5")));
    Answer::new(200).text(out, &said.join("\n"));
}

/// Answers, then answers again with the same handle.
pub fn twice(out: ResponseOutparam) {
    let handle = out.handle();
    Answer::new(200).text(out, "the first");
    // SAFETY: the handle is gone with the first answer, and that is what the host must notice.
    let again = unsafe { ResponseOutparam::from_handle(handle) };
    Answer::new(200).text(again, "the second");
}

/// Prints without end.
pub fn chatter() {
    loop {
        println!("and so on");
    }
}
