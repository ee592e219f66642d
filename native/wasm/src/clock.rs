//! The clock of the guests, on a thread of its own so that no guest can slow it down: it ends the time slices and
//! the requests that are past their deadline.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};
use std::{io, sync::OnceLock};

use crate::pools::Pools;
use crate::queue::RunQueue;
use crate::request::Request;

/// The length of a time slice, and how late a deadline may be noticed, whether guests are interrupted or not. A turn of the run queue costs about 2 us, so
/// that slices of 1 ms cost a guest that burns CPU well under 1 %, while with 20 of them to a thread a new request
/// still waits for no more than one slice (it goes first) and a deadline is kept to within a few milliseconds.
pub const TICK: Duration = Duration::from_millis(1);
/// The clock stands still when no guest has run for so many ticks: an idle node shall not wake up a thousand times a
/// second, and a busy one need not be woken for each request.
const LINGER: u32 = 100;

#[derive(Default)]
pub struct Clock {
    /// Requests that a guest thread has begun and not yet dropped.
    running: AtomicUsize,
    asleep: AtomicBool,
    closed: AtomicBool,
    thread: OnceLock<Thread>,
    /// Requests that wait or were preempted, by deadline and slot. Those that finish in one turn, as most do, are
    /// never entered here.
    watched: Mutex<BTreeMap<(Instant, u32), Arc<Request>>>,
}

impl Clock {
    pub fn start(self: &Arc<Self>, pools: Arc<Pools>, queue: Arc<RunQueue>) -> io::Result<JoinHandle<()>> {
        let clock = self.clone();
        let handle = thread::Builder::new().name("skerry-clock".into()).spawn(move || clock.run(&pools, &queue))?;
        let _ = self.thread.set(handle.thread().clone());
        Ok(handle)
    }

    /// A guest begins: the clock must run.
    pub fn begin(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    pub fn end(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    /// Ends `request` at its deadline unless it is unwatched before.
    pub fn watch(&self, request: &Arc<Request>) {
        self.lock().insert((request.deadline, request.slot), request.clone());
    }

    pub fn unwatch(&self, request: &Request) {
        self.lock().remove(&(request.deadline, request.slot));
    }

    /// Stops the clock and every request that it watches.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        // Their tasks hold them, and they the wakers of their tasks: neither would ever be freed.
        let watched = std::mem::take(&mut *self.lock());
        for request in watched.into_values() {
            request.stop();
        }
    }

    fn run(&self, pools: &Pools, queue: &RunQueue) {
        let mut idle = 0;
        while !self.closed.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else if idle < LINGER {
                idle += 1;
            } else {
                self.asleep.store(true, Ordering::SeqCst);
                // A guest that began in between has seen `asleep` or is seen here.
                if self.running.load(Ordering::SeqCst) == 0 && !self.closed.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                idle = 0;
                continue;
            }
            thread::sleep(TICK);
            pools.tick();
            let now = Instant::now();
            queue.tick(now);
            self.expire(now);
        }
        pools.tick();
    }

    fn expire(&self, now: Instant) {
        loop {
            let mut watched = self.lock();
            let Some(first) = watched.first_entry() else { return };
            if first.key().0 > now {
                return;
            }
            let request = first.remove();
            drop(watched);
            request.expire();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, u32), Arc<Request>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
