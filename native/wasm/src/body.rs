//! The body of a request on its way from Node to the guest: nothing, one small piece, or a stream with back-pressure.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;

use crate::outbox::{Event, Outbox, flag};

/// The Node side is asked to pause when so many bytes wait for the guest, and to go on when few are left.
const HIGH: usize = 256 << 10;
const LOW: usize = 64 << 10;

pub enum IncomingBody {
    Empty,
    /// All of it came with the head.
    Whole(Option<Bytes>),
    Stream(StreamEnd),
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            IncomingBody::Empty => Poll::Ready(None),
            IncomingBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            IncomingBody::Stream(end) => end.0.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, IncomingBody::Empty | IncomingBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            IncomingBody::Empty => SizeHint::with_exact(0),
            IncomingBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            IncomingBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// The guest's end of a stream; when it is dropped, the Node side is told that the rest is unwanted.
pub struct StreamEnd(Arc<BodyStream>);

impl Drop for StreamEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.pieces.clear();
        state.waiting = 0;
        let complete = state.end.is_some();
        state.dropped = true;
        drop(state);
        if !complete {
            self.0.tell(flag::UNWANTED);
        }
    }
}

/// What became of a piece that was handed over.
#[derive(Clone, Copy)]
pub enum Pushed {
    Taken = 0,
    /// It was taken; the next one shall wait for a RESUME event.
    Full = 1,
    /// The guest wants no more.
    Unwanted = 2,
}

/// The Node side's end of a stream.
pub struct BodyStream {
    slot: u32,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// Bytes in `pieces`.
    waiting: usize,
    paused: bool,
    dropped: bool,
    end: Option<End>,
    waker: Option<Waker>,
}

enum End {
    Complete(Option<HeaderMap>),
    Broken,
    /// The end itself has been handed to the guest.
    Taken,
}

impl BodyStream {
    pub fn new(slot: u32, outbox: Arc<Outbox>) -> (Arc<Self>, IncomingBody) {
        let stream = Arc::new(BodyStream { slot, outbox, state: Mutex::default() });
        (stream.clone(), IncomingBody::Stream(StreamEnd(stream)))
    }

    /// Hands over one piece.
    pub fn push(&self, piece: Bytes) -> Pushed {
        let mut state = self.lock();
        if state.dropped || state.end.is_some() {
            return Pushed::Unwanted;
        }
        state.waiting += piece.len();
        state.pieces.push_back(piece);
        state.paused = state.waiting >= HIGH;
        let paused = state.paused;
        wake(state);
        if paused { Pushed::Full } else { Pushed::Taken }
    }

    pub fn end(&self, trailers: Option<HeaderMap>) {
        self.finish(End::Complete(trailers));
    }

    /// The sender broke off: the guest sees an error, not an end.
    pub fn fail(&self) {
        self.finish(End::Broken);
    }

    fn finish(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        wake(state);
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.lock();
        if let Some(piece) = state.pieces.pop_front() {
            state.waiting -= piece.len();
            if state.paused && state.waiting <= LOW {
                state.paused = false;
                drop(state);
                self.tell(flag::RESUME);
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match state.end.as_mut() {
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(end) => Poll::Ready(match std::mem::replace(end, End::Taken) {
                End::Complete(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                End::Broken => Some(Err(Error::ConnectionTerminated)),
                End::Taken => None,
            }),
        }
    }

    fn tell(&self, flags: u32) {
        self.outbox.push(&Event { slot: self.slot, flags, ..Event::default() });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: std::sync::MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
