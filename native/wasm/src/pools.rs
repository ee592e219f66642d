//! The pools that instances come from, by how much memory a guest leaves behind. A place that was used keeps its memory,
//! which saves the next guest its page faults; how many places may keep how much is bounded for each class by a share of
//! the machine's memory. Who finds its class full gets a place that keeps nothing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::compiled::CompiledFunctions;
use crate::config::{self, Opened};
use crate::failure::Failure;
use crate::host::{self, Host};

/// The classes of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// For guests that write up to 2 MiB: those of languages that are compiled.
    Small,
    /// For guests that write up to 32 MiB: those that bring an interpreter.
    Large,
    /// Gives its memory back after each use.
    Cold,
}

impl Class {
    /// The class of a guest with so much memory, in bytes.
    pub fn of(memory: usize) -> Class {
        if memory <= config::kept(Class::Small) { Class::Small } else { Class::Large }
    }
}

pub struct Pool {
    pub wasmtime: Engine,
    pub linker: Linker<Host>,
    places: Arc<Semaphore>,
}

impl Pool {
    fn new(opened: Opened) -> wasmtime::Result<Self> {
        let linker = host::linker(&opened.engine)?;
        Ok(Pool { wasmtime: opened.engine, linker, places: Arc::new(Semaphore::new(opened.places)) })
    }
}

pub struct Pools {
    /// One of each class, in the order of `Class`.
    pools: [Pool; 3],
    /// What the compiler has made before.
    pub compiled: Arc<CompiledFunctions>,
}

/// A place that is taken; free again when it is dropped.
pub struct Place {
    pub class: Class,
    _permit: OwnedSemaphorePermit,
}

impl Pools {
    /// `warn` is told what the machine did not allow.
    pub fn open(warn: impl Fn(&str)) -> wasmtime::Result<Self> {
        // All with a pool or none: code is compiled for one or the other.
        let compiled = Arc::new(CompiledFunctions::default());
        let opened = Self::each(|class| config::open(class, &compiled)).or_else(|error| {
            warn(&format!("Wasm instances are made without a pool, which is slower: {error:#}"));
            Self::each(|class| config::open_without_pool(class, &compiled))
        })?;
        for warning in opened.iter().filter_map(|opened| opened.warning.as_deref()) {
            warn(warning);
        }
        let [small, large, cold] = opened;
        Ok(Pools { pools: [Pool::new(small)?, Pool::new(large)?, Pool::new(cold)?], compiled })
    }

    fn each(open: impl Fn(Class) -> wasmtime::Result<Opened>) -> wasmtime::Result<[Opened; 3]> {
        Ok([open(Class::Small)?, open(Class::Large)?, open(Class::Cold)?])
    }

    pub fn of(&self, class: Class) -> &Pool {
        &self.pools[class as usize]
    }

    /// The engine that compiles; the others run its code too.
    pub fn compiler(&self) -> &Engine {
        &self.of(Class::Small).wasmtime
    }

    /// Takes a place of the class, or one that keeps nothing; waits while all of those are taken too.
    pub async fn place(&self, class: Class) -> Result<Place, Failure> {
        if let Ok(permit) = self.of(class).places.clone().try_acquire_owned() {
            return Ok(Place { class, _permit: permit });
        }
        let permit = self.of(Class::Cold).places.clone().acquire_owned().await.map_err(|_| Failure::Stopped)?;
        Ok(Place { class: Class::Cold, _permit: permit })
    }

    /// Ends the time slice of every guest that runs.
    pub fn tick(&self) {
        for pool in &self.pools {
            pool.wasmtime.increment_epoch();
        }
    }

    /// Bytes that places keep in memory while nobody uses them.
    pub fn kept_bytes(&self) -> usize {
        let kept = |pool: &Pool| {
            let metrics = pool.wasmtime.pooling_allocator_metrics()?;
            Some(metrics.unused_memory_bytes_resident() + metrics.unused_table_bytes_resident())
        };
        self.pools.iter().filter_map(kept).sum()
    }

    pub fn close(&self) {
        for pool in &self.pools {
            pool.places.close();
        }
    }
}
