//! A process that was started, and its three streams: what goes to the host goes at the host's pace, by credit.
use crate::message::{Ending, told};
use crate::port::Port;
use crate::spawn::Spawned;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What the host may send before it is told that the process has read some of it.
pub const STDIN_WINDOW: usize = 64 * 1024;
/// Of one frame of output: a flood of one process leaves room for the others between its frames.
const PIECE_BYTES: usize = 16 * 1024;
/// Of each stream is kept while no host is there; the newest.
const KEPT_BYTES: usize = 64 * 1024;
/// Output of a process that has ended, and whose children hold its streams, is waited for as long.
const REST: Duration = Duration::from_millis(500);

struct Output {
    pipe: Option<OwnedFd>,
    credit: u64,
    kept: VecDeque<u8>,
    lost: u64,
}

impl Output {
    /// Takes what there is, with no host to give it to.
    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let over = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..over);
        self.lost += over as u64;
    }

    fn send_kept(&mut self, kind: u8, stream: u8, channel: u16, port: &mut Port) {
        if self.lost > 0 && self.credit > 0 {
            let mut payload = vec![stream];
            payload.extend_from_slice(&self.lost.to_le_bytes());
            port.send(told::LOST, channel, &payload);
            self.lost = 0;
        }
        while !self.kept.is_empty() && self.credit > 0 && !port.is_full() {
            let count = self.kept.len().min(PIECE_BYTES).min(self.credit as usize);
            let piece: Vec<u8> = self.kept.drain(..count).collect();
            self.credit -= count as u64;
            port.send(kind, channel, &piece);
        }
    }
}

pub struct Running {
    pub channel: u16,
    pub pid: i32,
    /// The workload's own process, which outlives the host's connection.
    pub is_main: bool,
    stdin: Option<OwnedFd>,
    stdin_waiting: VecDeque<u8>,
    stdin_ends: bool,
    outputs: [Output; 2],
    pub ending: Option<(Ending, bool)>,
    rest_until: Option<Instant>,
}

const KINDS: [u8; 2] = [told::STDOUT, told::STDERR];

impl Running {
    pub fn new(channel: u16, is_main: bool, spawned: Spawned, window: u32) -> Self {
        let output = |pipe| Output { pipe: Some(pipe), credit: u64::from(window), kept: VecDeque::new(), lost: 0 };
        Self {
            channel,
            pid: spawned.pid,
            is_main,
            stdin: Some(spawned.stdin),
            stdin_waiting: VecDeque::new(),
            stdin_ends: false,
            outputs: spawned.outputs.map(output),
            ending: None,
            rest_until: None,
        }
    }

    /// A host has come anew and takes it over.
    pub fn attach(&mut self, channel: u16, window: u32) {
        self.channel = channel;
        for output in &mut self.outputs {
            output.credit = u64::from(window);
        }
    }

    /// Nobody gives credit any more.
    pub fn detach(&mut self) {
        for output in &mut self.outputs {
            output.credit = 0;
        }
    }

    pub fn add_credit(&mut self, stream: usize, bytes: u32) {
        if let Some(output) = self.outputs.get_mut(stream) {
            output.credit = output.credit.saturating_add(u64::from(bytes));
        }
    }

    pub fn ended(&mut self, ending: Ending, out_of_memory: bool, now: Instant) {
        self.ending = Some((ending, out_of_memory));
        self.rest_until = Some(now + REST);
        self.close_stdin();
    }

    fn close_stdin(&mut self) {
        self.stdin = None;
        self.stdin_waiting = VecDeque::new();
    }

    /// False when the host has sent more than it may.
    #[must_use]
    pub fn take_stdin(&mut self, bytes: &[u8], port: &mut Port) -> bool {
        if self.stdin.is_none() || self.stdin_ends {
            // Whoever reads it has gone; the host is told of room, so that it can come to its end.
            self.give_stdin_credit(bytes.len(), port);
            return true;
        }
        if self.stdin_waiting.len() + bytes.len() > STDIN_WINDOW {
            return false;
        }
        self.stdin_waiting.extend(bytes);
        self.write_stdin(port);
        true
    }

    pub fn end_stdin(&mut self, port: &mut Port) {
        self.stdin_ends = true;
        self.write_stdin(port);
    }

    fn give_stdin_credit(&self, bytes: usize, port: &mut Port) {
        port.send(told::STDIN_CREDIT, self.channel, &(bytes as u32).to_le_bytes());
    }

    /// Gives the process what it takes now.
    pub fn write_stdin(&mut self, port: &mut Port) {
        while !self.stdin_waiting.is_empty() {
            let Some(pipe) = &self.stdin else { return };
            match rustix::io::write(pipe, self.stdin_waiting.as_slices().0) {
                Ok(count) => {
                    self.stdin_waiting.drain(..count);
                    self.give_stdin_credit(count, port);
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Err(_) => {
                    let count = self.stdin_waiting.len();
                    self.close_stdin();
                    return self.give_stdin_credit(count, port);
                }
            }
        }
        if self.stdin_ends {
            self.close_stdin();
        }
    }

    pub fn stdin_to_poll(&self) -> Option<&OwnedFd> {
        self.stdin.as_ref().filter(|_| !self.stdin_waiting.is_empty())
    }

    /// A pipe to read from now: the host has given credit, or is not there to give any.
    pub fn output_to_poll(&self, stream: usize, port: &Port) -> Option<&OwnedFd> {
        let output = &self.outputs[stream];
        let wanted = if port.connected { output.credit > 0 && !port.is_full() } else { self.is_main };
        output.pipe.as_ref().filter(|_| wanted)
    }

    /// Reads a piece of output and passes it on.
    pub fn read_output(&mut self, stream: usize, port: &mut Port, now: Instant) {
        let (channel, rest_until) = (self.channel, self.rest_until);
        let output = &mut self.outputs[stream];
        output.send_kept(KINDS[stream], stream as u8 + 1, channel, port);
        let most = if port.connected { PIECE_BYTES.min(output.credit as usize) } else { PIECE_BYTES };
        let Some(pipe) = &output.pipe else { return };
        if most == 0 || (port.connected && !output.kept.is_empty()) {
            return;
        }
        let mut buffer = [0; PIECE_BYTES];
        match rustix::io::read(pipe, &mut buffer[..most]) {
            Ok(0) => output.pipe = None,
            Ok(count) if port.connected => {
                output.credit -= count as u64;
                port.send(KINDS[stream], channel, &buffer[..count]);
            }
            Ok(count) => output.keep(&buffer[..count]),
            Err(rustix::io::Errno::AGAIN) if rest_until.is_some_and(|until| now >= until) => output.pipe = None,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => output.pipe = None,
        }
    }

    /// What was kept while no host was there.
    pub fn send_kept(&mut self, port: &mut Port) {
        for (stream, output) in self.outputs.iter_mut().enumerate() {
            output.send_kept(KINDS[stream], stream as u8 + 1, self.channel, port);
        }
    }

    /// When output of it is to be looked for although none came.
    pub fn deadline(&self) -> Option<Instant> {
        self.rest_until.filter(|_| self.outputs.iter().any(|output| output.pipe.is_some()))
    }

    /// How it ended, once all that it wrote has been told.
    pub fn is_over(&self) -> Option<(Ending, bool)> {
        let told = self.outputs.iter().all(|output| output.pipe.is_none() && output.kept.is_empty());
        self.ending.filter(|_| told)
    }
}
