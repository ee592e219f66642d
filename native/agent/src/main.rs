//! The first process of a microVM. It waits for the host, sets the machine up as the host says, and runs the workload in it.
mod boot;
mod cgroup;
mod failure;
mod field;
mod identity;
mod message;
mod network;
mod port;
mod root;
mod running;
mod server;
mod spawn;
mod stats;
mod sys;
#[cfg(test)]
mod test_random;
mod wire;

use failure::{Because, Result};
use std::os::fd::AsFd;

fn prepare() -> Result<server::Server> {
    boot::mount_kernel_file_systems()?;
    let signals = sys::signal_descriptor(&[libc::SIGCHLD, libc::SIGIO]);
    let signals = signals.because("BOOT_FAILED", || "signals cannot be waited for".into())?;
    let random = identity::Random::open()?;
    let proc = stats::Proc::open().because("BOOT_FAILED", || "/proc cannot be opened".into())?;
    let cgroup = cgroup::Cgroup::make()?;
    let port = boot::open_port()?;
    sys::signal_changes(port.as_fd()).because("BOOT_FAILED", || "the port tells of no changes".into())?;
    Ok(server::Server::new(port::Port::new(port), signals, cgroup, random, proc))
}

fn main() {
    if std::process::id() != 1 {
        eprintln!("skerry-agent is the first process of a microVM and nothing else");
        std::process::exit(2);
    }
    match prepare() {
        Ok(mut server) => server.serve(),
        Err(failure) => eprintln!("skerry-agent: {} [{}]", failure.why, failure.code),
    }
    sys::end_machine();
}
