//! A guest that uses what a function may be given beside WASI: configuration, stored keys, a log with levels. Its path
//! picks what it does; README.md lists them.

#[path = "../../behaviours/src/answer.rs"]
mod answer;
mod keys;

use wasip2::http::types::{IncomingRequest, ResponseOutparam};
use wasip2::io::streams::StreamError;

use answer::{Answer, json_string};
use bindings::wasi::config::store as config;
use bindings::wasi::logging0_1_0_draft::logging;

mod bindings {
    wit_bindgen::generate!({
        path: [
            "../../../native/wasm/wit/deps/config-0.2.0-rc.1",
            "../../../native/wasm/wit/deps/keyvalue-0.2.0-draft",
            "../../../native/wasm/wit/deps/keyvalue-0.2.0-draft2",
            "../../../native/wasm/wit/deps/logging",
            "../../../native/wasm/wit/deps/logging-0.1.0-draft",
        ],
        inline: "
            package test:services;
            world services {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:logging/logging;
                import wasi:logging/logging@0.1.0-draft;
            }
        ",
        world: "test:services/services",
        generate_all,
    });
}

wasip2::http::proxy::export!(Services);

struct Services;

impl wasip2::exports::http::incoming_handler::Guest for Services {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let parts: Vec<&str> = target.trim_start_matches('/').split('/').collect();
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let said = match part(0) {
            "config" => configuration(part(1)),
            "log" => log(),
            "log-much" => log_much(part(1).parse().unwrap_or_default()),
            _ => keys::operate(part(0), part(1), part(2), part(3), &content(&request)),
        };
        Answer::new(200).text(out, &said);
    }
}

/// The body of the request.
fn content(request: &IncomingRequest) -> Vec<u8> {
    let body = request.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(65536) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return bytes,
            Err(error) => panic!("the body broke off: {error:?}"),
        }
    }
}

fn configuration(name: &str) -> String {
    if !name.is_empty() {
        return config::get(name).expect("it can be read").unwrap_or("none".into());
    }
    let mut all = config::get_all().expect("it can be read");
    all.sort();
    let fields: Vec<_> =
        all.iter().map(|(name, value)| format!("{}:{}", json_string(name), json_string(value))).collect();
    format!("{{{}}}", fields.join(","))
}

fn log() -> String {
    use bindings::wasi::logging::logging as unversioned;
    let levels = [
        (logging::Level::Trace, "trace"),
        (logging::Level::Debug, "debug"),
        (logging::Level::Info, "info"),
        (logging::Level::Warn, "warn"),
        (logging::Level::Error, "error"),
        (logging::Level::Critical, "critical"),
    ];
    for (level, name) in levels {
        logging::log(level, "orders", &format!("a message of level {name}"));
    }
    unversioned::log(unversioned::Level::Info, "", "a message without a context");
    "logged".into()
}

fn log_much(lines: u32) -> String {
    for _ in 0..lines {
        logging::log(logging::Level::Info, "noise", &"x".repeat(1000));
    }
    "logged".into()
}
