//! `skerry-unpack`: unpacks one layer of a container image into a folder, in the form that overlayfs wants.
//!
//! Standard input is the layer as it came (tar, gzip or zstd); the working directory is the folder, empty and owned by the
//! root of the user namespace that this process is started in. One line of JSON on standard output says how it went; the status is 0 when the
//! layer is whole, has the digest that was asked for, and is on the disk.
mod confine;
mod entry;
mod failure;
mod layer;
mod stream;
mod tree;

use failure::{Failure, Problem, Result};
use layer::LayerLimits;
use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use stream::{Stream, StreamLimits};

struct Options {
    diff_id: String,
    stream: StreamLimits,
    layer: LayerLimits,
}

fn options(arguments: impl Iterator<Item = String>) -> Option<Options> {
    let arguments: Vec<String> = arguments.collect();
    let (mut diff_id, mut max_bytes, mut max_ratio, mut max_entries, mut ids) = (None, None, None, None, None);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--diff-id" => diff_id = Some(value.clone()),
            "--max-bytes" => max_bytes = value.parse().ok(),
            "--max-ratio" => max_ratio = value.parse().ok().filter(|ratio| *ratio > 0),
            "--max-entries" => max_entries = value.parse().ok(),
            "--ids" => ids = value.parse().ok().filter(|ids| *ids > 0),
            _ => return None,
        }
    }
    Some(Options {
        diff_id: diff_id?,
        stream: StreamLimits { max_bytes: max_bytes?, max_ratio: max_ratio? },
        layer: LayerLimits { max_entries: max_entries?, ids: ids? },
    })
}

struct Report {
    entries: u64,
    bytes: u64,
}

fn run(options: Options) -> Result<Report> {
    confine::confine()?;
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    let input = input.map_err(|error| Failure::new(Problem::Failed, format!("standard input: {error}")))?;
    let mut stream = Stream::start(File::from(input), options.stream)?;
    let entries = layer::unpack(&mut stream, options.layer)?;
    let measured = stream.finish()?;
    if measured.diff_id != options.diff_id {
        let why = format!("the image says {}, and it has {}", options.diff_id, measured.diff_id);
        return Err(Failure::new(Problem::DiffId, why));
    }
    Ok(Report { entries, bytes: measured.bytes })
}

/// A string of JSON. What is not printable ASCII is escaped: the line ends up in terminals.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ 0x20..=0x7e) if byte != b'"' && byte != b'\\' => json.push(char::from(byte)),
            _ => write!(json, "\\u{unit:04x}").expect("a string takes it"),
        }
    }
    json + "\""
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("usage: skerry-unpack --diff-id D --max-bytes N --max-ratio N --max-entries N --ids N <LAYER");
        return ExitCode::from(2);
    };
    match run(options) {
        Ok(Report { entries, bytes }) => {
            println!("{{\"ok\":true,\"entries\":{entries},\"bytes\":{bytes}}}");
            ExitCode::SUCCESS
        }
        Err(Failure { problem, why, entry }) => {
            let entry = entry.map_or("null".to_owned(), |name| quoted(&String::from_utf8_lossy(&name)));
            let (problem, why) = (quoted(problem.word()), quoted(&why));
            println!("{{\"ok\":false,\"problem\":{problem},\"why\":{why},\"entry\":{entry}}}");
            ExitCode::FAILURE
        }
    }
}
