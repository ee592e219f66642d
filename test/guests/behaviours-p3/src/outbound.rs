//! Outbound requests, each to the URL behind `?url=`.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_future;

pub async fn get(query: &str) -> String {
    match client::send(bodiless(query)).await {
        Err(code) => format!("refused: {code:?}"),
        Ok(response) => {
            let status = response.get_status_code();
            match read(response).await {
                Ok(body) => format!("status {status}\n\n{}", String::from_utf8_lossy(&body)),
                Err(code) => format!("status {status}, broken: {code:?}"),
            }
        }
    }
}

/// Hands the request on, and its answer back, both ways at once.
pub async fn proxy(received: Request, query: &str) -> Result<Response, ErrorCode> {
    let method = received.get_method();
    let (done, done_later) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Request::consume_body(received, done_later);
    let (request, _sent) = Request::new(Fields::new(), Some(contents), trailers, None);
    aim(&request, query, method);
    let answer = client::send(request).await?;
    drop(done);
    let fields = Fields::new();
    for (name, value) in answer.get_headers().copy_all() {
        fields.append(&name, &value).expect("a header that is allowed");
    }
    let status = answer.get_status_code();
    let (taken, taken_later) = wit_future::new(|| Ok(()));
    drop(taken);
    let (contents, trailers) = Response::consume_body(answer, taken_later);
    let (response, _sent) = Response::new(fields, Some(contents), trailers);
    response.set_status_code(status).expect("a status that is allowed");
    Ok(response)
}

/// Reads all of the answer and tells how much it was.
pub async fn download(query: &str) -> String {
    match client::send(bodiless(query)).await {
        Err(code) => format!("refused: {code:?}"),
        Ok(response) => match read(response).await {
            Ok(body) => format!("{} bytes", body.len()),
            Err(code) => format!("broken: {code:?}"),
        },
    }
}

/// Waits for the head of an answer, drops the rest, and stays for a while.
pub async fn drop_answer(query: &str, ms: u64) -> String {
    drop(client::send(bodiless(query)).await.expect("an answer"));
    monotonic_clock::wait_for(ms * 1_000_000).await;
    "dropped".into()
}

/// Asks so many times at once, and holds all the answers.
pub async fn at_once(query: &str, count: u64) -> String {
    type Sent = Pin<Box<dyn Future<Output = Result<Response, ErrorCode>>>>;
    let mut sent: Vec<Sent> = (0..count).map(|_| Box::pin(client::send(bodiless(query))) as Sent).collect();
    let mut held = Vec::new();
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    poll_fn(|cx| {
        sent.retain_mut(|each| {
            let Poll::Ready(answer) = each.as_mut().poll(cx) else { return true };
            let outcome = match answer {
                Err(code) => format!("{code:?}"),
                Ok(response) => {
                    held.push(response);
                    "answered".into()
                }
            };
            *outcomes.entry(outcome).or_insert(0) += 1;
            false
        });
        if sent.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}

fn bodiless(query: &str) -> Request {
    let (trailers, trailers_later) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _sent) = Request::new(Fields::new(), None, trailers_later, None);
    aim(&request, query, Method::Get);
    request
}

fn aim(request: &Request, query: &str, method: Method) {
    let url = query.strip_prefix("url=").unwrap_or("http://127.0.0.1:1/");
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_method(&method).expect("a method that is allowed");
    request.set_scheme(Some(&scheme)).expect("a scheme that is allowed");
    request.set_authority(Some(authority)).expect("an authority that is allowed");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path that is allowed");
}

async fn read(response: Response) -> Result<Vec<u8>, ErrorCode> {
    let (taken, taken_later) = wit_future::new(|| Ok(()));
    let (mut contents, trailers) = Response::consume_body(response, taken_later);
    let mut bytes = Vec::new();
    loop {
        let (status, piece) = contents.read(Vec::with_capacity(65536)).await;
        bytes.extend(piece);
        if !matches!(status, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    drop(taken);
    trailers.await?;
    Ok(bytes)
}
