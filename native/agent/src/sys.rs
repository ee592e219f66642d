//! System calls that no safe wrapper exists for. All of the agent's unsafe code is here and in `spawn.rs`.
#![allow(unsafe_code)]
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `_IOW('R', 0x03, int[2])` and `_IO('R', 0x07)`, linux/random.h.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
/// `_IO(0x12, 97)`, linux/fs.h.
const BLKFLSBUF: libc::c_ulong = 0x1261;

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Mixes it into the kernel's pool, counted in full, and makes its generator start from the pool again.
pub fn add_entropy(random: BorrowedFd, entropy: &[u8]) -> Result<()> {
    let bytes = entropy.len() as i32;
    let mut info = Vec::with_capacity(8 + entropy.len());
    info.extend_from_slice(&(bytes * 8).to_ne_bytes());
    info.extend_from_slice(&bytes.to_ne_bytes());
    info.extend_from_slice(entropy);
    // SAFETY: the kernel reads a header of 8 bytes and as many bytes behind it as the header says.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, info.as_ptr()) })?;
    // SAFETY: it has no argument.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _, 0) }).map(drop)
}

/// Forgets what the kernel has read of a disk.
pub fn forget_cached(disk: BorrowedFd) -> Result<()> {
    // SAFETY: it has no argument.
    check(unsafe { libc::ioctl(disk.as_raw_fd(), BLKFLSBUF as _, 0) }).map(drop)
}

/// Blocks these signals, and gives a descriptor that tells of them.
pub fn signal_descriptor(signals: &[i32]) -> Result<OwnedFd> {
    // SAFETY: the set is made by sigemptyset before anything reads it; the descriptor is nobody else's.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))?;
        check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// SIGIO comes when something about the stream changes.
pub fn signal_changes(stream: BorrowedFd) -> Result<()> {
    let fd = stream.as_raw_fd();
    // SAFETY: fcntl of an open descriptor.
    unsafe {
        check(libc::fcntl(fd, libc::F_SETOWN, libc::getpid()))?;
        let flags = check(libc::fcntl(fd, libc::F_GETFL))?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC)).map(drop)
    }
}

/// A child that has ended: its process id and wait status.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the kernel writes the status.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// `pid` below zero: a group. One that has ended is none of it.
pub fn kill(pid: i32, number: i32) {
    // SAFETY: the children of this process are reaped by it alone, so that the number is still theirs.
    unsafe { libc::kill(pid, number) };
}

/// Ends the machine. Gives back only when that fails.
pub fn end_machine() {
    // On x86-64 without ACPI nothing powers off; `reboot=t` resets, and the monitor is told to end at that.
    let how = if cfg!(target_arch = "x86_64") { libc::RB_AUTOBOOT } else { libc::RB_POWER_OFF };
    // SAFETY: nothing of this process matters any more.
    unsafe {
        libc::sync();
        libc::reboot(how);
    }
}

pub fn netlink_socket() -> Result<OwnedFd> {
    // SAFETY: the descriptor is nobody else's.
    unsafe {
        check(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE))
            .map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// Sends a netlink message and reads one answer.
pub fn netlink_ask(socket: &OwnedFd, message: &[u8], answer: &mut [u8]) -> Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: both buffers are there for as long as the calls take.
    unsafe {
        if libc::send(fd, message.as_ptr().cast(), message.len(), 0) < 0 {
            return Err(Error::last_os_error());
        }
        let count = libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0);
        if count < 0 { Err(Error::last_os_error()) } else { Ok(count as usize) }
    }
}
