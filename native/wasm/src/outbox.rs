//! What goes from the guest threads to the Node thread: events, encoded one after the other into one buffer, so that
//! a single call into JavaScript hands over everything that happened since the last one.
//!
//! An event is six little-endian u32 (slot, flags, status, and the lengths of head, body and trailers in bytes), then
//! these three parts, then padding to a multiple of four. The TypeScript side is runtime/drivers/wasm/wasmtime/events.ts.

use std::mem;
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Bytes;

/// What an event says; several may be true at once.
pub mod flag {
    /// `status` and `head` are those of the answer.
    pub const HEAD: u32 = 1;
    /// The answer is complete; `trailers` are its trailers if there are any.
    pub const END: u32 = 2;
    /// The request failed: `status` is a failure code, `head` the detail.
    pub const FAIL: u32 = 4;
    /// Nothing of the request runs any more; its slot may be used again.
    pub const DONE: u32 = 8;
    /// The request's body has room again.
    pub const RESUME: u32 = 16;
    /// The guest wants no more of the request's body.
    pub const UNWANTED: u32 = 32;
    /// `body` was printed by the guest.
    pub const STDOUT: u32 = 64;
    pub const STDERR: u32 = 128;
    /// The outcome of a job (compile, load): `slot` is its ticket, `status` an outcome code, `head` the detail.
    pub const JOB: u32 = 256;
    /// `head` is a warning for the node's log.
    pub const WARNING: u32 = 512;
    /// The guest asks for something: `status` is the number of the call, the upper half of the flags what it is about
    /// (`calls::op`).
    pub const CALL: u32 = 1024;
}

#[derive(Default)]
pub struct Event<'a> {
    pub slot: u32,
    pub flags: u32,
    pub status: u32,
    pub head: &'a [u8],
    pub body: &'a [Bytes],
    pub trailers: &'a [u8],
}

type Bell = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub struct Outbox {
    state: Mutex<State>,
    bell: RwLock<Option<Bell>>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// The Node thread has been called and has not come yet: no need to call it again.
    rung: bool,
}

/// A buffer that one burst made larger than this is given back to the allocator.
const KEPT_CAPACITY: usize = 1 << 20;

impl Outbox {
    /// Sets how the Node thread is called; None when it shall not be called any more.
    pub fn set_bell(&self, bell: Option<Bell>) {
        *self.bell.write().unwrap_or_else(PoisonError::into_inner) = bell;
    }

    pub fn push(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut state.bytes, event);
        if !mem::replace(&mut state.rung, true) {
            drop(state);
            if let Some(bell) = self.bell.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
                bell();
            }
        }
    }

    /// Hands all events so far to `read`. What is pushed from now on rings again.
    pub fn drain<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
        let mut bytes = mem::take(&mut state.bytes);
        drop(state);
        let result = read(&bytes);
        if bytes.capacity() <= KEPT_CAPACITY {
            bytes.clear();
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.bytes.capacity() == 0 {
                state.bytes = bytes;
            }
        }
        result
    }

    pub fn warn(&self, message: &str) {
        self.push(&Event { flags: flag::WARNING, head: message.as_bytes(), ..Event::default() });
    }
}

fn encode(bytes: &mut Vec<u8>, event: &Event<'_>) {
    let body: usize = event.body.iter().map(Bytes::len).sum();
    let size = 24 + event.head.len() + body + event.trailers.len();
    bytes.reserve(size + 3);
    let lengths = [event.head.len() as u32, body as u32, event.trailers.len() as u32];
    for word in [event.slot, event.flags, event.status].into_iter().chain(lengths) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(event.head);
    for piece in event.body {
        bytes.extend_from_slice(piece);
    }
    bytes.extend_from_slice(event.trailers);
    let padded = bytes.len().next_multiple_of(4);
    bytes.resize(padded, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn rings_once_until_it_is_drained() {
        let outbox = Outbox::default();
        let rings = Arc::new(AtomicUsize::new(0));
        let counted = rings.clone();
        outbox.set_bell(Some(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })));
        outbox.warn("one");
        outbox.warn("two");
        assert_eq!(rings.load(Ordering::Relaxed), 1);
        assert_eq!(outbox.drain(<[u8]>::len), 2 * (24 + 4));
        outbox.warn("three");
        assert_eq!(rings.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_event_is_six_words_three_parts_and_padding() {
        let outbox = Outbox::default();
        let body = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        outbox.push(&Event { slot: 7, flags: 3, status: 200, head: b"h", body: &body, trailers: b"t" });
        outbox.drain(|bytes| {
            assert_eq!(bytes.len(), 24 + 8);
            let words: Vec<u32> =
                bytes[..24].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
            assert_eq!(words, [7, 3, 200, 1, 3, 1]);
            assert_eq!(&bytes[24..], b"habct\0\0\0");
        });
    }
}
