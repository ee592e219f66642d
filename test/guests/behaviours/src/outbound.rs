//! Outbound requests, each to the URL behind `?url=`.

use std::collections::BTreeMap;

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::answer::{Answer, write};

/// Answers with status and body, or with how the request was refused. `how` sets what is peculiar about the request.
pub fn get(query: &str, how: &str, out: ResponseOutparam) {
    let fields = Fields::new();
    let options = RequestOptions::new();
    match how.split_once('/').unwrap_or((how, "")) {
        // So many headers of 1000 bytes.
        ("headers", count) => {
            for at in 0..count.parse().unwrap() {
                fields.append(&format!("x-{at}"), &[b'h'; 1000]).expect("a header that is allowed");
            }
        }
        ("header", name) => {
            if fields.append(name, b"1").is_err() {
                return Answer::new(200).text(out, "refused: HeaderError");
            }
        }
        ("first-byte-timeout", ms) => {
            let nanoseconds = ms.parse::<u64>().unwrap() * 1_000_000;
            options.set_first_byte_timeout(Some(nanoseconds)).expect("timeouts are taken");
        }
        _ => {}
    }
    let request = request(query, Method::Get, fields);
    let said = match outgoing_handler::handle(request, Some(options)).and_then(wait) {
        Err(code) => refused(&code),
        Ok(response) => {
            let status = response.status();
            let headers = response.headers().entries();
            let headers = headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
            match read(&response) {
                Ok(body) => {
                    format!("status {status}\n{}\n{}", headers.collect::<String>(), String::from_utf8_lossy(&body))
                }
                Err((bytes, why)) => format!("status {status}, broken after {bytes} bytes: {why}"),
            }
        }
    };
    Answer::new(200).text(out, &said);
}

/// Hands the request on, and its answer back.
pub fn proxy(received: IncomingRequest, query: &str, out: ResponseOutparam) {
    let outgoing = request(query, received.method(), Fields::new());
    let body = outgoing.body().expect("the body is taken once");
    let answer = match outgoing_handler::handle(outgoing, None) {
        Ok(answer) => answer,
        Err(code) => return Answer::new(502).text(out, &refused(&code)),
    };
    let incoming = received.consume().expect("the body is taken once");
    copy(&incoming.stream().expect("once"), body.write().expect("once"));
    let _ = OutgoingBody::finish(body, None);
    match wait(answer) {
        Err(code) => Answer::new(502).text(out, &refused(&code)),
        Ok(response) => {
            let mut head = Answer::new(response.status());
            for (name, value) in response.headers().entries() {
                head = head.header(&name, &String::from_utf8_lossy(&value));
            }
            let to = head.start(out);
            let from = response.consume().expect("the body is taken once");
            let whole = copy(&from.stream().expect("once"), to.write().expect("once"));
            let trailers = IncomingBody::finish(from);
            trailers.subscribe().block();
            if let (true, Some(Ok(Ok(trailers)))) = (whole, trailers.get()) {
                let copied =
                    trailers.map(|fields| Fields::from_list(&fields.entries()).expect("trailers that are allowed"));
                let _ = OutgoingBody::finish(to, copied);
            }
        }
    }
}

/// Sends so many bytes, byte N being N modulo 251.
pub fn upload(query: &str, bytes: u64, out: ResponseOutparam) {
    let outgoing = request(query, Method::Post, Fields::new());
    let body = outgoing.body().expect("the body is taken once");
    let said = match outgoing_handler::handle(outgoing, None) {
        Err(code) => refused(&code),
        Ok(answer) => {
            let stream = body.write().expect("once");
            let mut sent = 0;
            while sent < bytes {
                let piece: Vec<u8> = (sent..bytes.min(sent + 4096)).map(|at| (at % 251) as u8).collect();
                if !write(&stream, &piece) {
                    break;
                }
                sent += piece.len() as u64;
            }
            drop(stream);
            let _ = OutgoingBody::finish(body, None);
            match wait(answer) {
                Err(code) => refused(&code),
                Ok(response) => told(&response),
            }
        }
    };
    Answer::new(200).text(out, &said);
}

/// Sends a part of its body, more than waits anywhere on the way, and leaves it unfinished.
pub fn unfinished_upload(query: &str, out: ResponseOutparam) {
    let outgoing = request(query, Method::Post, Fields::new());
    let body = outgoing.body().expect("the body is taken once");
    let answer = outgoing_handler::handle(outgoing, None).expect("it can be sent");
    write(&body.write().expect("once"), &[b'x'; 1 << 20]);
    drop(body);
    let said = match wait(answer) {
        Err(code) => refused(&code),
        Ok(response) => told(&response),
    };
    Answer::new(200).text(out, &said);
}

