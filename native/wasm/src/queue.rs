//! The run queue of the guests and the threads that serve it. Guests do not run on tokio's threads, which only serve
//! I/O and timers: a guest that burns CPU then delays neither, and the queue can choose who runs next.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, mem, thread};

use async_task::Runnable;
use tokio::runtime::Handle;

use crate::request::Request;

pub type Turn = Runnable<Arc<Request>>;

#[derive(Default)]
pub struct RunQueue {
    lanes: Mutex<Lanes>,
    ready: Condvar,
}

#[derive(Default)]
struct Lanes {
    /// New requests, and those that were woken: most are short.
    fresh: VecDeque<Turn>,
    /// Those that used up a time slice.
    preempted: VecDeque<Turn>,
    /// Turns taken from `fresh` while `preempted` waited.
    passed: u32,
    /// Threads that wait for work.
    idle: usize,
    closed: bool,
}

/// Guests that burn CPU get at least every fourth turn, however many short requests there are.
const PASSES: u32 = 3;

impl RunQueue {
    pub fn push(&self, turn: Turn) {
        let preempted = turn.metadata().take_preempted();
        let mut lanes = self.lock();
        if lanes.closed {
            drop(lanes);
            // Dropped outside the lock: dropping a guest may push again.
            drop(turn);
            return;
        }
        if preempted {
            lanes.preempted.push_back(turn)
        } else {
            lanes.fresh.push_back(turn)
        }
        if lanes.idle > 0 {
            self.ready.notify_one();
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
                return Some(turn);
            }
            lanes.idle += 1;
            lanes = self.ready.wait(lanes).unwrap_or_else(PoisonError::into_inner);
            lanes.idle -= 1;
        }
    }

    /// Ends the threads and drops the guests that wait.
    pub fn close(&self) {
        let mut lanes = self.lock();
        lanes.closed = true;
        let waiting = (mem::take(&mut lanes.fresh), mem::take(&mut lanes.preempted));
        drop(lanes);
        self.ready.notify_all();
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn next(&mut self) -> Option<Turn> {
        if self.preempted.is_empty() {
            return self.fresh.pop_front();
        }
        if self.passed < PASSES
            && let Some(turn) = self.fresh.pop_front()
        {
            self.passed += 1;
            return Some(turn);
        }
        self.passed = 0;
        self.preempted.pop_front()
    }
}

/// Starts the threads that run guests. `io` is where their sockets and timers are served.
pub fn start_threads(queue: &Arc<RunQueue>, count: usize, io: &Handle) -> io::Result<Vec<JoinHandle<()>>> {
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
        let function = turn.metadata().function.clone();
        turn.run();
        let now = thread_cpu();
        function.add_cpu(now.saturating_sub(before));
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
