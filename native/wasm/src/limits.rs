//! The memory limit of one instance: all its linear memories, tables and GC heaps together, and what the host keeps for
//! it in header sets and messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;
use wasmtime_wasi_http::FieldBudget;

/// wasmtime keeps a table's element in a pointer.
const TABLE_ELEMENT: usize = size_of::<usize>();
/// Bytes of header sets and messages that the limit leaves out: a request and its answer have about 200 KiB, and a guest
/// that fills its memory to the last page must still be able to answer.
const FREE: usize = 512 << 10;

pub struct Limits {
    used: usize,
    peak: usize,
    shared: Arc<Shared>,
}

/// What outlives a call into the host: header sets give back what they held wherever they are dropped.
struct Shared {
    limit: usize,
    /// Bytes of memories and tables; as many as `Limits::used`.
    memory: AtomicUsize,
    /// Bytes of header sets and messages.
    kept: AtomicUsize,
    exceeded: AtomicBool,
}

impl Limits {
    /// `limit` in bytes.
    pub fn new(limit: usize) -> Self {
        let shared =
            Shared { limit, memory: AtomicUsize::new(0), kept: AtomicUsize::new(0), exceeded: AtomicBool::new(false) };
        Limits { used: 0, peak: 0, shared: Arc::new(shared) }
    }

    /// What the instance has now, in bytes.
    pub fn used(&self) -> usize {
        self.used.saturating_add(self.shared.kept.load(Ordering::Relaxed))
    }

    /// The most that its memories and tables had at one time, in bytes.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// The instance asked for more than it may have. Growing failed then, as it may by the specification, and most
    /// guests abort; whatever they abort with, this is the reason.
    pub fn was_exceeded(&self) -> bool {
        self.shared.exceeded.load(Ordering::Relaxed)
    }

    /// What its header sets and messages are charged to.
    pub fn budget(&self) -> Arc<dyn FieldBudget> {
        self.shared.clone()
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        let Some(used) = self.used.checked_add(more) else { return self.shared.refuse() };
        if !self.shared.has_room(used, self.shared.kept.load(Ordering::Relaxed)) {
            return self.shared.refuse();
        }
        self.used = used;
        self.peak = self.peak.max(used);
        self.shared.memory.store(used, Ordering::Relaxed);
        true
    }
}

impl Shared {
    fn has_room(&self, memory: usize, kept: usize) -> bool {
        memory.checked_add(kept.saturating_sub(FREE)).is_some_and(|sum| sum <= self.limit)
    }

    fn refuse(&self) -> bool {
        self.exceeded.store(true, Ordering::Relaxed);
        false
    }
}

impl FieldBudget for Shared {
    // One thread at a time runs the guest and takes more; others only give back.
    fn grow(&self, bytes: usize) -> bool {
        let kept = self.kept.load(Ordering::Relaxed).saturating_add(bytes);
        if !self.has_room(self.memory.load(Ordering::Relaxed), kept) {
            return self.refuse();
        }
        self.receive(bytes);
        true
    }

    fn receive(&self, bytes: usize) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: usize) {
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // A table that may not grow so far fails by its own limit, not by this one.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current.saturating_mul(TABLE_ELEMENT), desired.saturating_mul(TABLE_ELEMENT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let mut limits = Limits::new(1 << 20);
        assert!(limits.memory_growing(0, 512 << 10, None).unwrap());
        assert!(limits.table_growing(0, 1024, None).unwrap());
        assert!(limits.memory_growing(0, 448 << 10, None).unwrap());
        assert!(!limits.was_exceeded());
        assert!(!limits.memory_growing(448 << 10, 576 << 10, None).unwrap());
        assert!(limits.was_exceeded());
        assert_eq!(limits.peak(), (960 << 10) + 8 * 1024);
    }

    #[test]
    fn header_sets_count_beyond_what_an_answer_needs() {
        let mut limits = Limits::new(1 << 20);
        let budget = limits.budget();
        assert!(limits.memory_growing(0, 1 << 20, None).unwrap());
        // All of its memory is taken, and it still can answer.
        assert!(budget.grow(FREE));
        assert!(!limits.was_exceeded());
        assert!(!budget.grow(1));
        assert!(limits.was_exceeded());
        budget.shrink(FREE);
        assert_eq!(limits.used(), 1 << 20);
    }

    #[test]
    fn what_header_sets_hold_is_missing_to_memory() {
        let mut limits = Limits::new(1 << 20);
        let budget = limits.budget();
        assert!(budget.grow(FREE + (512 << 10)));
        assert!(!limits.memory_growing(0, 576 << 10, None).unwrap());
        budget.shrink(FREE);
        assert!(limits.memory_growing(0, 576 << 10, None).unwrap());
    }
}
