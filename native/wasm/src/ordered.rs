//! First come, first served, and shortest job first: each turn has a number when it begins to wait, and the least is next.
//! What a turn waits is in that number from the beginning (it is a time), so that ageing costs nothing, and whoever waits
//! long enough is before all that come later: none starves.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::discipline::{Discipline, MOST_URGENT};
use crate::waiting::{Item, Standing};

/// A request goes before one that is less urgent by one, if that came no more than this before it.
const PRIORITY_STEP: Duration = Duration::from_millis(250);
/// A request goes before one that needs a millisecond more, if that came no more than so many milliseconds before it. So a
/// request waits for others of its priority until all that came in as many times its own length are done, and no longer.
const AGEING: u32 = 50;

struct Entry<T> {
    /// As if it had come then, in nanoseconds.
    key: u64,
    /// Of two with the same key the first.
    serial: u64,
    item: Item<T>,
}

impl<T> Ord for Entry<T> {
    /// The heap's greatest is the one that is next.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.key, other.serial).cmp(&(self.key, self.serial))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

pub struct Ordered<T> {
    began: Instant,
    shortest_first: bool,
    heap: BinaryHeap<Entry<T>>,
    serial: u64,
}

impl<T> Ordered<T> {
    pub fn new(discipline: Discipline, began: Instant) -> Self {
        Ordered { began, shortest_first: discipline == Discipline::Sjf, heap: BinaryHeap::new(), serial: 0 }
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn push(&mut self, standing: &Standing, item: Item<T>) {
        let less_urgent = u32::from(MOST_URGENT.saturating_sub(standing.account.priority));
        let mut after = standing.arrived.saturating_duration_since(self.began) + PRIORITY_STEP * less_urgent;
        if self.shortest_first {
            after = after.saturating_add(standing.remaining.saturating_mul(AGEING));
        }
        self.serial += 1;
        let key = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.heap.push(Entry { key, serial: self.serial, item });
    }

    pub fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|entry| entry.item.turn)
    }

    /// Gives back what is past its deadline, and when the first of the others is.
    pub fn take_late(&mut self, now: Instant) -> (Vec<T>, Option<Instant>) {
        let entries = std::mem::take(&mut self.heap).into_vec();
        let (late, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.item.is_late(now));
        let earliest = rest.iter().filter_map(|entry| entry.item.deadline).min();
        self.heap = rest.into();
        (late.into_iter().map(|entry| entry.item.turn).collect(), earliest)
    }
}
