//! Time slices, shared fairly: the workload that has had the least CPU time for its weight is next, and within it lanes.rs
//! decides. So the many requests of one workload take no more than its share from the others. The measure is virtual run
//! time as in start-time fair queueing (Goyal, Vin, Cheng 1996) and Linux's CFS.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::discipline::DEFAULT_PRIORITY;
use crate::lanes::Lanes;
use crate::waiting::{Account, Item, Standing};

/// A workload that waited for something has not saved up the time that it left to others, but for so much: it goes before
/// those that burn CPU, and the more urgent one before the other.
const CREDIT: Duration = Duration::from_millis(6);

struct Flow<T> {
    lanes: Lanes<T>,
    /// Virtual run time: nanoseconds at the default priority.
    used: u64,
    /// The place that it has in `Fair::order`, while anything of it waits.
    place: Option<u64>,
}

impl<T> Default for Flow<T> {
    fn default() -> Self {
        Flow { lanes: Lanes::default(), used: 0, place: None }
    }
}

pub struct Fair<T> {
    /// By the number of the workload.
    flows: Vec<Flow<T>>,
    /// Those of which something waits: by virtual run time, and their number.
    order: BTreeSet<(u64, usize)>,
    /// The most that the least of them ever had.
    floor: u64,
    len: usize,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Fair { flows: Vec::new(), order: BTreeSet::new(), floor: 0, len: 0 }
    }
}

/// A workload's weight by its priority, 1 to 10, as containers have it.
fn weight(priority: u8) -> u64 {
    u64::from(priority) + 1
}

/// CPU time as virtual run time.
fn weighed(cpu: Duration, priority: u8) -> u64 {
    let nanoseconds = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
    nanoseconds.saturating_mul(weight(DEFAULT_PRIORITY)) / weight(priority)
}

fn credit(priority: u8) -> u64 {
    CREDIT.as_nanos() as u64 * weight(priority) / weight(DEFAULT_PRIORITY)
}

impl<T> Fair<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, standing: &Standing, item: Item<T>) {
        let Account { workload, priority } = standing.account;
        if self.flows.len() <= workload {
            self.flows.resize_with(workload + 1, Flow::default);
        }
        let flow = &mut self.flows[workload];
        flow.lanes.push(standing.stage, item);
        self.len += 1;
        if flow.place.is_none() {
            flow.used = flow.used.max(self.floor.saturating_sub(credit(priority)));
            flow.place = Some(flow.used);
            self.order.insert((flow.used, workload));
        }
    }

    pub fn pop(&mut self) -> Option<T> {
        let &(used, workload) = self.order.first()?;
        self.floor = self.floor.max(used);
        let flow = &mut self.flows[workload];
        let turn = flow.lanes.pop()?;
        self.len -= 1;
        if flow.lanes.is_empty() {
            flow.place = None;
            self.order.pop_first();
        }
        Some(turn)
    }

    pub fn charge(&mut self, account: Account, long: bool, cpu: Duration) {
        let Some(flow) = self.flows.get_mut(account.workload) else { return };
        flow.lanes.charge(long, cpu);
        flow.used = flow.used.saturating_add(weighed(cpu, account.priority));
        if self.order.is_empty() {
            // It had the threads because nobody else wanted them: who comes now is not ahead of it by that.
            self.floor = self.floor.max(flow.used);
        }
        if let Some(place) = flow.place {
            self.order.remove(&(place, account.workload));
            self.order.insert((flow.used, account.workload));
            flow.place = Some(flow.used);
        }
    }

    pub fn take_late(&mut self, now: Instant) -> (Vec<T>, Option<Instant>) {
        let (mut late, mut earliest) = (Vec::new(), None::<Instant>);
        let Fair { flows, order, .. } = self;
        order.retain(|&(_, workload)| {
            let flow = &mut flows[workload];
            flow.lanes.take_late(now, &mut late);
            earliest = [earliest, flow.lanes.earliest()].into_iter().flatten().min();
            if flow.lanes.is_empty() {
                flow.place = None;
            }
            flow.place.is_some()
        });
        self.len -= late.len();
        (late, earliest)
    }

    pub fn forget(&mut self, workload: usize) {
        if let Some(flow) = self.flows.get_mut(workload)
            && flow.place.is_none()
        {
            *flow = Flow::default();
        }
    }
}
