//! The engine as a whole: what exists once in a node, and is started and stopped together.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::component::{Prepared, Refusal, prepare};
use crate::config;
use crate::function::Code;
use crate::host::{self, Host};
use crate::outbox::Outbox;
use crate::queue::{RunQueue, start_threads};

pub struct Engine {
    pub wasmtime: wasmtime::Engine,
    pub linker: Linker<Host>,
    pub queue: Arc<RunQueue>,
    pub clock: Arc<Clock>,
    pub outbox: Arc<Outbox>,
    pub cache: Cache,
    /// Instances that may live at once.
    pub places: Semaphore,
    /// Held by the one who compiles.
    pub compiling: Mutex<()>,
    /// Components in use by digest, so that functions with the same component share its code.
    components: Mutex<HashMap<String, (Weak<Code>, u64)>>,
    io: Mutex<Option<Runtime>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    pub fn open(folder: PathBuf, key: [u8; 32], outbox: Arc<Outbox>) -> Result<Arc<Self>, String> {
        let opened = config::open().map_err(|error| format!("{error:#}"))?;
        if let Some(warning) = &opened.warning {
            outbox.warn(warning);
        }
        let linker = host::linker(&opened.engine).map_err(|error| format!("{error:#}"))?;
        let cache = Cache::open(folder, key, &opened.engine).map_err(|error| error.to_string())?;
        let engine = Arc::new(Engine {
            wasmtime: opened.engine,
            linker,
            queue: Arc::default(),
            clock: Arc::default(),
            outbox,
            cache,
            places: Semaphore::new(opened.places),
            compiling: Mutex::default(),
            components: Mutex::default(),
            io: Mutex::default(),
            threads: Mutex::default(),
        });
        engine.start().map_err(|error| error.to_string())?;
        Ok(engine)
    }

    fn start(&self) -> io::Result<()> {
        // One thread is enough for sockets and timers; blocking jobs (compiling, loading) get threads of their own.
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("skerry-io")
            .enable_all()
            .build()?;
        let count = thread::available_parallelism().map_or(1, usize::from).max(2);
        let mut threads = start_threads(&self.queue, count, io.handle())?;
        threads.push(self.clock.start(self.wasmtime.clone())?);
        *lock(&self.threads) = threads;
        *lock(&self.io) = Some(io);
        Ok(())
    }

    /// Runs a job that blocks on a thread where that is allowed.
    pub fn spawn_blocking(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(io) = lock(&self.io).as_ref() {
            io.spawn_blocking(job);
        }
    }

    /// Linked code of a component, shared with whoever uses it already.
    pub fn prepare(&self, digest: &str, path: &str) -> Result<Prepared, Refusal> {
        if let Some(prepared) = self.shared(digest) {
            return Ok(prepared);
        }
        let prepared = prepare(self, digest, path)?;
        if let Some(earlier) = self.shared(digest) {
            return Ok(earlier);
        }
        let mut components = lock(&self.components);
        components.retain(|_, (code, _)| code.strong_count() > 0);
        components.insert(digest.to_string(), (Arc::downgrade(&prepared.code), prepared.initial_memory));
        Ok(prepared)
    }

    fn shared(&self, digest: &str) -> Option<Prepared> {
        let components = lock(&self.components);
        let (code, initial_memory) = components.get(digest)?;
        Some(Prepared { code: code.upgrade()?, initial_memory: *initial_memory })
    }

    /// Ends the guests that run and the threads. Requests that were not over fail as stopped.
    pub fn close(&self) {
        self.places.close();
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
