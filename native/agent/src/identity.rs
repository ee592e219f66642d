//! What tells one machine from the others: randomness, time, name.
use crate::failure::{Because, Result};
use crate::message::Identity;
use crate::sys;
use rustix::time::{ClockId, Timespec, clock_settime};
use std::fs::File;
use std::os::fd::AsFd;

const FAILED: &str = "IDENTITY_FAILED";

/// The pool of the kernel, kept open: it works whatever the workload does to /dev.
pub struct Random(File);

impl Random {
    pub fn open() -> Result<Self> {
        let opened = File::options().write(true).open("/dev/random");
        opened.map(Self).because("BOOT_FAILED", || "/dev/random cannot be opened".into())
    }

    pub fn reseed(&self, entropy: &[u8]) -> Result<()> {
        sys::add_entropy(self.0.as_fd(), entropy).because(FAILED, || "the kernel takes no randomness".into())
    }
}

/// Clock and host name.
pub fn assume(identity: &Identity) -> Result<()> {
    let time = Timespec {
        tv_sec: (identity.time_ns / 1_000_000_000) as i64,
        tv_nsec: (identity.time_ns % 1_000_000_000) as _,
    };
    clock_settime(ClockId::Realtime, time).because(FAILED, || "the clock cannot be set".into())?;
    rustix::system::sethostname(&identity.hostname).because(FAILED, || "the host name cannot be set".into())
}
