//! What the host asks, and how the agent answers. `runtime/drivers/microvm/agent/messages.ts` is the other side of it.
use crate::field::{Malformed, Reader, Writer};

pub const VERSION: u16 = 1;
pub const NONCE_BYTES: usize = 16;

/// Kinds of frames that come from the host.
pub mod asked {
    pub const HELLO: u8 = 0x01;
    pub const RESTORED: u8 = 0x02;
    pub const CONFIGURE: u8 = 0x03;
    pub const START: u8 = 0x04;
    pub const EXEC: u8 = 0x05;
    pub const STDIN: u8 = 0x06;
    pub const STDIN_END: u8 = 0x07;
    pub const CREDIT: u8 = 0x08;
    pub const SIGNAL: u8 = 0x09;
    pub const STATS: u8 = 0x0a;
    pub const SUSPEND: u8 = 0x0b;
    pub const ATTACH: u8 = 0x0c;
    pub const POWER_OFF: u8 = 0x0d;
}

/// Kinds of frames that go to the host.
pub mod told {
    pub const HELLO: u8 = 0x81;
    pub const DONE: u8 = 0x82;
    pub const FAILED: u8 = 0x83;
    pub const STARTED: u8 = 0x84;
    pub const STDOUT: u8 = 0x85;
    pub const STDERR: u8 = 0x86;
    pub const EXITED: u8 = 0x87;
    pub const STDIN_CREDIT: u8 = 0x88;
    pub const STATS: u8 = 0x89;
    pub const LOST: u8 = 0x8a;
}

#[derive(Debug)]
pub enum Request {
    Hello { version: u16, nonce: [u8; NONCE_BYTES] },
    Restored { entropy: Vec<u8>, identity: Identity },
    Configure(Box<Configuration>),
    Start { process: Box<Process>, window: u32 },
    Exec { process: Box<Process>, window: u32 },
    Stdin(Vec<u8>),
    StdinEnd,
    Credit { stream: usize, bytes: u32 },
    Signal { number: i32, group: bool },
    Stats,
    Suspend,
    Attach { window: u32 },
    PowerOff { grace_ms: u32 },
}

#[derive(Debug, Clone)]
pub struct Identity {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    pub hostname: Vec<u8>,
    /// 32 hexadecimal digits.
    pub machine_id: Vec<u8>,
}

#[derive(Debug)]
pub struct Disk {
    /// Its name below /dev.
    pub device: Vec<u8>,
    pub file_system: FileSystem,
    pub read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Erofs,
    Squashfs,
    Ext4,
}

#[derive(Debug)]
pub struct Volume {
    pub disk: Disk,
    pub path: Vec<u8>,
}

#[derive(Debug)]
pub struct Scratch {
    pub path: Vec<u8>,
    pub bytes: u64,
    /// Permission bits of the folder.
    pub mode: u32,
}

