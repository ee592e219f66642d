//! The first things in a machine: the kernel's file systems, and the port to the host.
use crate::failure::{Because, Failure, Result};
use rustix::mount::{MountFlags, mount};
use std::fs::{File, OpenOptions, create_dir_all, read_dir, read_to_string};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// What the host calls the port of the agent.
const PORT_NAME: &str = "skerry.agent";
/// The kernel learns of ports a moment after it has started the first process.
const PORT_WAIT: Duration = Duration::from_millis(1);
const PORT_TRIES: usize = 10_000;

/// Source, place, type, options; each with no device files and no set-user-id programs, /dev without the former.
const MOUNTS: [(&str, &str, &str, &str); 6] = [
    ("proc", "/proc", "proc", ""),
    ("sys", "/sys", "sysfs", ""),
    ("dev", "/dev", "devtmpfs", "mode=0755"),
    ("pts", "/dev/pts", "devpts", "mode=0620,ptmxmode=0666,gid=5"),
    ("shm", "/dev/shm", "tmpfs", "mode=1777"),
    ("cgroup", "/sys/fs/cgroup", "cgroup2", ""),
];

/// Programs expect these; the kernel does not make them.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

pub fn mount_kernel_file_systems() -> Result<()> {
    for (source, place, kind, options) in MOUNTS {
        let what = || format!("{kind} cannot be mounted at {place}");
        create_dir_all(place).because("BOOT_FAILED", what)?;
        let flags = match kind {
            "devtmpfs" | "devpts" => MountFlags::NOSUID | MountFlags::NOEXEC,
            _ => MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV,
        };
        let options = std::ffi::CString::new(options).because("BOOT_FAILED", what)?;
        mount(source, place, kind, flags, options.as_c_str()).because("BOOT_FAILED", what)?;
    }
    for (target, link) in LINKS {
        std::os::unix::fs::symlink(target, link).because("BOOT_FAILED", || format!("{link} cannot be made"))?;
    }
    Ok(())
}

fn port_path() -> Option<PathBuf> {
    let ports = read_dir("/sys/class/virtio-ports").ok()?;
    let found = ports
        .flatten()
        .find(|port| read_to_string(port.path().join("name")).is_ok_and(|name| name.trim_end() == PORT_NAME))?;
    Some(Path::new("/dev").join(found.file_name()))
}

/// Waits for the port and opens it.
pub fn open_port() -> Result<File> {
    for _ in 0..PORT_TRIES {
        if let Some(path) = port_path() {
            let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path);
            if let Ok(port) = opened {
                return Ok(port);
            }
        }
        sleep(PORT_WAIT);
    }
    Err(Failure::new("BOOT_FAILED", format!("the machine has no port that is called {PORT_NAME}")))
}