/// Reads all of the answer and tells how much it was.
pub fn download(query: &str, out: ResponseOutparam) {
    let said = match outgoing_handler::handle(request(query, Method::Get, Fields::new()), None).and_then(wait) {
        Err(code) => refused(&code),
        Ok(response) => {
            let body = response.consume().expect("the body is taken once");
            let stream = body.stream().expect("once");
            let mut bytes = 0u64;
            loop {
                match stream.blocking_read(65536) {
                    Ok(piece) => bytes += piece.len() as u64,
                    Err(StreamError::Closed) => break format!("{bytes} bytes"),
                    Err(error) => break format!("broken after {bytes} bytes: {}", reason(error)),
                }
            }
        }
    };
    Answer::new(200).text(out, &said);
}

/// Waits for the head of an answer, drops the rest, and stays for a while.
pub fn drop_answer(query: &str, ms: u64, out: ResponseOutparam) {
    let answer = outgoing_handler::handle(request(query, Method::Get, Fields::new()), None).and_then(wait);
    drop(answer.expect("an answer"));
    monotonic_clock::subscribe_duration(ms * 1_000_000).block();
    Answer::new(200).text(out, "dropped");
}

/// Asks so many times, one after the other, and counts the outcomes.
pub fn many(query: &str, count: u64, out: ResponseOutparam) {
    let mut outcomes = BTreeMap::new();
    for _ in 0..count {
        let answer = outgoing_handler::handle(request(query, Method::Get, Fields::new()), None).and_then(wait);
        let outcome = match answer {
            Err(code) => format!("{code:?}"),
            Ok(response) => read(&response).map_or("broken".into(), |body| String::from_utf8_lossy(&body).into_owned()),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    Answer::new(200).text(out, &counted(&outcomes));
}

/// Asks so many times at once, and holds all the answers.
pub fn at_once(query: &str, count: u64, out: ResponseOutparam) {
    let send = |_| outgoing_handler::handle(request(query, Method::Get, Fields::new()), None);
    let sent: Vec<_> = (0..count).map(send).collect();
    let mut outcomes = BTreeMap::new();
    let mut held = Vec::new();
    for answer in sent {
        let outcome = match answer.and_then(wait) {
            Err(code) => format!("{code:?}"),
            Ok(response) => {
                held.push(response);
                "answered".into()
            }
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    Answer::new(200).text(out, &counted(&outcomes));
}

fn counted(outcomes: &BTreeMap<String, u64>) -> String {
    outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}

fn request(query: &str, method: Method, fields: Fields) -> OutgoingRequest {
    let url = query.strip_prefix("url=").unwrap_or("http://127.0.0.1:1/");
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(fields);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_method(&method).expect("a method that is allowed");
    request.set_scheme(Some(&scheme)).expect("a scheme that is allowed");
    request.set_authority(Some(authority)).expect("an authority that is allowed");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path that is allowed");
    request
}

fn wait(answer: FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    answer.subscribe().block();
    answer.get().expect("it is ready").expect("it is taken once")
}

fn refused(code: &ErrorCode) -> String {
    format!("refused: {code:?}")
}

fn told(response: &IncomingResponse) -> String {
    match read(response) {
        Ok(body) => format!("status {}: {}", response.status(), String::from_utf8_lossy(&body)),
        Err((bytes, why)) => format!("status {}, broken after {bytes} bytes: {why}", response.status()),
    }
}

/// The whole body, or how much of it came and what happened then.
fn read(response: &IncomingResponse) -> Result<Vec<u8>, (usize, String)> {
    let body = response.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(65536) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(error) => return Err((bytes.len(), reason(error))),
        }
    }
}

fn reason(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".into(),
        StreamError::LastOperationFailed(error) => {
            let code = wasip2::http::types::http_error_code(&error);
            code.map_or_else(|| error.to_debug_string(), |code| format!("{code:?}"))
        }
    }
}

/// False when it broke off.
fn copy(from: &InputStream, to: OutputStream) -> bool {
    loop {
        match to.blocking_splice(from, 65536) {
            Ok(_) => {}
            Err(StreamError::Closed) => return to.blocking_flush().is_ok(),
            Err(_) => return false,
        }
    }
}
