//! Instances of WASI 0.3 components that serve several requests at once, for functions that ask for reuse. Each such
//! instance is a task of its own; requests are handed to one that waits, or a new one is made.
//!
//! What one request does can be felt by the others of its instance, which is why this is never the default: when the
//! guest traps, or burns CPU past a deadline, the instance ends and all that it served fail.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use futures::task::AtomicWaker;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::body::IncomingBody;
use crate::engine::Engine;
use crate::failure::{Failure, ServeError, classify};
use crate::function::Function;
use crate::host::Host;
use crate::instance::{Exports, IDLE, Instance};
use crate::request::Request;
use crate::{serve_p3, task};

pub struct Job {
    pub request: Arc<Request>,
    pub head: http::Request<IncomingBody>,
}

/// Requests that one instance serves at once: beyond it another instance is made.
const AT_ONCE: usize = 16;
/// How long after a deadline an instance may still burn CPU before it is ended with all that it serves.
const GRACE: Duration = Duration::from_millis(5);

/// The shared instances of a function.
#[derive(Default)]
pub struct Crowd(Mutex<Vec<Arc<Shared>>>);

impl Crowd {
    /// Hands a request to an instance that has room for it, or to a new one.
    pub fn serve(engine: &Arc<Engine>, function: &Arc<Function>, job: Job) {
        // While it waits for a busy instance too.
        engine.clock.watch(&job.request);
        let mut instances = function.crowd.lock();
        instances.retain(|shared| !shared.is_closed());
        let threads = engine.queue.threads();
        // One that burns CPU for others is passed over while another thread could begin a fresh one.
        let is_free = |shared: &&Arc<Shared>| shared.waits.load(Ordering::Relaxed) || shared.lock().load() == 0;
        let waiting = instances.iter().filter(is_free);
        let least = |shared: &&Arc<Shared>| shared.lock().load();
        let chosen = waiting
            .min_by_key(least)
            .or_else(|| if instances.len() < threads { None } else { instances.iter().min_by_key(least) });
        let job = match chosen.cloned() {
            Some(shared) => match shared.offer(job, function.settings.reuse) {
                Ok(()) => return,
                Err(job) => job,
            },
            None => job,
        };
        let shared = Arc::new(Shared::new(function.clone()));
        let Ok(()) = shared.offer(job, function.settings.reuse) else { return };
        instances.push(shared.clone());
        drop(instances);
        task::spawn_shared(engine, shared);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every instance end when its requests are over.
    pub fn close(&self) {
        for shared in self.lock().drain(..) {
            shared.lock().closed = true;
            shared.waker.wake();
        }
    }
}

/// One instance, seen from outside its task.
pub struct Shared {
    pub function: Arc<Function>,
    state: Mutex<State>,
    /// The guest burns no CPU now.
    waits: AtomicBool,
    begun: AtomicBool,
    slices: AtomicU32,
    /// When it was last woken.
    woken: Mutex<Option<Instant>>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    inbox: VecDeque<Job>,
    /// Requests that the guest was given and that are not over.
    active: Vec<Arc<Request>>,
    taken: u32,
    /// Takes no more requests.
    closed: bool,
}

impl State {
    fn load(&self) -> usize {
        self.inbox.len() + self.active.len()
    }
}

impl Shared {
    fn new(function: Arc<Function>) -> Self {
        Shared {
            function,
            state: Mutex::default(),
            waits: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            slices: AtomicU32::new(0),
            woken: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    #[allow(
        clippy::result_large_err,
        reason = "a job that is not taken is moved back, which is cheaper than a box for each"
    )]
    fn offer(&self, job: Job, reuse: u32) -> Result<(), Job> {
        let mut state = self.lock();
        if state.closed || state.load() >= AT_ONCE {
            return Err(job);
        }
        state.taken += 1;
        state.closed = state.taken >= reuse;
        state.inbox.push_back(job);
        drop(state);
        self.waker.wake();
        Ok(())
    }

    /// For the run queue: see `Request`.
    pub fn begin(&self) -> bool {
        self.begun.swap(true, Ordering::Relaxed)
    }

    /// When it began to want a thread: each time that it has waited for something anew.
    pub fn runnable_since(&self) -> Instant {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        *woken.get_or_insert_with(Instant::now)
    }

    /// Adds CPU time of one turn, in nanoseconds.
    pub fn add_cpu(&self, nanoseconds: u64) {
        self.function.figures.add_cpu(nanoseconds);
        self.function.note_service(nanoseconds);
    }

    pub fn slices(&self) -> u32 {
        self.slices.load(Ordering::Relaxed)
    }

    pub fn preempt(&self) {
        self.slices.fetch_add(1, Ordering::Relaxed);
    }

    /// Does the guest burn CPU although a request of it is past its deadline? Else that request would be over by now.
    pub fn is_stuck(&self) -> bool {
        self.lock().active.iter().any(|request| request.deadline.elapsed() > GRACE)
    }

