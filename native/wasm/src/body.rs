//! A body on its way from Node to the guest, that of a request or of the answer to an outbound one: nothing, one small
//! piece, or a stream with back-pressure.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;

use crate::outbox::{Event, Outbox, flag};

pub enum IncomingBody {
    Empty,
    /// All of it came with the head.
    Whole(Option<Bytes>),
    Stream(StreamEnd<RequestBody>),
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            IncomingBody::Empty => Poll::Ready(None),
            IncomingBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            IncomingBody::Stream(end) => Pin::new(end).poll_frame(cx),
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

/// Where a stream comes from, as the guest's end of it speaks to it.
pub trait Upstream: Unpin {
    /// There is room again.
    fn resume(&self);
    /// The guest wants no more of it.
    fn unwanted(&self);
}

/// Bytes of the served request's body that may wait for the guest.
const HIGH: usize = 256 << 10;

/// The body of the request that is served.
pub struct RequestBody {
    slot: u32,
    outbox: Arc<Outbox>,
}

impl RequestBody {
    pub fn stream(slot: u32, outbox: Arc<Outbox>) -> (Arc<BodyStream>, IncomingBody) {
        let stream = BodyStream::new(HIGH);
        (stream.clone(), IncomingBody::Stream(StreamEnd::new(stream, RequestBody { slot, outbox })))
    }

    fn tell(&self, flags: u32) {
        self.outbox.push(&Event { slot: self.slot, flags, ..Event::default() });
    }
}

impl Upstream for RequestBody {
    fn resume(&self) {
        self.tell(flag::RESUME);
    }

    fn unwanted(&self) {
        self.tell(flag::UNWANTED);
    }
}

/// The guest's end of a stream; when it is dropped, the Node side is told that the rest is unwanted.
pub struct StreamEnd<U: Upstream> {
    stream: Arc<BodyStream>,
    upstream: U,
}

impl<U: Upstream> StreamEnd<U> {
    pub fn new(stream: Arc<BodyStream>, upstream: U) -> Self {
        StreamEnd { stream, upstream }
    }
}

impl<U: Upstream> Body for StreamEnd<U> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let StreamEnd { stream, upstream } = self.get_mut();
        let mut state = stream.lock();
        if let Some(piece) = state.pieces.pop_front() {
            state.waiting -= piece.len();
            if state.paused && state.waiting <= stream.high / 4 {
                state.paused = false;
                upstream.resume();
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
                End::Broken(error) => Some(Err(error)),
                End::Taken => None,
            }),
        }
    }
}

impl<U: Upstream> Drop for StreamEnd<U> {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        state.pieces.clear();
        state.waiting = 0;
        state.dropped = true;
        if state.end.is_none() {
            self.upstream.unwanted();
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
    /// Bytes that wait for the guest when the Node side is asked to pause; it goes on when a quarter of them is left.
    high: usize,
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
    Broken(Error),
    /// The end itself has been handed to the guest.
    Taken,
}

impl BodyStream {
    pub fn new(high: usize) -> Arc<Self> {
        Arc::new(BodyStream { high, state: Mutex::default() })
    }

    /// Hands over one piece.
    pub fn push(&self, piece: Bytes) -> Pushed {
        let mut state = self.lock();
        if state.dropped || state.end.is_some() {
            return Pushed::Unwanted;
        }
        state.waiting += piece.len();
        state.pieces.push_back(piece);
        state.paused = state.waiting >= self.high;
        let paused = state.paused;
        wake(state);
        if paused { Pushed::Full } else { Pushed::Taken }
    }

    pub fn end(&self, trailers: Option<HeaderMap>) {
        self.finish(End::Complete(trailers));
    }

    /// The sender broke off: the guest sees an error, not an end.
    pub fn fail(&self, error: Error) {
        self.finish(End::Broken(error));
    }

    /// The sender broke off for a reason that nobody knows.
    pub fn break_off(&self) {
        self.fail(Error::ConnectionTerminated);
    }

    /// The request that the stream belongs to is over: what waits is dropped, and the Node side hears no more of it.
    pub fn close(&self) {
        let mut state = self.lock();
        state.pieces.clear();
        state.waiting = 0;
        state.paused = false;
        if !matches!(state.end, Some(End::Taken)) {
            state.end = Some(End::Broken(Error::ConnectionTerminated));
        }
        wake(state);
    }

    fn finish(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        wake(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts what it is told: a resume as 1, unwanted as 100.
    struct Told(Arc<AtomicU32>);

    impl Upstream for Told {
        fn resume(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn unwanted(&self) {
            self.0.fetch_add(100, Ordering::Relaxed);
        }
    }

    fn stream(high: usize) -> (Arc<BodyStream>, StreamEnd<Told>, Arc<AtomicU32>) {
        let told = Arc::new(AtomicU32::new(0));
        let stream = BodyStream::new(high);
        (stream.clone(), StreamEnd::new(stream, Told(told.clone())), told)
    }

    fn poll(end: &mut StreamEnd<Told>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(end).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_full_stream_resumes_when_the_guest_has_taken_most_of_it() {
        let (stream, mut end, told) = stream(400);
        let piece = || Bytes::from(vec![0; 100]);
        let pushed: Vec<_> = (0..4).map(|_| stream.push(piece()) as u32).collect();
        assert_eq!(pushed, [0, 0, 0, Pushed::Full as u32]);
        for resumed in [0, 0, 1, 1] {
            assert!(matches!(poll(&mut end), Poll::Ready(Some(Ok(_)))));
            assert_eq!(told.load(Ordering::Relaxed), resumed);
        }
        assert!(poll(&mut end).is_pending());
    }

    #[test]
    fn what_came_before_a_failure_is_read_before_it() {
        let (stream, mut end, _) = stream(400);
        stream.push(Bytes::from_static(b"half"));
        stream.fail(Error::HttpResponseIncomplete);
        assert!(matches!(poll(&mut end), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(poll(&mut end), Poll::Ready(Some(Err(Error::HttpResponseIncomplete)))));
        assert!(matches!(poll(&mut end), Poll::Ready(None)));
    }

    #[test]
    fn a_dropped_end_says_so_once_and_only_while_more_would_come() {
        let (open, end, told) = stream(400);
        drop(end);
        assert_eq!(told.load(Ordering::Relaxed), 100);
        assert_eq!(open.push(Bytes::from_static(b"late")) as u32, Pushed::Unwanted as u32);
        let (complete, end, told) = stream(400);
        complete.end(None);
        drop(end);
        assert_eq!(told.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn behind_the_last_word_on_its_request_nothing_is_said() {
        let (stream, mut end, told) = stream(100);
        stream.push(Bytes::from(vec![0; 100]));
        stream.close();
        assert!(matches!(poll(&mut end), Poll::Ready(Some(Err(Error::ConnectionTerminated)))));
        drop(end);
        assert_eq!(told.load(Ordering::Relaxed), 0);
    }
}
