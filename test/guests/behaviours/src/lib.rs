//! A guest whose path picks what it does, well or badly. Tests name the paths; README.md lists them.

mod answer;
mod bodies;
mod faults;
mod outbound;
mod reach;

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use answer::{Answer, json_string};

wasip2::http::proxy::export!(Behaviours);

struct Behaviours;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Behaviours {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let name = parts.next().unwrap_or_default();
        let argument = parts.next().unwrap_or_default();
        let number = || argument.parse::<u64>().unwrap_or_default();
        match name {
            "hello" => Answer::new(200).text(out, "hello"),
            "headers" => headers(&request, out),
            "cookies" => Answer::new(200)
                .header("set-cookie", "a=1; Path=/")
                .header("set-cookie", "b=2; HttpOnly")
                .text(out, "two cookies"),
            "status" => Answer::new(number() as u16).text(out, ""),
            "count" => {
                let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
                Answer::new(200).text(out, &calls.to_string());
            }
            "sleep" => {
                monotonic_clock::subscribe_duration(number() * 1_000_000).block();
                Answer::new(200).text(out, "slept");
            }
            "after" => {
                Answer::new(200).text(out, "answered");
                monotonic_clock::subscribe_duration(100_000_000).block();
                println!("after the answer");
            }
            "print" => print(number() as usize, out),
            "log" => {
                println!("a line on stdout");
                eprintln!("a line on stderr");
                Answer::new(200).text(out, "logged");
            }
            "echo" => bodies::echo(request, out),
            "discard" => bodies::discard(request, out),
            "stream" => bodies::stream(out),
            "big" => bodies::big(number(), out),
            "trailers" => bodies::trailers(request, out),
            "trap" => faults::trap(),
            "panic" => panic!("a panic of the guest"),
            "exit" => std::process::exit(number() as i32),
            "loop" => faults::endless(),
            "burn" => burn(number(), out),
            "alloc" => faults::allocate(out),
            "no-answer" => {}
            "half" => faults::half(out, 0),
            "half-later" => faults::half(out, 50),
            "short" => faults::short(out),
            "long" => faults::long(out),
            "unfinished" => faults::unfinished(out),
            "error" => faults::error(out),
            "huge-header" => faults::huge_header(out),
            "hoard" => faults::hoard(argument, out),
            "bad-status" => faults::bad_status(out),
            "bad-headers" => faults::bad_headers(out),
            "twice" => faults::twice(out),
            "chatter" => faults::chatter(),
            "insist" => bodies::insist(out),
            "recurse" => faults::recurse(out),
            "env" => reach::environment(out),
            "files" => reach::files(out),
            "connect" => reach::connect(out),
            "outbound" => outbound::get(query, argument, out),
            "proxy" => outbound::proxy(request, query, out),
            "upload" => outbound::upload(query, number(), out),
            "unfinished-upload" => outbound::unfinished_upload(query, out),
            "download" => outbound::download(query, out),
            "drop" => outbound::drop_answer(query, number(), out),
            "many" => outbound::many(query, number(), out),
            "at-once" => outbound::at_once(query, number(), out),
            _ => Answer::new(404).text(out, "no such behaviour"),
        }
    }
}

/// Takes CPU time: so many thousand turns of a loop, of some nanoseconds each.
fn burn(thousands: u64, out: ResponseOutparam) {
    let mut sum = 0u64;
    for turn in 0..thousands * 1_000 {
        sum = black_box(sum).wrapping_mul(3).wrapping_add(turn);
    }
    Answer::new(200).text(out, &sum.to_string());
}

/// What the guest received, as JSON: names and values in the order given, values as Latin-1.
fn headers(request: &IncomingRequest, out: ResponseOutparam) {
    let entries: Vec<String> = request
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| {
            let value: String = value.iter().map(|&byte| byte as char).collect();
            format!("[{},{}]", json_string(&name), json_string(&value))
        })
        .collect();
    let target = request.path_with_query().map_or("null".into(), |target| json_string(&target));
    let authority = request.authority().map_or("null".into(), |authority| json_string(&authority));
    let scheme = format!("{:?}", request.scheme());
    let body = format!(
        "{{\"method\":{},\"target\":{},\"authority\":{},\"scheme\":{},\"headers\":[{}]}}",
        json_string(&method_name(&request.method())),
        target,
        authority,
        json_string(&scheme),
        entries.join(",")
    );
    Answer::new(200).header("content-type", "application/json").text(out, &body);
}

fn print(bytes: usize, out: ResponseOutparam) {
    use std::io::Write;
    let piece = [b'x'; 4096];
    let mut left = bytes;
    let mut stdout = std::io::stdout();
    while left > 0 {
        let now = left.min(piece.len());
        if stdout.write_all(&piece[..now]).is_err() {
            break;
        }
        left -= now;
    }
    let _ = stdout.flush();
    Answer::new(200).text(out, "printed");
}

fn method_name(method: &Method) -> String {
    match method {
        Method::Get => "GET".into(),
        Method::Head => "HEAD".into(),
        Method::Post => "POST".into(),
        Method::Put => "PUT".into(),
        Method::Delete => "DELETE".into(),
        Method::Connect => "CONNECT".into(),
        Method::Options => "OPTIONS".into(),
        Method::Trace => "TRACE".into(),
        Method::Patch => "PATCH".into(),
        Method::Other(name) => name.clone(),
    }
}
