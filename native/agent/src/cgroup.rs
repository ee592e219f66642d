//! The workload's processes as a whole: how many there may be, frozen for a snapshot, ended together.
use crate::failure::{Because, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{File, create_dir};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

const FAILED: &str = "CGROUP_FAILED";
const TOP: &str = "/sys/fs/cgroup";
const FOLDER: &str = "/sys/fs/cgroup/workload";
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const FREEZE_TRIES: usize = 5000;
const EMPTY_TRIES: usize = 1000;

/// Held open: it works whatever the workload mounts where.
pub struct Cgroup {
    folder: OwnedFd,
    join: File,
}

impl Cgroup {
    pub fn make() -> Result<Self> {
        let what = || "the workload's cgroup cannot be made".to_owned();
        std::fs::write(format!("{TOP}/cgroup.subtree_control"), "+pids +memory").because(FAILED, what)?;
        create_dir(FOLDER).because(FAILED, what)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, FOLDER, flags, Mode::empty()).because(FAILED, what)?;
        let join = openat(&folder, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { folder, join: File::from(join.because(FAILED, what)?) })
    }

    /// A process that writes `0` to it is in.
    pub fn join(&self) -> BorrowedFd<'_> {
        self.join.as_fd()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let opened = openat(&self.folder, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let file = opened.because(FAILED, || name.to_owned())?;
        File::from(file).write_all(text.as_bytes()).because(FAILED, || name.to_owned())
    }

    fn read(&self, name: &str) -> Option<String> {
        let file = openat(&self.folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub fn limit(&self, pids: u32) -> Result<()> {
        self.write("pids.max", &pids.max(1).to_string())
    }

    pub fn processes(&self) -> u32 {
        self.read("pids.current").and_then(|text| text.trim_end().parse().ok()).unwrap_or(0)
    }

    /// Of its processes, those that were ended because the machine had no memory left, ever.
    pub fn out_of_memory_kills(&self) -> u64 {
        let events = self.read("memory.events").unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        count.unwrap_or(0)
    }

    fn event(&self, line: &str) -> bool {
        self.read("cgroup.events").is_some_and(|events| events.lines().any(|each| each == line))
    }

    fn wait_for(&self, line: &str, tries: usize) -> bool {
        (0..tries).any(|_| {
            let reached = self.event(line);
            if !reached {
                sleep(LOOK_AGAIN);
            }
            reached
        })
    }

    /// None of its processes runs when this gives back.
    pub fn freeze(&self) -> Result<()> {
        self.write("cgroup.freeze", "1")?;
        if self.wait_for("frozen 1", FREEZE_TRIES) {
            return Ok(());
        }
        self.thaw()?;
        Err(crate::failure::Failure::new(FAILED, "the workload does not freeze"))
    }

    pub fn thaw(&self) -> Result<()> {
        self.write("cgroup.freeze", "0")
    }

    /// Ends all its processes, frozen or not.
    pub fn kill(&self) {
        let _ = self.write("cgroup.kill", "1");
    }

    /// Waits, not for long, until none of its processes is left.
    pub fn wait_until_empty(&self) {
        self.wait_for("populated 0", EMPTY_TRIES);
    }
}
