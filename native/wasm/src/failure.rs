//! Why a request failed, and how a wasmtime error is told as one of these reasons.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::limits::Limits;

/// The codes are shared with runtime/drivers/wasm/wasmtime/failures.ts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Trapped(String),
    Exited(i32),
    NoAnswer,
    BadAnswer(String),
    /// It returned in the middle of its answer's body.
    Unfinished,
    Error(String),
    Memory,
    Deadline,
    /// The client left, or the function was closed: nobody waits for the answer.
    Stopped,
    /// Every slot of the instance pool is taken.
    Full,
    /// A fault of the engine itself.
    Internal(String),
    /// It used more CPU time than a request may.
    Cpu,
}

impl Failure {
    pub fn code(&self) -> u32 {
        match self {
            Failure::Trapped(_) => 1,
            Failure::Exited(_) => 2,
            Failure::NoAnswer => 3,
            Failure::BadAnswer(_) => 4,
            Failure::Error(_) => 5,
            Failure::Memory => 6,
            Failure::Deadline => 7,
            Failure::Stopped => 8,
            Failure::Full => 9,
            Failure::Internal(_) => 10,
            Failure::Cpu => 11,
            Failure::Unfinished => 12,
        }
    }

    pub fn detail(&self) -> String {
        match self {
            Failure::Trapped(why) | Failure::BadAnswer(why) | Failure::Error(why) | Failure::Internal(why) => {
                why.clone()
            }
            Failure::Exited(status) => status.to_string(),
            _ => String::new(),
        }
    }
}

/// What went wrong while a request was served.
pub enum ServeError {
    /// Found by Skerry.
    Failure(Failure),
    /// Told by wasmtime: a trap, an exit, a limit.
    Wasm(wasmtime::Error),
}

impl From<Failure> for ServeError {
    fn from(failure: Failure) -> Self {
        ServeError::Failure(failure)
    }
}

impl From<wasmtime::Error> for ServeError {
    fn from(error: wasmtime::Error) -> Self {
        ServeError::Wasm(error)
    }
}

/// The reason behind a wasmtime error, and the trap's backtrace for the log of the function.
pub fn classify(error: &wasmtime::Error, limits: &Limits) -> (Failure, Option<String>) {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (Failure::Exited(exit.0), None);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return (Failure::Full, None);
    }
    let why = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => first_line(&error.root_cause().to_string()),
    };
    let log = Some(backtrace(&why, error));
    // A guest that was refused memory aborts in its own way, most often by `unreachable`: the limit is the reason.
    if limits.was_exceeded() { (Failure::Memory, log) } else { (Failure::Trapped(why), log) }
}

/// wasmtime collects at most 20 frames (`Config::wasm_backtrace_max_frames`) and takes their names from the component's
/// name section where it has one.
fn backtrace(why: &str, error: &wasmtime::Error) -> String {
    match error.downcast_ref::<WasmBacktrace>() {
        Some(trace) => format!("trap: {why}\n{trace}\n"),
        None => format!("trap: {why}\n"),
    }
}

pub fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_string()
}
