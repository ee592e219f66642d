//! The WASI 0.3 guest: a few of the behaviours of its older sister.

mod outbound;

use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_future, wit_stream};

mod bindings {
    wit_bindgen::generate!({
        path: "../../../native/wasm/wit/deps/keyvalue-0.2.0-draft2",
        inline: "
            package test:behaviours;
            world storing {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
            }
        ",
        world: "test:behaviours/storing",
        generate_all,
    });
}

wasip3::http::service::export!(Behaviours);

struct Behaviours;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl wasip3::exports::http::handler::Guest for Behaviours {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let name = parts.next().unwrap_or_default().to_string();
        let number: u64 = parts.next().and_then(|text| text.parse().ok()).unwrap_or_default();
        match name.as_str() {
            "hello" => Ok(text(200, "hello")),
            "echo" => Ok(echo(request)),
            "headers" => Ok(headers(&request)),
            "count" => Ok(text(200, &(CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string())),
            "sleep" => {
                monotonic_clock::wait_for(number * 1_000_000).await;
                Ok(text(200, "slept"))
            }
            "after" => {
                wit_bindgen::spawn_local(async {
                    monotonic_clock::wait_for(100_000_000).await;
                    println!("after the answer");
                });
                Ok(text(200, "answered"))
            }
            "log" => {
                println!("a line on stdout");
                eprintln!("a line on stderr");
                Ok(text(200, "logged"))
            }
            "outbound" => Ok(text(200, &outbound::get(query).await)),
            "proxy" => outbound::proxy(request, query).await,
            "download" => Ok(text(200, &outbound::download(query).await)),
            "drop" => Ok(text(200, &outbound::drop_answer(query, number).await)),
            "at-once" => Ok(text(200, &outbound::at_once(query, number).await)),
            "increment" => Ok(text(200, &increment(number as i64).to_string())),
            // Two outbound requests, one after the other, and something stored.
            "twice" => {
                let (one, other) = (outbound::get(query).await, outbound::get(query).await);
                Ok(text(200, &format!("{one}\n{other}\n{}", increment(1))))
            }
            // 80 MB of headers.
            "hoard" => {
                let large = || vec![("x-large".to_string(), vec![b'v'; 40_000])];
                let kept: Vec<_> = (0..2000).map(|_| Fields::from_list(&large()).expect("headers")).collect();
                Ok(text(200, &format!("kept {}", kept.len())))
            }
            "half" => Ok(half()),
            "short" => Ok(short()),
            "big" => Ok(big(number)),
            "loop" => {
                let mut turns = 0u64;
                loop {
                    turns = std::hint::black_box(turns).wrapping_add(1);
                }
            }
            "alloc" => {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                while kept.len() < 65_536 {
                    kept.push(std::hint::black_box(vec![1; 1 << 20]));
                }
                Ok(text(200, "there was no end to it"))
            }
            "trap" => core::arch::wasm32::unreachable(),
            "error" => Err(ErrorCode::InternalError(Some("an error of the guest".into()))),
            _ => Ok(text(404, "no such behaviour")),
        }
    }
}

fn increment(number: i64) -> i64 {
    use bindings::wasi::keyvalue::{atomics, store};
    let bucket = store::open("b").expect("a bucket");
    atomics::increment(&bucket, "n", number).expect("a number")
}

fn respond(status: u16, headers: &[(&str, &str)], body: impl FnOnce(Body) + 'static) -> Response {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header that is allowed");
    }
    let (sender, contents) = wit_stream::new();
    let (trailers, trailers_later) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields, Some(contents), trailers_later);
    response.set_status_code(status).expect("a status that is allowed");
    drop(trailers);
    body(sender);
    response
}

type Body = wit_bindgen::StreamWriter<u8>;

fn text(status: u16, text: &str) -> Response {
    let bytes = text.as_bytes().to_vec();
    respond(status, &[("content-type", "text/plain")], |mut body| {
        wit_bindgen::spawn_local(async move {
            body.write_all(bytes).await;
        });
    })
}

/// The request's body is handed on as it is, trailers too.
fn echo(request: Request) -> Response {
    let fields = Fields::new();
    for value in request.get_headers().get("content-type") {
        fields.append("content-type", &value).expect("a header that is allowed");
    }
    let (done, done_later) = wit_future::new(|| Ok(()));
    drop(done);
    let (contents, trailers) = Request::consume_body(request, done_later);
    let (response, _sent) = Response::new(fields, Some(contents), trailers);
    response
}

fn headers(request: &Request) -> Response {
    let method = match request.get_method() {
        Method::Get => "GET".to_string(),
        Method::Post => "POST".to_string(),
        other => format!("{other:?}"),
    };
    let pairs: Vec<String> = request
        .get_headers()
        .copy_all()
        .into_iter()
        .map(|(name, value)| format!("[{:?},{:?}]", name, String::from_utf8_lossy(&value)))
        .collect();
    let body = format!(
        "{{\"method\":{:?},\"target\":{:?},\"authority\":{:?},\"headers\":[{}]}}",
        method,
        request.get_path_with_query().unwrap_or_default(),
        request.get_authority().unwrap_or_default(),
        pairs.join(",")
    );
    text(200, &body)
}

/// Sends a part of its body, then traps.
fn half() -> Response {
    respond(200, &[], |mut body| {
        wit_bindgen::spawn_local(async move {
            body.write_all(b"the first half".to_vec()).await;
            core::arch::wasm32::unreachable();
        });
    })
}

/// Claims more than it sends.
fn short() -> Response {
    respond(200, &[("content-length", "100")], |mut body| {
        wit_bindgen::spawn_local(async move {
            body.write_all(b"ten bytes.".to_vec()).await;
        });
    })
}

/// So many bytes, byte N being N modulo 251.
fn big(bytes: u64) -> Response {
    respond(200, &[], move |mut body| {
        wit_bindgen::spawn_local(async move {
            let mut sent = 0;
            while sent < bytes {
                let size = 65_000.min(bytes - sent);
                let piece = (sent..sent + size).map(|at| (at % 251) as u8).collect();
                if !body.write_all(piece).await.is_empty() {
                    return;
                }
                sent += size;
            }
        });
    })
}
