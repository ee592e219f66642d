//! One request while it runs: shared by the guest's task, the Node thread and the clock.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::task::AtomicWaker;

use crate::body::BodyStream;
use crate::calls::Calls;
use crate::failure::Failure;
use crate::failures::Failures;
use crate::function::Function;
use crate::outbox::{Event, Outbox, flag};
use crate::output::{self, Printed};
use crate::reply::{Over, Reply};

pub struct Request {
    /// What the Node side calls it.
    pub slot: u32,
    pub arrived: Instant,
    pub deadline: Instant,
    /// CPU time that the Node side expects it to need; None where it has nothing to say.
    expected: Option<Duration>,
    pub head_only: bool,
    pub function: Arc<Function>,
    /// The request's body, when it is streamed.
    pub body: Option<Arc<BodyStream>>,
    pub printed: Printed,
    /// What the guest has asked of Node.
    pub calls: Calls,
    /// How its outbound requests failed.
    pub failures: Failures,
    pub outbox: Arc<Outbox>,
    reply: Mutex<Reply>,
    stop: AtomicU8,
    /// Bytes of bodies that it was sent: its own, and those of answers to its outbound requests.
    pub received: Arc<AtomicU64>,
    /// CPU time that it used so far in nanoseconds, up to its last turn.
    cpu: AtomicU64,
    /// It was put into the run queue.
    begun: AtomicBool,
    /// Its guest is gone.
    ended: AtomicBool,
    /// Time slices that it used up.
    slices: AtomicU32,
    /// Wakes the task for what comes from outside the guest: a stop, or room for more of the answer.
    waker: AtomicWaker,
}

const RUN: u8 = 0;
const LATE: u8 = 1;
const STOPPED: u8 = 2;

impl Request {
    #[allow(clippy::too_many_arguments, reason = "they are the request; all of them are needed to begin")]
    pub fn new(
        slot: u32,
        arrived: Instant,
        deadline: Instant,
        expected: Option<Duration>,
        head_only: bool,
        function: Arc<Function>,
        body: Option<Arc<BodyStream>>,
        outbox: Arc<Outbox>,
    ) -> Arc<Self> {
        Arc::new(Request {
            slot,
            arrived,
            deadline,
            expected,
            head_only,
            function,
            body,
            printed: Printed::default(),
            calls: Calls::default(),
            failures: Failures::default(),
            outbox,
            reply: Mutex::default(),
            stop: AtomicU8::new(RUN),
            received: Arc::default(),
            cpu: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            slices: AtomicU32::new(0),
            waker: AtomicWaker::new(),
        })
    }

    pub fn reply(&self) -> MutexGuard<'_, Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the guest wrote so far.
    pub fn flush(&self) {
        self.reply().flush(self.slot, &self.outbox);
    }

    /// Ready when the client has taken enough of the answer for the guest to write more.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reply().has_room() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.reply().has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The client took so many bytes of the answer.
    pub fn taken(&self, bytes: usize) {
        self.reply().taken(bytes);
        self.waker.wake();
    }

    /// Ends the request at its deadline: Node hears of it at once, the task as soon as it is polled.
    pub fn expire(&self) {
        if self.stop.compare_exchange(RUN, LATE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let mut reply = self.reply();
            if reply.fail(&Failure::Deadline) {
                reply.flush(self.slot, &self.outbox);
            }
        }
        self.waker.wake();
    }

    /// Ends the request because nobody waits for it any more.
    pub fn stop(&self) {
        let _ = self.stop.compare_exchange(RUN, STOPPED, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }

    /// Why the task must end now, if it must.
    pub fn must_end(&self) -> Option<Failure> {
        match self.stop.load(Ordering::Acquire) {
            RUN if self.is_over_cpu() => Some(Failure::Cpu),
            RUN if Instant::now() < self.deadline => None,
            STOPPED => Some(Failure::Stopped),
            _ => Some(Failure::Deadline),
        }
    }

    /// Has `stop` or `expire` been called? Cheaper than `must_end`, which reads the clock.
    pub fn was_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire) != RUN
    }

    /// Lets `waker` know of a stop.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Notes that the request was put into the run queue; true when it had been before.
    pub fn begin(&self) -> bool {
        self.begun.swap(true, Ordering::Relaxed)
    }

    /// Notes that the guest used up its time slice.
    pub fn preempt(&self) {
        self.slices.fetch_add(1, Ordering::Relaxed);
    }

    /// Time slices that it used up.
    pub fn slices(&self) -> u32 {
        self.slices.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes of a body were sent to the guest.
    pub fn note_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds CPU time of one turn, in nanoseconds.
    pub fn add_cpu(&self, nanoseconds: u64) {
        let sum = self.cpu.fetch_add(nanoseconds, Ordering::Relaxed) + nanoseconds;
        self.function.figures.add_cpu(nanoseconds);
        if self.ended.load(Ordering::Relaxed) {
            self.function.note_service(sum);
        }
    }

    /// Notes that its guest is gone: what its last turn took is all that it took.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// CPU time that it is expected to need yet. One that has had more than was expected is expected to need as much
    /// again: of service times with a heavy tail, the longer one has run the longer it will.
    pub fn remaining(&self) -> Duration {
        let used = Duration::from_nanos(self.cpu.load(Ordering::Relaxed));
        let expected = self.expected.unwrap_or_else(|| self.function.expected());
        if used < expected { expected - used } else { used }
    }

    fn is_over_cpu(&self) -> bool {
        let limit = self.function.settings.cpu_limit;
        limit.is_some_and(|limit| u128::from(self.cpu.load(Ordering::Relaxed)) > limit.as_nanos())
    }

    /// The last word on the request; a second call says nothing.
    pub fn finish(&self, result: Result<(), Failure>) {
        // Whatever the guest still holds says nothing behind the last word: the slot may be another request's by then.
        self.calls.close();
        if let Some(body) = &self.body {
            body.close();
        }
        let mut reply = self.reply();
        match result {
            Err(failure) => {
                // The client has its answer; whoever wrote the function would not hear of it.
                if reply.over() == Some(Over::Complete) && matches!(failure, Failure::Deadline | Failure::Cpu) {
                    self.log("[skerry] what it did after its answer was cut off at its limit of time\n".into());
                }
                reply.fail(&failure);
            }
            // Nobody else says that an answer is missing when the task ends without a reason.
            Ok(()) if reply.over().is_none() => {
                reply.fail(&Failure::NoAnswer);
            }
            Ok(()) => {}
        }
        if reply.done() {
            reply.flush(self.slot, &self.outbox);
        }
    }

    pub fn is_answered(&self) -> bool {
        self.reply().over() == Some(Over::Complete)
    }

    /// Hands a line of the engine's own to the function's log.
    pub fn log(&self, text: String) {
        let body = [Bytes::from(text)];
        self.outbox.push(&Event { slot: self.slot, flags: flag::STDERR, body: &body, ..Event::default() });
    }

    /// Tells the function's developer something, within what the guest may print.
    pub fn note(&self, text: &str) {
        output::print(self, flag::STDERR, Bytes::from(format!("[skerry] {text}\n")));
    }
}