    /// The turn is over: sends what was written, and notes whether the guest waits.
    pub fn turn_over(&self, interrupted: bool) {
        if !interrupted {
            self.slices.store(0, Ordering::Relaxed);
            *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.waits.store(!interrupted, Ordering::Relaxed);
        for request in &self.lock().active {
            request.flush();
        }
    }

    pub fn turn_begins(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }

    /// The instance has ended: fails all that it did not finish.
    pub fn end(&self, engine: &Engine, failure: &Failure) {
        let mut state = self.lock();
        state.closed = true;
        let active = std::mem::take(&mut state.active);
        let inbox = std::mem::take(&mut state.inbox);
        drop(state);
        for request in active.into_iter().chain(inbox.into_iter().map(|job| job.request)) {
            let late = request.must_end();
            request.finish(Err(late.unwrap_or_else(|| failure.clone())));
            engine.clock.unwatch(&request);
            engine.clock.end();
        }
    }

    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        let job = state.inbox.pop_front()?;
        state.active.push(job.request.clone());
        Some(job)
    }

    /// A request is over; `retire` when the instance shall take no more.
    fn over(&self, engine: &Engine, request: &Arc<Request>, retire: bool) {
        let mut state = self.lock();
        state.active.retain(|each| !Arc::ptr_eq(each, request));
        state.closed |= retire;
        drop(state);
        engine.clock.unwatch(request);
        engine.clock.end();
    }
}

/// The life of a shared instance: from its first request to its last.
pub async fn live(engine: Arc<Engine>, shared: Arc<Shared>) -> Result<(), Failure> {
    let Some(first) = shared.lock().inbox.front().map(|job| job.request.clone()) else { return Ok(()) };
    let mut instance = match Instance::make(&engine, &first).await? {
        Ok(instance) => instance,
        Err(unmade) => {
            let (store, error) = *unmade;
            return Err(failed(error, &store, &first));
        }
    };
    instance.store.data_mut().shared = Some(shared.clone());
    let Exports::P3(service) = &instance.exports else { return Ok(()) };
    let served = instance.store.run_concurrent(async |accessor| serve_all(&engine, &shared, accessor, service).await);
    let result = served.await.and_then(|result| result);
    let limits = &instance.store.data().limits;
    shared.function.figures.note_peak(limits.peak());
    // Ended by the clock, which is no fault of those that are not late.
    let stuck = shared.is_stuck();
    result.map_err(|error| if stuck { Failure::Stopped } else { failed(error, &instance.store, &first) })
}

fn failed(error: wasmtime::Error, store: &wasmtime::Store<Host>, request: &Request) -> Failure {
    let (failure, log) = classify(&error, &store.data().limits);
    if let Some(log) = log {
        request.log(log);
    }
    failure
}

async fn serve_all(
    engine: &Arc<Engine>,
    shared: &Arc<Shared>,
    accessor: &Accessor<Host>,
    service: &Service,
) -> wasmtime::Result<()> {
    let mut calls = FuturesUnordered::new();
    let mut idle: Option<Pin<Box<tokio::time::Sleep>>> = None;
    let mut served = 0;
    poll_fn(|cx| {
        loop {
            match calls.poll_next_unpin(cx) {
                Poll::Ready(Some((request, result))) => {
                    let fatal = over(engine, shared, &request, result);
                    accessor.with(|mut access| access.data_mut().ended(&request));
                    match fatal {
                        Some(error) => return Poll::Ready(Err(error)),
                        None => continue,
                    }
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            shared.waker.register(cx.waker());
            if let Some(job) = shared.take() {
                idle = None;
                served += 1;
                if served > 1 {
                    shared.function.figures.note_reused();
                }
                accessor.with(|mut access| access.data_mut().current.set(Some(job.request.clone())));
                calls.push(call(accessor, service, job));
                continue;
            }
            if !calls.is_empty() {
                return Poll::Pending;
            }
            // What the guest does after its answers keeps the instance, but not for longer than an idle one is kept.
            let expired = idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(IDLE))).as_mut().poll(cx).is_ready();
            let done = shared.is_closed() && accessor.poll_no_interesting_tasks(cx).is_ready();
            if expired || done {
                // Closed under the lock that requests are offered under: none can slip in.
                let mut state = shared.lock();
                if state.inbox.is_empty() {
                    state.closed = true;
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            return Poll::Pending;
        }
    })
    .await
}

/// Serves one request; ends early when it must end.
async fn call(accessor: &Accessor<Host>, service: &Service, job: Job) -> (Arc<Request>, Result<(), ServeError>) {
    let Job { request, head } = job;
    let mut work = pin!(serve_p3::answer(accessor, service, head, &request));
    let result = poll_fn(|cx: &mut Context<'_>| {
        if let Some(failure) = request.must_end() {
            return Poll::Ready(Err(failure.into()));
        }
        request.register(cx.waker());
        if request.was_stopped() {
            cx.waker().wake_by_ref();
        }
        work.as_mut().poll(cx)
    })
    .await;
    (request.clone(), result)
}

/// Says the last word on a request. Gives back what the instance cannot go on after.
fn over(
    engine: &Engine,
    shared: &Shared,
    request: &Arc<Request>,
    result: Result<(), ServeError>,
) -> Option<wasmtime::Error> {
    let result = match result {
        Ok(()) => Ok(()),
        Err(ServeError::Failure(failure)) => Err(failure),
        // Told to this request too when the instance ends.
        Err(ServeError::Wasm(error)) => return Some(error),
    };
    let retire = matches!(result, Err(Failure::Deadline));
    // First the instance is free, then the client may send its next request.
    shared.over(engine, request, retire);
    request.finish(result);
    None
}
