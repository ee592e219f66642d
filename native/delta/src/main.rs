//! `skerry-delta`: writes what a blob is beside another one, and makes the blob of that again.
//!
//! `encode BASE BLOB` writes one frame of zstd that has the base as its dictionary; `decode BASE SIZE` reads such a frame
//! from standard input, and writes the blob. Both write to standard output. The status is 0 when all of it was written; else
//! there is a line on standard error. What is decoded comes from anybody: this process writes nothing but that, and has the
//! limits below.
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;
use zstd::stream::raw::CParameter;

/// Of a base and of a blob, in bytes. A frame's window is the whole blob, and the base is read into memory.
const MAX_BYTES: u64 = 64 << 20;
/// Of the window that a frame may ask for: as much as the longest blob.
const WINDOW_LOG_MAX: u32 = 26;
/// The figures of docs/registry.md are this level's; the next ones save a tenth and take five times as long.
const LEVEL: i32 = 3;
/// Of a run, in seconds. The longest blobs take less than one.
const CPU_SECONDS: u64 = 20;
/// Of the address space, in bytes: base, window, and what zstd needs for both.
const MEMORY: u64 = 512 << 20;

fn confine() -> io::Result<()> {
    for (resource, limit) in [
        (Resource::Cpu, CPU_SECONDS),
        (Resource::As, MEMORY),
        // Nothing is written but to pipes.
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nproc, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn length(file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if size > MAX_BYTES { Err(invalid("the file is too long")) } else { Ok(size) }
}

fn read(base: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(base)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length(&file)?).map_err(io::Error::other)?);
    (&mut file).take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn encode(base: &[u8], blob: &str) -> io::Result<()> {
    let mut blob = File::open(blob)?;
    let size = length(&blob)?;
    let mut encoder = zstd::Encoder::with_ref_prefix(io::stdout().lock(), LEVEL, base)?;
    // Code and memory images keep their place roughly: what is alike lies about the length of the blob apart.
    encoder.long_distance_matching(true)?;
    encoder.window_log((size.max(base.len() as u64).max(1 << 16)).next_power_of_two().ilog2())?;
    encoder.set_parameter(CParameter::ContentSizeFlag(true))?;
    encoder.set_pledged_src_size(Some(size))?;
    io::copy(&mut blob, &mut encoder)?;
    encoder.finish()?.flush()
}

/// Fails when the frame has not exactly `size` bytes. No more than that are ever written.
fn decode(base: &[u8], size: u64) -> io::Result<()> {
    if size > MAX_BYTES {
        return Err(invalid("the blob is too long"));
    }
    let mut decoder = zstd::Decoder::with_ref_prefix(BufReader::new(io::stdin().lock()), base)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    let mut out = io::stdout().lock();
    let written = io::copy(&mut (&mut decoder).take(size), &mut out)?;
    if written < size {
        return Err(invalid("the delta ends too early"));
    }
    if decoder.read(&mut [0])? > 0 {
        return Err(invalid("the delta has more bytes than the blob"));
    }
    out.flush()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = confine().and_then(|()| match arguments[..] {
        ["encode", base, blob] => encode(&read(base)?, blob),
        ["decode", base, size] => decode(&read(base)?, size.parse().map_err(io::Error::other)?),
        _ => Err(io::Error::other("usage: skerry-delta encode BASE BLOB >DELTA, skerry-delta decode BASE SIZE <DELTA")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
