//! The engine as a whole: what exists once in a node, and is started and stopped together.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use tokio::runtime::Runtime;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::code::Code;
use crate::component::{Refusal, prepare};
use crate::config;
use crate::discipline::Discipline;
use crate::instance::KeptBytes;
use crate::outbox::Outbox;
use crate::pools::Pools;
use crate::queue::{RunQueue, start_threads};
use crate::workloads::Workloads;

pub struct Engine {
    pub pools: Arc<Pools>,
    pub queue: Arc<RunQueue>,
    pub workloads: Arc<Workloads>,
    pub clock: Arc<Clock>,
    pub outbox: Arc<Outbox>,
    pub cache: Cache,
    /// What instances that are kept for reuse have together.
    pub kept: KeptBytes,
    /// Held by the one who compiles.
    pub compiling: Mutex<()>,
    /// Components in use by digest, so that functions with the same component share its code.
    components: Mutex<HashMap<String, Weak<Code>>>,
    io: Mutex<Option<Runtime>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// `threads` run guests; None for one for each core, and at least two.
    pub fn open(
        folder: PathBuf,
        key: [u8; 32],
        outbox: Arc<Outbox>,
        discipline: Discipline,
        threads: Option<usize>,
    ) -> Result<Arc<Self>, String> {
        let pools = Pools::open(|warning| outbox.warn(warning)).map_err(|error| format!("{error:#}"))?;
        let cache = Cache::open(folder, key, pools.compiler()).map_err(|error| error.to_string())?;
        let queue = Arc::new(RunQueue::new(discipline));
        let engine = Arc::new(Engine {
            pools: Arc::new(pools),
            workloads: Workloads::new(queue.clone()),
            queue,
            clock: Arc::default(),
            outbox,
            cache,
            kept: KeptBytes::new(config::kept_for_reuse()),
            compiling: Mutex::default(),
            components: Mutex::default(),
            io: Mutex::default(),
            threads: Mutex::default(),
        });
        engine.start(threads).map_err(|error| error.to_string())?;
        Ok(engine)
    }

    fn start(&self, threads: Option<usize>) -> io::Result<()> {
        // One thread is enough for sockets and timers; blocking jobs (compiling, loading) get threads of their own.
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("skerry-io")
            .enable_all()
            .build()?;
        let count = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).max(2));
        let mut threads = start_threads(&self.queue, count, io.handle())?;
        threads.push(self.clock.start(self.pools.clone(), self.queue.clone())?);
        *lock(&self.threads) = threads;
        *lock(&self.io) = Some(io);
        Ok(())
    }

    /// Runs a short task on the thread of the sockets and timers.
    pub fn spawn_io(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(io) = lock(&self.io).as_ref() {
            io.spawn(task);
        }
    }

    /// Runs a job that blocks on a thread where that is allowed.
    pub fn spawn_blocking(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(io) = lock(&self.io).as_ref() {
            io.spawn_blocking(job);
        }
    }

    /// Linked code of a component, shared with whoever uses it already.
    pub fn prepare(&self, digest: &str, path: &str) -> Result<Arc<Code>, Refusal> {
        if let Some(code) = self.shared(digest) {
            return Ok(code);
        }
        let code = Arc::new(prepare(self, digest, path)?);
        if let Some(earlier) = self.shared(digest) {
            return Ok(earlier);
        }
        let mut components = lock(&self.components);
        components.retain(|_, code| code.strong_count() > 0);
        components.insert(digest.to_string(), Arc::downgrade(&code));
        Ok(code)
    }

    fn shared(&self, digest: &str) -> Option<Arc<Code>> {
        lock(&self.components).get(digest)?.upgrade()
    }

    /// Ends the guests that run and the threads. Requests that were not over fail as stopped.
    pub fn close(&self) {
        self.pools.close();
        self.queue.close();
        self.clock.close();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
        if let Some(io) = lock(&self.io).take() {
            io.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
