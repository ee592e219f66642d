//! The memory limit of one instance: all its linear memories, tables and GC heaps together.

use wasmtime::ResourceLimiter;

/// wasmtime keeps a table's element in a pointer.
const TABLE_ELEMENT: usize = size_of::<usize>();

pub struct Limits {
    limit: usize,
    used: usize,
    peak: usize,
    exceeded: bool,
}

impl Limits {
    /// `limit` in bytes.
    pub fn new(limit: usize) -> Self {
        Limits { limit, used: 0, peak: 0, exceeded: false }
    }

    /// What the instance has now, in bytes.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The most that the instance had at one time, in bytes.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// The instance asked for more than it may have. Growing failed then, as it may by the specification, and most
    /// guests abort; whatever they abort with, this is the reason.
    pub fn was_exceeded(&self) -> bool {
        self.exceeded
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        match self.used.checked_add(more) {
            Some(used) if used <= self.limit => {
                self.used = used;
                self.peak = self.peak.max(used);
                true
            }
            _ => {
                self.exceeded = true;
                false
            }
        }
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
}
