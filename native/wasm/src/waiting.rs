//! The turns that wait for a thread, in the order that the discipline gives them. Pure: no clock, no lock and no thread in
//! it, and nothing known of what waits.

use std::time::{Duration, Instant};

use crate::discipline::Discipline;
use crate::fair::Fair;
use crate::ordered::Ordered;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not begun.
    Fresh,
    /// It began, and was woken or was interrupted early: to finish those first keeps few instances alive at once, and their
    /// memory in the CPU's caches.
    Begun,
    /// It has burnt CPU for a while.
    Long,
}

/// What decides on the place of a turn.
#[derive(Clone, Copy)]
pub struct Standing {
    pub account: Account,
    pub stage: Stage,
    /// When its request came.
    pub arrived: Instant,
    /// CPU time that it is expected to need yet.
    pub remaining: Duration,
    /// When it is of no more use, for one that nobody else ends then.
    pub deadline: Option<Instant>,
}

/// Who pays for CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The number of the workload, see workloads.rs.
    pub workload: usize,
    /// 0 to 9, 9 being the most urgent.
    pub priority: u8,
}

/// A turn that waits.
pub struct Item<T> {
    pub turn: T,
    pub deadline: Option<Instant>,
}

impl<T> Item<T> {
    pub fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

enum Order<T> {
    Fair(Fair<T>),
    Ordered(Ordered<T>),
}

pub struct Waiting<T> {
    order: Order<T>,
    /// No turn that waits is late before.
    earliest: Option<Instant>,
    /// Late ones are not looked for before.
    rest_until: Instant,
}

/// To look at one turn takes some 30 ns: so much later they are looked at anew, for each, that it costs a few per cent of a
/// core at most, and among ten thousand that wait a deadline is noticed within 10 ms.
const REST_FOR_EACH: Duration = Duration::from_micros(1);

impl<T> Waiting<T> {
    /// `began` is before all that arrives.
    pub fn new(discipline: Discipline, began: Instant) -> Self {
        let order = match discipline {
            Discipline::Slice => Order::Fair(Fair::default()),
            Discipline::Fcfs | Discipline::Sjf => Order::Ordered(Ordered::new(discipline, began)),
        };
        Waiting { order, earliest: None, rest_until: began }
    }

    pub fn len(&self) -> usize {
        match &self.order {
            Order::Fair(fair) => fair.len(),
            Order::Ordered(ordered) => ordered.len(),
        }
    }

    pub fn push(&mut self, standing: &Standing, turn: T) {
        if let Some(deadline) = standing.deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
        let item = Item { turn, deadline: standing.deadline };
        match &mut self.order {
            Order::Fair(fair) => fair.push(standing, item),
            Order::Ordered(ordered) => ordered.push(standing, item),
        }
    }

    /// Takes the turn that is next.
    pub fn pop(&mut self) -> Option<T> {
        match &mut self.order {
            Order::Fair(fair) => fair.pop(),
            Order::Ordered(ordered) => ordered.pop(),
        }
    }

    /// A turn is over that took so much CPU time.
    pub fn charge(&mut self, account: Account, long: bool, cpu: Duration) {
        if let Order::Fair(fair) = &mut self.order {
            fair.charge(account, long, cpu);
        }
    }

    /// Takes out what is past its deadline.
    pub fn take_late(&mut self, now: Instant) -> Vec<T> {
        if self.earliest.is_none_or(|earliest| earliest > now) || now < self.rest_until {
            return Vec::new();
        }
        self.rest_until = now + REST_FOR_EACH * u32::try_from(self.len()).unwrap_or(u32::MAX);
        let (late, earliest) = match &mut self.order {
            Order::Fair(fair) => fair.take_late(now),
            Order::Ordered(ordered) => ordered.take_late(now),
        };
        self.earliest = earliest;
        late
    }

    /// The workload of this number is gone; the number may be another's from now on.
    pub fn forget(&mut self, workload: usize) {
        if let Order::Fair(fair) = &mut self.order {
            fair.forget(workload);
        }
    }

    /// Takes out everything.
    pub fn take_all(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests;
