//! What the machine uses, from /proc.
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// /proc counts in these, on every architecture (USER_HZ).
const TICK_MS: u64 = 10;

/// Held open: it works whatever the workload mounts over /proc.
pub struct Proc(OwnedFd);

impl Proc {
    pub fn open() -> rustix::io::Result<Self> {
        openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }

    fn read(&self, name: &str) -> String {
        let mut text = String::new();
        if let Ok(file) = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            let _ = File::from(file).read_to_string(&mut text);
        }
        text
    }

    /// The first number of the line that begins with `name`.
    fn number(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        value.unwrap_or(0)
    }

    /// Bytes of the machine's memory, and what of it is there to be had.
    pub fn memory(&self) -> (u64, u64) {
        let bytes = |name| self.number("meminfo", name) * 1024;
        (bytes("MemTotal:"), bytes("MemAvailable:"))
    }

    /// Time that the CPUs were not idle, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let text = self.read("stat");
        let fields = text.lines().next().unwrap_or("").split_whitespace().skip(1);
        let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        // user nice system idle iowait irq softirq steal (proc(5)); guest time is in user's.
        let busy = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<u64>();
        busy * TICK_MS
    }

    /// Over the last minute, in thousandths.
    pub fn load(&self) -> u32 {
        let load: f64 = self.read("loadavg").split_whitespace().next().and_then(|x| x.parse().ok()).unwrap_or(0.0);
        (load * 1000.0) as u32
    }
}
