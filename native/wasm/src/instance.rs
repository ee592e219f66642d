//! An instance of a component: made for one request, or kept for several where the function asks for that.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::code::Linked;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::function::Function;
use crate::host::Host;
use crate::pools::Place;
use crate::request::Request;

pub enum Exports {
    P2(Proxy),
    P3(Service),
}

pub struct Instance {
    pub store: Store<Host>,
    pub exports: Exports,
    // Dropped after the store, which lives in it.
    _place: Place,
    served: u32,
    /// What it counts for among the instances that are kept, in bytes.
    weight: usize,
}

/// A store whose instance could not be made, and why.
pub type Unmade = (Store<Host>, wasmtime::Error);

impl Instance {
    /// Makes an instance for a request, whose deadline and memory limit hold already. The inner error comes from the
    /// guest, the outer one from the engine.
    pub async fn make(engine: &Engine, request: &Arc<Request>) -> Result<Result<Self, Box<Unmade>>, Failure> {
        let function = &request.function;
        // Waits while every place is taken; the deadline goes on.
        let place = engine.pools.place(function.class()).await?;
        let linked = function.code.linked(place.class, &engine.pools).map_err(Failure::Internal)?;
        let mut store =
            Host::store(&engine.pools.of(place.class).wasmtime, request, engine.queue.discipline.preempts());
        let started = Instant::now();
        let made = match linked {
            Linked::P2(code) => code.instantiate_async(&mut store).await.map(Exports::P2),
            Linked::P3(code) => code.instantiate_async(&mut store).await.map(Exports::P3),
        };
        Ok(match made {
            Ok(exports) => {
                function.figures.note_made(started.elapsed());
                Ok(Instance { store, exports, _place: place, served: 0, weight: 0 })
            }
            Err(error) => Err(Box::new((store, error))),
        })
    }
}

/// How long an instance is kept for its next request.
pub const IDLE: Duration = Duration::from_secs(10);

/// The instances of a function that wait for their next request.
#[derive(Default)]
pub struct Kept(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Since when, that used last at the end.
    instances: VecDeque<(Instant, Instance)>,
    /// A task looks after those that nobody uses.
    watched: bool,
}

impl Kept {
    /// An instance for a request, if one waits.
    pub fn take(&self, engine: &Engine, request: &Arc<Request>) -> Option<Instance> {
        let (_, mut instance) = self.lock().instances.pop_back()?;
        engine.kept.give_back(instance.weight);
        let host = instance.store.data_mut();
        host.current.set(Some(request.clone()));
        host.received = request.received.clone();
        request.function.figures.note_reused();
        Some(instance)
    }

    /// Keeps an instance after it has served `function`, unless it has served often enough or too much is kept.
    pub fn put(engine: &Arc<Engine>, function: &Arc<Function>, mut instance: Instance) {
        instance.served += 1;
        let host = instance.store.data_mut();
        host.current.set(None);
        instance.weight = host.limits.used();
        if instance.served >= function.settings.reuse || !engine.kept.take(instance.weight) {
            return;
        }
        instance.store.set_epoch_deadline(Host::FIRST_SLICE);
        let mut waiting = function.kept.lock();
        waiting.instances.push_back((Instant::now(), instance));
        let watched = mem::replace(&mut waiting.watched, true);
        drop(waiting);
        if !watched {
            engine.spawn_io(Self::expire(Arc::downgrade(engine), Arc::downgrade(function)));
        }
    }

    /// Drops the instances that nobody used for a while, until none is left.
    async fn expire(engine: Weak<Engine>, function: Weak<Function>) {
        loop {
            tokio::time::sleep(IDLE / 2).await;
            let (Some(engine), Some(function)) = (engine.upgrade(), function.upgrade()) else { return };
            let mut waiting = function.kept.lock();
            let old = waiting.instances.iter().take_while(|(since, _)| since.elapsed() >= IDLE).count();
            let expired: Vec<_> = waiting.instances.drain(..old).collect();
            waiting.watched = !waiting.instances.is_empty();
            let watched = waiting.watched;
            drop(waiting);
            for (_, instance) in &expired {
                engine.kept.give_back(instance.weight);
            }
            // Taking instances down takes time that this thread's sockets have not.
            engine.spawn_blocking(move || drop(expired));
            if !watched {
                return;
            }
        }
    }

    /// Drops all of them.
    pub fn clear(&self, engine: &Engine) {
        for (_, instance) in self.lock().instances.drain(..) {
            engine.kept.give_back(instance.weight);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that all instances that are kept may have together.
pub struct KeptBytes {
    used: AtomicUsize,
    limit: usize,
}

impl KeptBytes {
    pub fn new(limit: usize) -> Self {
        KeptBytes { used: AtomicUsize::new(0), limit }
    }

    /// False when that would be too much.
    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
