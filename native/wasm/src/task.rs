//! A request as a task of the run queue: the boundary where panics stop, deadlines are looked at, and the last word is
//! said whatever happened inside.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_task::WithInfo;

use crate::body::IncomingBody;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::queue::Runner;
use crate::request::Request;
use crate::serve;
use crate::shared::{self, Crowd, Job, Shared};

type Work = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

#[allow(
    clippy::large_enum_variant,
    reason = "a box for the head would be one more piece that threads hand to each other"
)]
enum State {
    /// The head of a request that no thread has begun. Its future is large: whoever polls it allocates it, and frees it, so
    /// that threads do not wait for each other's allocator.
    New(http::Request<IncomingBody>),
    Begun(Work),
    Ended,
}

struct Task {
    state: State,
    engine: Arc<Engine>,
    request: Arc<Request>,
    watched: bool,
}

/// Puts a request into the run queue, or hands it to an instance that serves several at once.
pub fn spawn(engine: &Arc<Engine>, request: Arc<Request>, head: http::Request<IncomingBody>) {
    engine.clock.begin();
    let function = &request.function;
    if function.settings.reuse > 1 && function.code.is_concurrent() {
        let function = function.clone();
        return Crowd::serve(engine, &function, Job { request, head });
    }
    let task = Task { state: State::New(head), engine: engine.clone(), request: request.clone(), watched: false };
    schedule(engine, Runner::Alone(request), task);
}

/// Puts an instance that serves several requests at once into the run queue.
pub fn spawn_shared(engine: &Arc<Engine>, shared: Arc<Shared>) {
    let work: Work = Box::pin(shared::live(engine.clone(), shared.clone()));
    let task = SharedTask { work: Some(work), engine: engine.clone(), shared: shared.clone() };
    schedule(engine, Runner::Shared(shared), task);
}

fn schedule(engine: &Engine, runner: Runner, task: impl Future<Output = ()> + Send + 'static) {
    let queue = engine.queue.clone();
    let schedule = WithInfo::from(move |turn, _| queue.push(turn));
    let (turn, handle) = async_task::Builder::new().metadata(runner).spawn(move |_| task, schedule);
    handle.detach();
    turn.schedule();
}

/// A shared instance as a task: panics stop here too.
struct SharedTask {
    /// None once it has ended.
    work: Option<Work>,
    engine: Arc<Engine>,
    shared: Arc<Shared>,
}

impl Future for SharedTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        let Some(work) = task.work.as_mut() else { return Poll::Ready(()) };
        let slices = task.shared.slices();
        task.shared.turn_begins();
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                task.shared.turn_over(task.shared.slices() > slices);
                return Poll::Pending;
            }
            Ok(Poll::Ready(Ok(()))) => task.end(&Failure::Stopped),
            Ok(Poll::Ready(Err(failure))) => task.end(&failure),
            Err(panic) => task.end(&Failure::Internal(message(panic.as_ref()))),
        }
        Poll::Ready(())
    }
}

impl SharedTask {
    fn end(&mut self, failure: &Failure) {
        let Some(work) = self.work.take() else { return };
        self.shared.end(&self.engine, failure);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

impl Drop for SharedTask {
    fn drop(&mut self) {
        self.end(&Failure::Stopped);
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        if let Some(failure) = task.request.must_end() {
            task.end(Err(failure));
            return Poll::Ready(());
        }
        match catch_unwind(AssertUnwindSafe(|| task.work().map_or(Poll::Ready(Ok(())), |work| work.as_mut().poll(cx))))
        {
            Ok(Poll::Pending) => {
                task.request.flush();
                task.request.register(cx.waker());
                if !task.watched {
                    task.watched = true;
                    task.engine.clock.watch(&task.request);
                }
                // A stop that came before the waker was registered woke nobody.
                if task.request.was_stopped() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Ok(Poll::Ready(result)) => {
                task.end(result);
                Poll::Ready(())
            }
            Err(panic) => {
                task.end(Err(Failure::Internal(message(panic.as_ref()))));
                Poll::Ready(())
            }
        }
    }
}

impl Task {
    /// None once it has ended.
    fn work(&mut self) -> Option<&mut Work> {
        if let State::New(_) = self.state
            && let State::New(head) = mem::replace(&mut self.state, State::Ended)
        {
            self.state = State::Begun(Box::pin(serve::serve(self.engine.clone(), self.request.clone(), head)));
        }
        match &mut self.state {
            State::Begun(work) => Some(work),
            _ => None,
        }
    }

    fn end(&mut self, result: Result<(), Failure>) {
        let work = mem::replace(&mut self.state, State::Ended);
        if let State::Ended = work {
            return;
        }
        self.request.finish(result);
        self.request.note_end();
        // Dropping the guest gives its slot back to the pool.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
        if self.watched {
            self.engine.clock.unwatch(&self.request);
        }
        self.engine.clock.end();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.end(Err(Failure::Stopped));
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_string()
}
