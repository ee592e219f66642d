//! The workloads whose guests share the threads: each has a number, under which the run queue counts what it has had.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::queue::RunQueue;

/// A workload while any function of it is loaded: its revisions share it.
pub struct Workload {
    pub number: usize,
    name: String,
    all: Arc<Workloads>,
}

pub struct Workloads {
    queue: Arc<RunQueue>,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    known: HashMap<String, Weak<Workload>>,
    /// Numbers that were used and are free again, and how many there are in all.
    free: Vec<usize>,
    numbers: usize,
}

impl Workloads {
    pub fn new(queue: Arc<RunQueue>) -> Arc<Self> {
        Arc::new(Workloads { queue, names: Mutex::default() })
    }

    /// The workload of this name.
    pub fn named(self: &Arc<Self>, name: &str) -> Arc<Workload> {
        let mut names = self.lock();
        if let Some(workload) = names.known.get(name).and_then(Weak::upgrade) {
            return workload;
        }
        let number = names.free.pop().unwrap_or_else(|| {
            names.numbers += 1;
            names.numbers - 1
        });
        let workload = Arc::new(Workload { number, name: name.into(), all: self.clone() });
        names.known.insert(name.into(), Arc::downgrade(&workload));
        workload
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.all.queue.forget(self.number);
        let mut names = self.all.lock();
        names.free.push(self.number);
        // One of the same name may have come in the meantime.
        if names.known.get(&self.name).is_some_and(|known| known.strong_count() == 0) {
            names.known.remove(&self.name);
        }
    }
}
