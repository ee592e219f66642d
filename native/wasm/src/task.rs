//! A request as a task of the run queue: the boundary where panics stop, deadlines are looked at, and the last word is
//! said whatever happened inside.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_task::WithInfo;

use crate::body::IncomingBody;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::request::Request;
use crate::serve;

type Work = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

struct Task {
    /// None once it has ended.
    work: Option<Work>,
    engine: Arc<Engine>,
    request: Arc<Request>,
    watched: bool,
}

/// Puts a request into the run queue.
pub fn spawn(engine: &Arc<Engine>, request: Arc<Request>, head: http::Request<IncomingBody>) {
    engine.clock.begin();
    let task = Task {
        work: Some(Box::pin(serve::serve(engine.clone(), request.clone(), head))),
        engine: engine.clone(),
        request: request.clone(),
        watched: false,
    };
    let queue = engine.queue.clone();
    let schedule = WithInfo::from(move |turn, _| queue.push(turn));
    let (turn, handle) = async_task::Builder::new().metadata(request).spawn(move |_| task, schedule);
    handle.detach();
    turn.schedule();
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        if let Some(failure) = task.request.must_end() {
            task.end(Err(failure));
            return Poll::Ready(());
        }
        let Some(work) = task.work.as_mut() else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
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
    fn end(&mut self, result: Result<(), Failure>) {
        let Some(work) = self.work.take() else { return };
        self.request.finish(result);
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
