//! The run queue of the guests and the threads that serve it. Guests do not run on tokio's threads, which only serve
//! I/O and timers: a guest that burns CPU then delays neither, and the queue can choose who runs next (waiting.rs).

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use async_task::Runnable;
use tokio::runtime::Handle;

use crate::discipline::Discipline;
use crate::request::Request;
use crate::shared::Shared;
use crate::waiting::{Account, Stage, Standing, Waiting};

pub type Turn = Runnable<Runner>;

/// Whose turn it is.
#[derive(Clone)]
pub enum Runner {
    Alone(Arc<Request>),
    /// An instance that serves several requests at once.
    Shared(Arc<Shared>),
}

impl Runner {
    /// What decides on its place in the run queue, into which it is being put.
    fn standing(&self) -> Standing {
        let (began, arrived, remaining, deadline) = match self {
            Runner::Alone(request) => {
                let began = request.begin();
                // One that began is watched by the clock.
                let deadline = (!began).then_some(request.deadline);
                (began, request.arrived, request.remaining(), deadline)
            }
            Runner::Shared(shared) => (shared.begin(), shared.runnable_since(), shared.function.expected(), None),
        };
        let stage = match (began, self.is_long()) {
            (false, _) => Stage::Fresh,
            (true, false) => Stage::Begun,
            (true, true) => Stage::Long,
        };
        Standing { account: self.account(), stage, arrived, remaining, deadline }
    }

    fn account(&self) -> Account {
        match self {
            Runner::Alone(request) => request.function.account(),
            Runner::Shared(shared) => shared.function.account(),
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
            Runner::Shared(shared) => shared.add_cpu(nanoseconds),
        }
    }
}

pub struct RunQueue {
    pub discipline: Discipline,
    state: Mutex<State>,
}

struct State {
    waiting: Waiting<Turn>,
    /// Threads that wait for work, that which waited last at the end: its caches are warm.
    idle: Vec<Thread>,
    threads: usize,
    /// Threads that are in the turn of a long request.
    long_turns: usize,
    closed: bool,
}

/// A turn that is over.
struct Done {
    account: Account,
    long: bool,
    cpu: Duration,
}

/// Slices after which a request is a long one. A slice is one tick of the clock, 1 ms, after a first of two.
const LONG: u32 = 8;
/// Turns that may wait for each busy thread before the last thread is woken.
const BACKLOG: usize = 4;

impl RunQueue {
    pub fn new(discipline: Discipline) -> Self {
        let state = State {
            waiting: Waiting::new(discipline, Instant::now()),
            idle: Vec::new(),
            threads: 0,
            long_turns: 0,
            closed: false,
        };
        RunQueue { discipline, state: Mutex::new(state) }
    }

    pub fn push(&self, turn: Turn) {
        let standing = turn.metadata().standing();
        let mut state = self.lock();
        if state.closed {
            drop(state);
            // Dropped outside the lock: dropping a guest may push again.
            drop(turn);
            return;
        }
        state.waiting.push(&standing, turn);
        let thread = state.is_short_of_threads().then(|| state.idle.pop()).flatten();
        drop(state);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Called at each tick of the clock: whatever waits by now gets another thread if one is idle, and what is past its
    /// deadline and has not begun is told so.
    pub fn tick(&self, now: Instant) {
        let mut state = self.lock();
        let late = state.waiting.take_late(now);
        let thread = if state.waiting.len() > 0 { state.idle.pop() } else { None };
        drop(state);
        if let Some(thread) = thread {
            thread.unpark();
        }
        for turn in late {
            if let Runner::Alone(request) = turn.metadata() {
                request.expire();
            }
            drop(turn);
        }
    }

    /// Waits for work; None when the queue was closed. `done` is what the thread has done before.
    fn next(&self, done: Option<&Done>) -> Option<Turn> {
        let mut state = self.lock();
        if let Some(&Done { account, long, cpu }) = done {
            state.long_turns -= usize::from(long);
            state.waiting.charge(account, long, cpu);
        }
        loop {
            if state.closed {
                return None;
            }
            if let Some(turn) = state.waiting.pop() {
                state.long_turns += usize::from(turn.metadata().is_long());
                return Some(turn);
            }
            let me = thread::current();
            let id = me.id();
            state.idle.push(me);
            // Whoever has work for this thread takes it off the list first.
            while state.idle.iter().any(|thread| thread.id() == id) {
                drop(state);
                thread::park();
                state = self.lock();
            }
        }
    }

    /// Threads that run guests.
    pub fn threads(&self) -> usize {
        self.lock().threads
    }

    /// The workload of this number is gone.
    pub fn forget(&self, workload: usize) {
        self.lock().waiting.forget(workload);
    }

    /// Ends the threads and drops the guests that wait.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = state.waiting.take_all();
        let idle = mem::take(&mut state.idle);
        drop(state);
        idle.into_iter().for_each(|thread| thread.unpark());
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// To wake a thread costs the one who wakes it, and the core that was busy with something else, several times what
    /// a short request takes. So the last thread is left asleep, with it a core for Node and the kernel, until there
    /// is work for it too, or the clock finds that something has waited for a tick.
    fn is_short_of_threads(&self) -> bool {
        let busy = self.threads - self.idle.len();
        // A thread in the turn of a long request is free again at the next tick only.
        let quick = busy.saturating_sub(self.long_turns);
        quick == 0 || busy + 1 < self.threads || self.waiting.len() > BACKLOG * quick
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
    uncounted_cpu();
    let mut done = None;
    while let Some(turn) = queue.next(done.as_ref()) {
        let runner = turn.metadata().clone();
        let (account, long) = (runner.account(), runner.is_long());
        turn.run();
        let cpu = uncounted_cpu();
        runner.add_cpu(cpu);
        done = Some(Done { account, long, cpu: Duration::from_nanos(cpu) });
    }
}

thread_local! {
    /// CPU time of this thread up to which it was counted, in nanoseconds.
    static COUNTED: Cell<u64> = const { Cell::new(0) };
}

/// CPU time of the calling thread since it was last asked, in nanoseconds. What a thread does between two turns is so little
/// that it is counted to the turn that follows.
pub fn uncounted_cpu() -> u64 {
    let now = thread_cpu();
    now.saturating_sub(COUNTED.replace(now))
}

/// CPU time of the calling thread in nanoseconds.
fn thread_cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
