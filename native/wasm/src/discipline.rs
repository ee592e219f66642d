//! In which order guests get a thread. One for the whole engine, chosen when it is opened.

/// The disciplines of the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// First come, first served: a guest that has a thread keeps it until it waits for something or is done.
    Fcfs,
    /// Time slices, in turn, each workload its share: see fair.rs.
    Slice,
    /// The guest with the shortest predicted rest first, looked at anew at each tick: see ordered.rs.
    Sjf,
}

impl Discipline {
    /// By the name that the configuration has for it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "fcfs" => Some(Self::Fcfs),
            "slice" => Some(Self::Slice),
            "sjf" => Some(Self::Sjf),
            _ => None,
        }
    }

    /// Does a guest that burns CPU give up its thread at each tick of the clock?
    pub fn preempts(self) -> bool {
        self != Self::Fcfs
    }
}

/// The highest priority, which is the most urgent.
pub const MOST_URGENT: u8 = 9;
/// The priority of a workload that names none.
pub const DEFAULT_PRIORITY: u8 = 5;
