//! Bodies that are whole and right: echoed, streamed, large, with trailers.

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, IncomingBody, IncomingRequest, OutgoingBody, ResponseOutparam};
use wasip2::io::streams::StreamError;

use crate::answer::{Answer, json_string, write};

/// Sends each piece of the request back as it comes.
pub fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let kind = request.headers().get("content-type");
    let kind = kind.first().map(|value| String::from_utf8_lossy(value).into_owned());
    let incoming = request.consume().expect("the body is taken once");
    let from = incoming.stream().expect("the stream is taken once");
    let body =
        Answer::new(200).header("content-type", kind.as_deref().unwrap_or("application/octet-stream")).start(out);
    let to = body.write().expect("the stream is taken once");
    loop {
        match from.blocking_read(65536) {
            Ok(bytes) => {
                if !write(&to, &bytes) {
                    return;
                }
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
    drop(from);
    drop(to);
    OutgoingBody::finish(body, None).expect("the body is finished once");
}

/// Answers without reading the request's body.
pub fn discard(request: IncomingRequest, out: ResponseOutparam) {
    drop(request);
    Answer::new(200).text(out, "did not read");
}

/// Ten lines, 20 ms apart.
pub fn stream(out: ResponseOutparam) {
    let body = Answer::new(200).header("content-type", "text/plain").start(out);
    let to = body.write().expect("the stream is taken once");
    for line in 0..10 {
        if line > 0 {
            monotonic_clock::subscribe_duration(20_000_000).block();
        }
        if !write(&to, format!("line {line}\n").as_bytes()) {
            return;
        }
    }
    drop(to);
    OutgoingBody::finish(body, None).expect("the body is finished once");
}

/// Three lines, 20 ms apart, and a panic when one cannot be written; says so when it has come to its end.
pub fn insist(out: ResponseOutparam) {
    let body = Answer::new(200).header("content-type", "text/plain").start(out);
    let to = body.write().expect("the stream is taken once");
    for line in 0..3 {
        assert!(write(&to, format!("line {line}\n").as_bytes()), "line {line} could not be written");
        monotonic_clock::subscribe_duration(20_000_000).block();
    }
    drop(to);
    OutgoingBody::finish(body, None).expect("the body is finished once");
    println!("insisted to the end");
}

/// So many bytes, byte N being N modulo 251, so that a lost or doubled piece shows.
pub fn big(bytes: u64, out: ResponseOutparam) {
    let body = Answer::new(200).header("content-type", "application/octet-stream").start(out);
    let to = body.write().expect("the stream is taken once");
    let pattern: Vec<u8> = (0..251 * 261u32).map(|at| (at % 251) as u8).collect();
    let mut sent = 0;
    while sent < bytes {
        let at = (sent % 251) as usize;
        let size = 65_000.min(bytes - sent) as usize;
        if !write(&to, &pattern[at..at + size]) {
            return;
        }
        sent += size as u64;
    }
    drop(to);
    OutgoingBody::finish(body, None).expect("the body is finished once");
}

/// Reads the request to its end, answers its trailers as JSON, and sends trailers of its own.
pub fn trailers(request: IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body is taken once");
    let from = incoming.stream().expect("the stream is taken once");
    while from.blocking_read(65536).is_ok() {}
    drop(from);
    let future = IncomingBody::finish(incoming);
    future.subscribe().block();
    let received = future.get().expect("it is ready").expect("it is taken once");
    let pairs: Vec<String> = received
        .expect("the request is whole")
        .map(|fields| fields.entries())
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| format!("[{},{}]", json_string(&name), json_string(&String::from_utf8_lossy(&value))))
        .collect();
    let body = Answer::new(200).header("content-type", "application/json").start(out);
    let to = body.write().expect("the stream is taken once");
    write(&to, format!("[{}]", pairs.join(",")).as_bytes());
    drop(to);
    let own = Fields::new();
    own.append("x-checksum", b"abc123").expect("a trailer that is allowed");
    OutgoingBody::finish(body, Some(own)).expect("the body is finished once");
}
