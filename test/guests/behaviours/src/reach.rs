//! What the guest can reach beyond its own memory, told as JSON or text.

use std::fs;
use std::net::TcpStream;

use wasip2::cli::environment;
use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingBody, OutgoingRequest, ResponseOutparam, Scheme};

use crate::answer::{Answer, json_string};

pub fn environment(out: ResponseOutparam) {
    let variables: Vec<String> = environment::get_environment()
        .iter()
        .map(|(name, value)| format!("{}:{}", json_string(name), json_string(value)))
        .collect();
    let arguments: Vec<String> = environment::get_arguments().iter().map(|arg| json_string(arg)).collect();
    let body = format!("{{\"env\":{{{}}},\"args\":[{}]}}", variables.join(","), arguments.join(","));
    Answer::new(200).header("content-type", "application/json").text(out, &body);
}

pub fn files(out: ResponseOutparam) {
    let folders: Vec<String> = preopens::get_directories().iter().map(|(_, path)| json_string(path)).collect();
    let passwd = match fs::read("/etc/passwd") {
        Ok(bytes) => format!("read {} bytes", bytes.len()),
        Err(error) => format!("refused: {error}"),
    };
    let written = match fs::write("/tmp/guest", b"x") {
        Ok(()) => "written".into(),
        Err(error) => format!("refused: {error}"),
    };
    let body = format!(
        "{{\"preopens\":[{}],\"read\":{},\"write\":{}}}",
        folders.join(","),
        json_string(&passwd),
        json_string(&written)
    );
    Answer::new(200).header("content-type", "application/json").text(out, &body);
}

pub fn connect(out: ResponseOutparam) {
    let said = match TcpStream::connect("127.0.0.1:1") {
        Ok(_) => "connected".into(),
        Err(error) => format!("refused: {:?}", error.kind()),
    };
    Answer::new(200).text(out, &said);
}

/// `?url=http://host:port/path`, sent with GET.
pub fn outbound(query: &str, out: ResponseOutparam) {
    let url = query.strip_prefix("url=").unwrap_or("http://127.0.0.1:1/");
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).expect("a scheme that is allowed");
    request.set_authority(Some(authority)).expect("an authority that is allowed");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path that is allowed");
    let body = request.body().expect("the body is taken once");
    let said = match outgoing_handler::handle(request, None) {
        Err(code) => format!("refused: {code:?}"),
        Ok(future) => {
            let _ = OutgoingBody::finish(body, None);
            future.subscribe().block();
            match future.get().expect("it is ready").expect("it is taken once") {
                Ok(response) => format!("status {}", response.status()),
                Err(code) => format!("refused: {code:?}"),
            }
        }
    };
    Answer::new(200).text(out, &said);
}
