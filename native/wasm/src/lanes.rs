//! The turns of one workload that wait, under time slices: multi-level feedback, so that a short request does not stand
//! behind those that burn CPU, and those come on nevertheless.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::waiting::{Item, Stage};

/// A fresh request gets at least every eighth turn of the short ones, however many of those that began are woken.
const PASSES_FRESH: u32 = 7;
/// Of the CPU time of a workload whose short requests would take all of it, its long ones get a quarter: a third of what
/// the short ones take. What they are owed, or owe, is at most `OWED`, in nanoseconds, so that they never hold the threads for
/// long.
const SHORT_TO_LONG: i64 = 3;
const OWED: i64 = 4_000_000;

pub struct Lanes<T> {
    begun: VecDeque<Item<T>>,
    fresh: VecDeque<Item<T>>,
    long: VecDeque<Item<T>>,
    /// Turns taken since the last one of `fresh`, while it waited.
    passed: u32,
    /// CPU time that the long ones are owed, in nanoseconds.
    owed: i64,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Lanes { begun: VecDeque::new(), fresh: VecDeque::new(), long: VecDeque::new(), passed: 0, owed: 0 }
    }
}

impl<T> Lanes<T> {
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.fresh.is_empty() && self.long.is_empty()
    }

    pub fn push(&mut self, stage: Stage, item: Item<T>) {
        let lane = match stage {
            Stage::Fresh => &mut self.fresh,
            Stage::Begun => &mut self.begun,
            Stage::Long => &mut self.long,
        };
        lane.push_back(item);
    }

    pub fn pop(&mut self) -> Option<T> {
        if self.owed > 0
            && let Some(item) = self.long.pop_front()
        {
            return Some(item.turn);
        }
        if !self.fresh.is_empty() && (self.begun.is_empty() || self.passed >= PASSES_FRESH) {
            self.passed = 0;
            return self.fresh.pop_front().map(|item| item.turn);
        }
        self.passed = self.passed.saturating_add(1);
        self.begun.pop_front().or_else(|| self.long.pop_front()).map(|item| item.turn)
    }

    /// A turn is over that took so much CPU time.
    pub fn charge(&mut self, long: bool, cpu: Duration) {
        let nanoseconds = i64::try_from(cpu.as_nanos()).unwrap_or(i64::MAX);
        let short_wait = !self.begun.is_empty() || !self.fresh.is_empty();
        self.owed = match (long, short_wait) {
            (true, true) => self.owed.saturating_sub(nanoseconds).max(-OWED),
            // What they take while nobody else waits is no debt.
            (true, false) => self.owed.min(0),
            (false, _) if self.long.is_empty() => self.owed,
            (false, _) => self.owed.saturating_add(nanoseconds / SHORT_TO_LONG).min(OWED),
        };
    }

    /// Takes out what is past its deadline, of those that have not begun: nobody else looks at them.
    pub fn take_late(&mut self, now: Instant, late: &mut Vec<T>) {
        if !self.fresh.iter().any(|item| item.is_late(now)) {
            return;
        }
        for item in std::mem::take(&mut self.fresh) {
            if item.is_late(now) {
                late.push(item.turn);
            } else {
                self.fresh.push_back(item);
            }
        }
    }

    /// When the first of those that have not begun is late.
    pub fn earliest(&self) -> Option<Instant> {
        self.fresh.iter().filter_map(|item| item.deadline).min()
    }
}
