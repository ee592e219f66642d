//! An outbound HTTP request and its answer while they are under way, shared by the guest's end (outgoing.rs) and the Node
//! thread.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use http::{HeaderMap, Response};
use wasmtime_wasi_http::Error;

use crate::body::BodyStream;

/// Bytes of the request's body that may be on their way through Node; more waits in the guest.
const WINDOW: usize = 128 << 10;
/// Bytes of the answer's body that may wait for the guest. A function holds many answers at once, and they are memory of
/// the node.
const HIGH: usize = 64 << 10;

pub struct Exchange {
    head: Mutex<Head>,
    /// The answer's body.
    pub body: Arc<BodyStream>,
    /// Bytes of the request's body handed over and not yet taken.
    underway: AtomicUsize,
    /// Nobody takes more of the request's body.
    unwanted: AtomicBool,
    /// Wakes the guest's side for the head of the answer, and for room for the request's body.
    waker: AtomicWaker,
}

enum Head {
    Awaited,
    Come(Response<()>),
    Failed(Error),
    /// The guest has it.
    Taken,
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange {
            head: Mutex::new(Head::Awaited),
            body: BodyStream::new(HIGH),
            underway: AtomicUsize::new(0),
            unwanted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }
}

// What the Node side says.
impl Exchange {
    pub fn head(&self, head: Response<()>) {
        *self.lock() = Head::Come(head);
        self.waker.wake();
    }

    /// The answer is complete.
    pub fn end(&self, trailers: Option<HeaderMap>) {
        self.body.end(trailers);
        self.unwanted();
    }

    /// The exchange failed, before the head of the answer or behind it.
    pub fn fail(&self, error: Error) {
        let mut head = self.lock();
        if matches!(*head, Head::Awaited) {
            *head = Head::Failed(error);
        } else {
            self.body.fail(error);
        }
        drop(head);
        self.unwanted();
    }

    /// So many bytes of the request's body were taken.
    pub fn taken(&self, bytes: usize) {
        let _ = self.underway.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_sub(bytes)));
        self.waker.wake();
    }

    pub fn unwanted(&self) {
        self.unwanted.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// The request that it belongs to is over.
    pub fn close(&self) {
        self.fail(Error::ConnectionTerminated);
        self.body.close();
    }
}

// What the guest's side asks.
impl Exchange {
    /// Lets the guest's side know of what the Node side says.
    pub fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// The head of the answer. Register first.
    pub fn poll_head(&self) -> Poll<Result<Response<()>, Error>> {
        let mut head = self.lock();
        match mem::replace(&mut *head, Head::Taken) {
            Head::Come(response) => Poll::Ready(Ok(response)),
            Head::Failed(error) => Poll::Ready(Err(error)),
            Head::Taken => Poll::Ready(Err(Error::ConnectionTerminated)),
            Head::Awaited => {
                *head = Head::Awaited;
                Poll::Pending
            }
        }
    }

    /// Whether more of the request's body may be handed over now.
    pub fn has_room(&self) -> bool {
        self.underway.load(Ordering::Acquire) < WINDOW
    }

    pub fn note_sent(&self, bytes: usize) {
        self.underway.fetch_add(bytes, Ordering::AcqRel);
    }

    pub fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_before_the_head_and_by_the_body_behind_it() {
        let early = Exchange::default();
        assert!(early.poll_head().is_pending());
        early.fail(Error::ConnectionRefused);
        assert!(matches!(early.poll_head(), Poll::Ready(Err(Error::ConnectionRefused))));
        let late = Exchange::default();
        late.head(Response::new(()));
        late.fail(Error::HttpResponseIncomplete);
        assert!(matches!(late.poll_head(), Poll::Ready(Ok(_))));
    }

    #[test]
    fn a_body_goes_out_as_it_is_taken() {
        let exchange = Exchange::default();
        exchange.note_sent(WINDOW);
        assert!(!exchange.has_room());
        exchange.taken(1);
        assert!(exchange.has_room());
        // More than was sent is no debt of anybody's.
        exchange.taken(2 * WINDOW);
        exchange.note_sent(WINDOW);
        assert!(!exchange.has_room());
    }

    #[test]
    fn when_the_answer_is_over_no_more_of_the_request_is_wanted() {
        let exchange = Exchange::default();
        exchange.head(Response::new(()));
        assert!(!exchange.is_unwanted());
        exchange.end(None);
        assert!(exchange.is_unwanted());
    }
}
