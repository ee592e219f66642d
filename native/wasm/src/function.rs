//! A function: a component with the settings of one revision, its figures, and the instances that it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::code::Code;
use crate::instance::Kept;
use crate::pools::Class;
use crate::shared::Crowd;
use crate::waiting::Account;
use crate::workloads::Workload;
use wasmtime_wasi_config::WasiConfigVariables;

pub struct Settings {
    /// Bytes of all memories and tables of an instance together.
    pub memory_limit: usize,
    /// CPU time that one request may use.
    pub cpu_limit: Option<Duration>,
    /// 0 to 9, 9 being the most urgent.
    pub priority: u8,
    /// Requests that one instance may serve.
    pub reuse: u32,
    pub env: Vec<(String, String)>,
    pub grants: Grants,
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

/// The share of the newest request in the moving average is one in so many.
const NEWEST: u64 = 8;

pub struct Function {
    pub code: Arc<Code>,
    pub settings: Arc<Settings>,
    workload: Arc<Workload>,
    pub figures: Figures,
    /// CPU time that a request of it takes, in nanoseconds: a moving average, 0 before the first.
    service: AtomicU64,
    /// Instances that wait for their next request.
    pub kept: Kept,
    /// Instances that serve several requests at once.
    pub crowd: Crowd,
}

impl Function {
    pub fn new(code: Arc<Code>, settings: Settings, workload: Arc<Workload>) -> Self {
        Function {
            code,
            settings: Arc::new(settings),
            workload,
            service: AtomicU64::new(0),
            figures: Figures::default(),
            kept: Kept::default(),
            crowd: Crowd::default(),
        }
    }

    /// Who pays for the CPU time of its guests.
    pub fn account(&self) -> Account {
        Account { workload: self.workload.number, priority: self.settings.priority }
    }

    /// CPU time that a request is expected to take, by those before it.
    pub fn expected(&self) -> Duration {
        Duration::from_nanos(self.service.load(Ordering::Relaxed))
    }

    /// Notes what a request took, in nanoseconds. Of two that are noted at once one may be lost.
    pub fn note_service(&self, nanoseconds: u64) {
        let before = self.service.load(Ordering::Relaxed);
        let after = if before == 0 { nanoseconds } else { before - before / NEWEST + nanoseconds / NEWEST };
        self.service.store(after, Ordering::Relaxed);
    }

    /// The class of places that its instances take, by the most memory that it needed so far.
    pub fn class(&self) -> Class {
        let peak = self.figures.peak.load(Ordering::Relaxed);
        Class::of(peak.max(self.code.initial_memory as usize))
    }
}

/// What is counted of a function since it was loaded.
#[derive(Default)]
pub struct Figures {
    /// CPU time of its guests in nanoseconds.
    cpu: AtomicU64,
    /// The most memory that one instance had, in bytes.
    peak: AtomicUsize,
    /// Instances made, and the time that this took in nanoseconds.
    made: AtomicU64,
    making: AtomicU64,
    /// Requests served by an instance that had served before.
    reused: AtomicU64,
}

impl Figures {
    pub fn add_cpu(&self, nanoseconds: u64) {
        self.cpu.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub fn note_peak(&self, bytes: usize) {
        self.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    pub fn note_made(&self, took: Duration) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.making.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub fn note_reused(&self) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }

    /// CPU time in ms, peak in bytes, instances made, time to make them in ms, requests in an instance used before.
    pub fn list(&self) -> Vec<f64> {
        let milliseconds = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64 / 1e6;
        vec![
            milliseconds(&self.cpu),
            self.peak.load(Ordering::Relaxed) as f64,
            self.made.load(Ordering::Relaxed) as f64,
            milliseconds(&self.making),
            self.reused.load(Ordering::Relaxed) as f64,
        ]
    }
}
