//! The run queue of the guests and the threads that serve it. Guests do not run on tokio's threads, which only serve
//! I/O and timers: a guest that burns CPU then delays neither, and the queue can choose who runs next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::{io, mem, thread};

use async_task::Runnable;
use tokio::runtime::Handle;

use crate::request::Request;
use crate::shared::Shared;

pub type Turn = Runnable<Runner>;

/// Whose turn it is.
#[derive(Clone)]
pub enum Runner {
    Alone(Arc<Request>),
    /// An instance that serves several requests at once.
    Shared(Arc<Shared>),
}

impl Runner {
    /// Notes that it was put into the run queue; true when it had been before.
    fn begin(&self) -> bool {
        match self {
            Runner::Alone(request) => request.begin(),
            Runner::Shared(shared) => shared.begin(),
        }
    }

    /// Has it burnt CPU for a while?
    fn is_long(&self) -> bool {
        let slices = match self {
            Runner::Alone(request) => request.slices(),
            Runner::Shared(shared) => shared.slices(),
        };
        slices >= LONG
    }

    /// Adds CPU time of one turn, in nanoseconds.
    fn add_cpu(&self, nanoseconds: u64) {
        match self {
            Runner::Alone(request) => request.add_cpu(nanoseconds),
            Runner::Shared(shared) => shared.function.figures.add_cpu(nanoseconds),
        }
    }
}

#[derive(Default)]
pub struct RunQueue {
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    /// Requests that began and were woken, or were interrupted early: to finish them first keeps few instances alive
    /// at once, and their memory in the CPU's caches.
    begun: VecDeque<Turn>,
    /// Requests that have not begun.
    fresh: VecDeque<Turn>,
    /// Those that have burnt CPU for a while.
    long: VecDeque<Turn>,
    /// Turns taken since the last one of a lane that waited, for `fresh` and `long`.
    passed: [u32; 2],
    /// Threads that wait for work, that which waited last at the end: its caches are warm.
    idle: Vec<Thread>,
    threads: usize,
    /// Threads that are in the turn of a long request.
    long_turns: usize,
    closed: bool,
}

/// Slices after which a request is a long one. A slice is one tick of the clock, 1 ms, after a first of two.
const LONG: u32 = 8;
/// A fresh request gets at least every eighth turn however many of those that began are woken, and one that burns CPU
/// every fourth.
const PASSES_FRESH: u32 = 7;
const PASSES_LONG: u32 = 3;
/// Turns that may wait for each busy thread before the last thread is woken.
const BACKLOG: usize = 4;

impl RunQueue {
    pub fn push(&self, turn: Turn) {
        let (begun, long) = (turn.metadata().begin(), turn.metadata().is_long());
        let mut lanes = self.lock();
        if lanes.closed {
            drop(lanes);
            // Dropped outside the lock: dropping a guest may push again.
            drop(turn);
            return;
        }
        let lane = match (begun, long) {
            (false, _) => &mut lanes.fresh,
            (true, false) => &mut lanes.begun,
            (true, true) => &mut lanes.long,
        };
        lane.push_back(turn);
        let thread = lanes.is_short_of_threads().then(|| lanes.idle.pop()).flatten();
        drop(lanes);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Called at each tick of the clock: whatever waits by now gets another thread if one is idle.
    pub fn tick(&self) {
        let mut lanes = self.lock();
        let thread = if lanes.waiting() > 0 { lanes.idle.pop() } else { None };
        drop(lanes);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Waits for work; None when the queue was closed.
    fn pop(&self) -> Option<Turn> {
        let mut lanes = self.lock();
        loop {
            if lanes.closed {
                return None;
            }
            if let Some(turn) = lanes.next() {
                lanes.long_turns += usize::from(turn.metadata().is_long());
                return Some(turn);
            }
            let me = thread::current();
            let id = me.id();
            lanes.idle.push(me);
            // Whoever has work for this thread takes it off the list first.
            while lanes.idle.iter().any(|thread| thread.id() == id) {
                drop(lanes);
                thread::park();
                lanes = self.lock();
            }
        }
    }

    /// Threads that run guests.
    pub fn threads(&self) -> usize {
        self.lock().threads
    }

    /// Ends the threads and drops the guests that wait.
    pub fn close(&self) {
        let mut lanes = self.lock();
        lanes.closed = true;
        let waiting = [mem::take(&mut lanes.begun), mem::take(&mut lanes.fresh), mem::take(&mut lanes.long)];
        let idle = mem::take(&mut lanes.idle);
        drop(lanes);
        idle.into_iter().for_each(|thread| thread.unpark());
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn waiting(&self) -> usize {
        self.begun.len() + self.fresh.len() + self.long.len()
    }

    /// To wake a thread costs the one who wakes it, and the core that was busy with something else, several times what
    /// a short request takes. So the last thread is left asleep, with it a core for Node and the kernel, until there
    /// is work for it too, or the clock finds that something has waited for a tick.
    fn is_short_of_threads(&self) -> bool {
        let busy = self.threads - self.idle.len();
        // A thread in the turn of a long request is free again at the next tick only.
        let quick = busy.saturating_sub(self.long_turns);
        quick == 0 || busy + 1 < self.threads || self.waiting() > BACKLOG * quick
    }

    fn next(&mut self) -> Option<Turn> {
        if !self.long.is_empty() && self.passed[1] >= PASSES_LONG {
            return self.take_long();
        }
        if !self.fresh.is_empty() && self.passed[0] >= PASSES_FRESH {
            return self.take_fresh();
        }
        if let Some(turn) = self.begun.pop_front() {
            self.pass();
            return Some(turn);
        }
        if self.fresh.is_empty() { self.take_long() } else { self.take_fresh() }
    }

    fn take_fresh(&mut self) -> Option<Turn> {
        self.pass();
        self.passed[0] = 0;
        self.fresh.pop_front()
    }

    fn take_long(&mut self) -> Option<Turn> {
        self.pass();
        self.passed[1] = 0;
        self.long.pop_front()
    }

    fn pass(&mut self) {
        for passed in &mut self.passed {
            *passed = passed.saturating_add(1);
        }
    }
}

/// Starts the threads that run guests. `io` is where their sockets and timers are served.
pub fn start_threads(queue: &Arc<RunQueue>, count: usize, io: &Handle) -> io::Result<Vec<JoinHandle<()>>> {
    queue.lock().threads = count;
    (0..count)
        .map(|at| {
            let (queue, io) = (queue.clone(), io.clone());
            thread::Builder::new().name(format!("skerry-wasm-{at}")).spawn(move || run(&queue, &io))
        })
        .collect()
}

fn run(queue: &RunQueue, io: &Handle) {
    let _entered = io.enter();
    // What a thread does between two turns is so little that it is counted to the turn that follows.
    let mut before = thread_cpu();
    while let Some(turn) = queue.pop() {
        let runner = turn.metadata().clone();
        let long = runner.is_long();
        turn.run();
        if long {
            queue.lock().long_turns -= 1;
        }
        let now = thread_cpu();
        runner.add_cpu(now.saturating_sub(before));
        before = now;
    }
}

/// CPU time of the calling thread in nanoseconds.
fn thread_cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
