//! Starts a process of the workload: fork, become who it is to be, execute.
#![allow(unsafe_code)]
use crate::failure::{Because, Failure, Result, shown};
use crate::message::Process;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::fs::File;
use std::io::{Error, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null;

const FAILED: &str = "PROCESS_NOT_STARTED";
const MISSING: &str = "COMMAND_MISSING";
/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Files that a process may have open.
const OPEN_FILES: u64 = 65_536;
const CAPABILITIES: u32 = 63;

pub struct Spawned {
    pub pid: i32,
    pub stdin: OwnedFd,
    pub outputs: [OwnedFd; 2],
}

/// What the child was doing when it could not go on.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    Streams,
    Cgroup,
    Directory,
    Limits,
    User,
    Execute,
}

impl Stage {
    fn describe(byte: u8) -> &'static str {
        match byte {
            _ if byte == Self::Streams as u8 => "its streams",
            _ if byte == Self::Cgroup as u8 => "its cgroup",
            _ if byte == Self::Directory as u8 => "its working directory",
            _ if byte == Self::Limits as u8 => "its limits",
            _ if byte == Self::User as u8 => "its user",
            _ => "its program",
        }
    }
}

/// All that the child needs, made before it exists.
struct Plan {
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: CString,
}

fn strings(list: &[Vec<u8>]) -> Result<Vec<CString>> {
    list.iter().map(|each| CString::new(each.as_slice()).because(FAILED, || shown(each))).collect()
}

/// Where the program may be, in order.
fn candidates(process: &Process) -> Result<Vec<CString>> {
    let program = &process.command[0];
    if program.contains(&b'/') {
        return strings(&process.command[..1]);
    }
    let path = process.env.iter().find_map(|each| each.strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
    let folders = path.split(|byte| *byte == b':').filter(|folder| !folder.is_empty());
    let paths: Vec<Vec<u8>> = folders.map(|folder| [folder, b"/", program].concat()).collect();
    strings(&paths)
}

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|each| each.as_ptr()).chain([null()]).collect()
}

fn check(result: libc::c_int) -> std::result::Result<(), i32> {
    if result < 0 { Err(Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) } else { Ok(()) }
}

struct Child<'a> {
    plan: &'a Plan,
    process: &'a Process,
    /// stdin, stdout, stderr
    streams: [i32; 3],
    cgroup: i32,
}

impl Child<'_> {
    /// Gives back only when it fails. SAFETY: to be called in a new process alone; this one has a single thread, so that
    /// memory may be allocated.
    unsafe fn become_it(&self) -> (Stage, i32) {
        // SAFETY: each call is given pointers to what lives until it has returned.
        unsafe {
            let done = self.streams().map_err(|error| (Stage::Streams, error));
            let done = done.and_then(|()| self.join().map_err(|error| (Stage::Cgroup, error)));
            let done = done.and_then(|()| self.limits().map_err(|error| (Stage::Limits, error)));
            let done = done.and_then(|()| self.user().map_err(|error| (Stage::User, error)));
            // As the user, who may not be allowed there.
            let directory = || check(libc::chdir(self.plan.directory.as_ptr()));
            let done = done.and_then(|()| directory().map_err(|error| (Stage::Directory, error)));
            match done {
                Ok(()) => (Stage::Execute, self.execute()),
                Err(failed) => failed,
            }
        }
    }

    unsafe fn streams(&self) -> std::result::Result<(), i32> {
        unsafe {
            check(libc::setsid())?;
            for (to, from) in self.streams.iter().enumerate() {
                check(libc::dup2(*from, to as i32))?;
            }
            // Nothing else is left open, whoever opened it.
            check(libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) as i32)?;
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()))?;
            // What is ignored would stay so.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            Ok(())
        }
    }

    unsafe fn join(&self) -> std::result::Result<(), i32> {
        unsafe { check(libc::write(self.cgroup, c"0".as_ptr().cast(), 1) as i32) }
    }

    unsafe fn limits(&self) -> std::result::Result<(), i32> {
        let files = libc::rlimit { rlim_cur: OPEN_FILES, rlim_max: OPEN_FILES };
        unsafe {
            libc::umask(0o022);
            check(libc::setrlimit(libc::RLIMIT_NOFILE, &files))
        }
    }

    unsafe fn user(&self) -> std::result::Result<(), i32> {
        let Process { uid, gid, groups, capabilities, no_new_privileges, .. } = self.process;
        unsafe {
            for capability in (0..=CAPABILITIES).filter(|bit| capabilities & (1 << bit) == 0) {
                // EINVAL: the kernel has none of this number.
                if libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) < 0 {
                    break;
                }
            }
            check(libc::setgroups(groups.len() as _, groups.as_ptr()))?;
            check(libc::setresgid(*gid, *gid, *gid))?;
            check(libc::setresuid(*uid, *uid, *uid))?;
            if *no_new_privileges {
                check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            }
        }
        Ok(())
    }

    /// As execvp(3): what is there and can't be executed is told rather than that something was not there.
    unsafe fn execute(&self) -> i32 {
        let (arguments, environment) = (pointers(&self.plan.arguments), pointers(&self.plan.environment));
        let mut told = libc::ENOENT;
        for candidate in &self.plan.candidates {
            // SAFETY: both lists end with a null pointer.
            unsafe { libc::execve(candidate.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            match Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => told = libc::EACCES,
                error => return error,
            }
        }
        told
    }
}

fn failure(stage: u8, number: i32, process: &Process) -> Failure {
    let error = Error::from_raw_os_error(number);
    let program = shown(&process.command[0]);
    let is_missing = matches!(number, libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ENOEXEC);
    if stage == Stage::Execute as u8 && is_missing {
        return Failure::new(MISSING, format!("{program}: {error}"));
    }
    Failure::new(FAILED, format!("{program}: {} ({error})", Stage::describe(stage)))
}

/// Gives back when the program runs, or it is known why it does not.
pub fn spawn(process: &Process, cgroup: BorrowedFd) -> Result<Spawned> {
    let plan = Plan {
        candidates: candidates(process)?,
        arguments: strings(&process.command)?,
        environment: strings(&process.env)?,
        directory: CString::new(process.directory.as_slice()).because(FAILED, || "its working directory".into())?,
    };
    let pipe = || pipe_with(PipeFlags::CLOEXEC).because(FAILED, || "no pipe".into());
    let ((stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr), (report, reporting)) =
        (pipe()?, pipe()?, pipe()?, pipe()?);
    let streams = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
    let child = Child { plan: &plan, process, streams, cgroup: cgroup.as_raw_fd() };
    // SAFETY: this process has a single thread; the child ends by executing or by _exit.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let (stage, number) = child.become_it();
            let [a, b, c, d] = number.to_ne_bytes();
            let told = [stage as u8, a, b, c, d];
            libc::write(reporting.as_raw_fd(), told.as_ptr().cast(), told.len());
            libc::_exit(127);
        }
        pid
    };
    drop((reporting, stdin, stdout, stderr));
    if pid < 0 {
        return Err(Failure::new(FAILED, format!("fork: {}", Error::last_os_error())));
    }
    let mut told = Vec::new();
    let _ = File::from(report).take(5).read_to_end(&mut told);
    if let [stage, a, b, c, d] = told[..] {
        return Err(failure(stage, i32::from_ne_bytes([a, b, c, d]), process));
    }
    for stream in [&to_stdin, &from_stdout, &from_stderr] {
        rustix::io::ioctl_fionbio(stream, true).because(FAILED, || "its streams".into())?;
    }
    Ok(Spawned { pid, stdin: to_stdin, outputs: [from_stdout, from_stderr] })
}
