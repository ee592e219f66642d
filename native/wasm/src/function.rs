//! A function: a component with the settings of one revision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::host::Host;

/// A compiled component, linked: what only has to be done once for all functions that share it.
pub enum Code {
    /// Exports wasi:http/incoming-handler@0.2.x.
    P2(ProxyPre<Host>),
    /// Exports wasi:http/handler@0.3.x.
    P3(ServicePre<Host>),
}

/// What a function may use beyond its own memory.
#[derive(Default)]
pub struct Grants {
    /// What wasi:config tells it.
    pub config: WasiConfigVariables,
    pub outbound: Outbound,
}

/// Outbound HTTP requests that the guest of one request may make; Node decides where to.
#[derive(Clone, Copy, Default)]
pub struct Outbound {
    /// In all; none when nothing is on the allow-list.
    pub requests: u32,
    /// Whose answers the guest holds at one time.
    pub at_once: u32,
}

pub struct Function {
    pub code: Arc<Code>,
    /// Bytes of all memories and tables of an instance together.
    pub memory_limit: usize,
    pub env: Vec<(String, String)>,
    pub grants: Grants,
    cpu: AtomicU64,
    peak: AtomicUsize,
}

impl Function {
    pub fn new(code: Arc<Code>, memory_limit: usize, env: Vec<(String, String)>, grants: Grants) -> Self {
        Function { code, memory_limit, env, grants, cpu: AtomicU64::new(0), peak: AtomicUsize::new(0) }
    }

    /// Adds CPU time of a guest thread, in nanoseconds.
    pub fn add_cpu(&self, nanoseconds: u64) {
        self.cpu.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Notes the peak of an instance's memory, in bytes.
    pub fn note_peak(&self, bytes: usize) {
        self.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// CPU time so far in nanoseconds, and the highest peak of memory in bytes.
    pub fn stats(&self) -> (u64, usize) {
        (self.cpu.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }
}
