//! The stream to the host: what waits to be written, and whether anybody is there to read it.
use crate::wire::write_frame;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// While more than this waits to be written, nothing is asked of and nothing read from processes.
const FULL_BYTES: usize = 128 * 1024;

pub struct Port {
    stream: File,
    waiting: Vec<u8>,
    written: usize,
    /// False: the host has closed its end, and what would be written is dropped.
    pub connected: bool,
}

impl Port {
    pub fn new(stream: File) -> Self {
        Self { stream, waiting: Vec::new(), written: 0, connected: true }
    }

    pub fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        if self.connected {
            write_frame(&mut self.waiting, kind, channel, payload);
        }
    }

    pub fn has_waiting(&self) -> bool {
        self.written < self.waiting.len()
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() - self.written > FULL_BYTES
    }

    /// Writes what the host takes now.
    pub fn flush(&mut self) {
        while self.has_waiting() {
            match self.stream.write(&self.waiting[self.written..]) {
                Ok(count) if count > 0 => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        if !self.has_waiting() {
            self.forget();
        } else if self.written > FULL_BYTES {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
    }

    /// The bytes that were read; none when there are none yet, or the host has left.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> &'a [u8] {
        let count = self.stream.read(buffer).unwrap_or(0);
        &buffer[..count]
    }

    /// Drops what waits to be written.
    pub fn forget(&mut self) {
        self.waiting = Vec::new();
        self.written = 0;
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
