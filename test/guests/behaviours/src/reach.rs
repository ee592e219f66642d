//! What the guest can reach beyond its own memory, told as JSON or text.

use std::fs;
use std::net::TcpStream;

use wasip2::cli::environment;
use wasip2::filesystem::preopens;
use wasip2::http::types::ResponseOutparam;

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
