//! What a guest prints: handed on as it comes under the request that printed it, up to a limit, so that a chatty guest
//! fills neither the node's memory nor its disk, and a panicking one does not write to the node's own stderr.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use crate::host::Current;
use crate::outbox::{Event, flag};
use crate::request::Request;

/// Bytes that one request may print on both streams together.
const LIMIT: usize = 64 << 10;
const NOTICE: &[u8] = b"[skerry] this request printed more than 64 KiB: the rest is dropped\n";

/// How much a request has printed.
#[derive(Default)]
pub struct Printed(AtomicUsize);

/// Hands `bytes` on as far as the request may print them. `stream` is one of the flags for output.
pub fn print(request: &Request, stream: u32, mut bytes: Bytes) {
    let before = request.printed.0.fetch_add(bytes.len(), Ordering::Relaxed);
    // Past the limit and told so. The count does not wrap: that would take the guest years.
    let Some(room) = LIMIT.checked_sub(before) else { return };
    let over = bytes.len() > room;
    bytes.truncate(room);
    let send = |bytes| {
        let event = Event { slot: request.slot, flags: stream, body: &[bytes], ..Event::default() };
        request.outbox.push(&event);
    };
    if !bytes.is_empty() {
        send(bytes);
    }
    if over {
        send(Bytes::from_static(NOTICE));
    }
}

#[derive(Clone)]
pub struct Output {
    current: Arc<Current>,
    stream: u32,
}

impl Output {
    pub fn stdout(current: Arc<Current>) -> Self {
        Output { current, stream: flag::STDOUT }
    }

    pub fn stderr(current: Arc<Current>) -> Self {
        Output { current, stream: flag::STDERR }
    }

    fn print(&self, bytes: Bytes) {
        if let Some(request) = self.current.get() {
            print(&request, self.stream, bytes);
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.print(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(LIMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Beyond the limit nothing is kept, so that no more than that need be copied.
        self.print(Bytes::copy_from_slice(&bytes[..bytes.len().min(LIMIT + 1)]));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