#[derive(Debug)]
pub struct Network {
    pub mtu: u32,
    /// `ADDRESS/PREFIX`, of either family.
    pub addresses: Vec<Vec<u8>>,
    /// Default routes.
    pub gateways: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub struct File {
    pub path: Vec<u8>,
    pub mode: u32,
    pub contents: Vec<u8>,
}

#[derive(Debug)]
pub struct Configuration {
    /// Always mounted read-only; what is written goes above it.
    pub root: Disk,
    /// What may be written above the root, in memory, in bytes.
    pub writable_bytes: u64,
    /// Once it is set up nothing is written above the root.
    pub read_only: bool,
    pub volumes: Vec<Volume>,
    pub scratch: Vec<Scratch>,
    pub network: Option<Network>,
    /// Written into the root: /etc/hosts, /etc/resolv.conf.
    pub files: Vec<File>,
    /// Processes of the workload at once.
    pub pids: u32,
}

#[derive(Debug)]
pub struct Process {
    pub command: Vec<Vec<u8>>,
    pub env: Vec<Vec<u8>>,
    pub directory: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// One bit for each that its root may have, by number.
    pub capabilities: u64,
    pub no_new_privileges: bool,
}

fn hello(from: &mut Reader) -> Result<Request, Malformed> {
    let version = from.u16()?;
    Ok(Request::Hello { version, nonce: from.take(NONCE_BYTES)?.try_into().map_err(|_| Malformed)? })
}

fn restored(from: &mut Reader) -> Result<Request, Malformed> {
    let entropy = from.bytes()?.to_vec();
    let time_ns = from.u64()?;
    let (hostname, machine_id) = (from.text()?, from.text()?);
    let is_id = machine_id.len() == 32 && machine_id.iter().all(u8::is_ascii_hexdigit);
    if !(32..=512).contains(&entropy.len()) || !(1..=64).contains(&hostname.len()) || !is_id {
        return Err(Malformed);
    }
    Ok(Request::Restored { entropy, identity: Identity { time_ns, hostname, machine_id } })
}

fn disk(from: &mut Reader) -> Result<Disk, Malformed> {
    let device = from.text()?;
    if device.is_empty() || device.contains(&b'/') {
        return Err(Malformed);
    }
    let file_system = match from.u8()? {
        1 => FileSystem::Erofs,
        2 => FileSystem::Squashfs,
        3 => FileSystem::Ext4,
        _ => return Err(Malformed),
    };
    Ok(Disk { device, file_system, read_only: from.bool()? })
}

fn network(from: &mut Reader) -> Result<Network, Malformed> {
    Ok(Network { mtu: from.u32()?, addresses: from.list(Reader::text)?, gateways: from.list(Reader::text)? })
}

fn configuration(from: &mut Reader) -> Result<Request, Malformed> {
    Ok(Request::Configure(Box::new(Configuration {
        root: disk(from)?,
        writable_bytes: from.u64()?,
        read_only: from.bool()?,
        volumes: from.list(|from| Ok(Volume { disk: disk(from)?, path: from.path()? }))?,
        scratch: from
            .list(|from| Ok(Scratch { path: from.path()?, bytes: from.u64()?, mode: from.u32()? & 0o7777 }))?,
        network: if from.bool()? { Some(network(from)?) } else { None },
        files: from.list(|from| {
            Ok(File { path: from.path()?, mode: from.u32()? & 0o7777, contents: from.bytes()?.to_vec() })
        })?,
        pids: from.u32()?,
    })))
}

fn process(from: &mut Reader) -> Result<(Box<Process>, u32), Malformed> {
    let process = Process {
        command: from.list(Reader::text)?,
        env: from.list(Reader::text)?,
        directory: from.path()?,
        uid: from.u32()?,
        gid: from.u32()?,
        groups: from.list(Reader::u32)?,
        capabilities: from.u64()?,
        no_new_privileges: from.bool()?,
    };
    if process.command.first().is_none_or(Vec::is_empty) {
        return Err(Malformed);
    }
    Ok((Box::new(process), from.u32()?))
}

fn stream(from: &mut Reader) -> Result<usize, Malformed> {
    match from.u8()? {
        stream @ (1 | 2) => Ok(usize::from(stream) - 1),
        _ => Err(Malformed),
    }
}

fn signal(from: &mut Reader) -> Result<Request, Malformed> {
    let (number, group) = (from.u8()?, from.bool()?);
    if !(1..=64).contains(&number) {
        return Err(Malformed);
    }
    Ok(Request::Signal { number: i32::from(number), group })
}

impl Request {
    /// Nothing may be left over.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let request = match kind {
            asked::HELLO => hello(&mut from)?,
            asked::RESTORED => restored(&mut from)?,
            asked::CONFIGURE => configuration(&mut from)?,
            asked::START => process(&mut from).map(|(process, window)| Self::Start { process, window })?,
            asked::EXEC => process(&mut from).map(|(process, window)| Self::Exec { process, window })?,
            asked::STDIN => return Ok(Self::Stdin(payload.to_vec())),
            asked::STDIN_END => Self::StdinEnd,
            asked::CREDIT => Self::Credit { stream: stream(&mut from)?, bytes: from.u32()? },
            asked::SIGNAL => signal(&mut from)?,
            asked::STATS => Self::Stats,
            asked::SUSPEND => Self::Suspend,
            asked::ATTACH => Self::Attach { window: from.u32()? },
            asked::POWER_OFF => Self::PowerOff { grace_ms: from.u32()? },
            _ => return Err(Malformed),
        };
        from.end()?;
        Ok(request)
    }
}

/// What the agent does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Waiting = 0,
    Configured = 1,
    Running = 2,
    Ended = 3,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Status(u8),
    Signal(u8),
}

pub struct Stats {
    pub memory_bytes: u64,
    pub available_bytes: u64,
    pub cpu_ms: u64,
    /// Load over the last minute, in thousandths.
    pub load: u32,
    pub processes: u32,
    /// In use of what may be written above the root.
    pub written_bytes: u64,
    pub out_of_memory_kills: u64,
}

#[must_use]
pub fn hello_payload(nonce: &[u8; NONCE_BYTES], state: State) -> Vec<u8> {
    let mut to = Writer::default();
    to.raw(nonce).u16(VERSION).bytes(env!("CARGO_PKG_VERSION").as_bytes()).u8(state as u8);
    to.finish()
}

#[must_use]
pub fn failed_payload(code: &str, why: &str) -> Vec<u8> {
    let mut to = Writer::default();
    to.bytes(code.as_bytes()).bytes(why.as_bytes());
    to.finish()
}

#[must_use]
pub fn exited_payload(ending: Ending, out_of_memory: bool) -> Vec<u8> {
    let mut to = Writer::default();
    match ending {
        Ending::Status(status) => to.u8(0).u8(status),
        Ending::Signal(number) => to.u8(1).u8(number),
    };
    to.u8(u8::from(out_of_memory));
    to.finish()
}

#[must_use]
pub fn stats_payload(stats: &Stats) -> Vec<u8> {
    let mut to = Writer::default();
    to.u64(stats.memory_bytes).u64(stats.available_bytes).u64(stats.cpu_ms).u32(stats.load).u32(stats.processes);
    to.u64(stats.written_bytes).u64(stats.out_of_memory_kills);
    to.finish()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
