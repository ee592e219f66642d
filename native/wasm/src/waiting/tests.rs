//! What each discipline promises, by a thread whose time is that of the turns that it takes.

use super::*;
use crate::discipline::DEFAULT_PRIORITY;

const MS: Duration = Duration::from_millis(1);

/// A queue and one thread, whose time is that of its turns.
struct Machine {
    waiting: Waiting<Job>,
    began: Instant,
    now: Instant,
    discipline: Discipline,
    /// The names of the jobs, in the order in which they were done.
    done: Vec<&'static str>,
}

#[derive(Clone, Copy)]
struct Job {
    name: &'static str,
    account: Account,
    arrived: Instant,
    deadline: Instant,
    needs: Duration,
    used: Duration,
}

impl Machine {
    fn new(discipline: Discipline) -> Self {
        let began = Instant::now();
        Machine { waiting: Waiting::new(discipline, began), began, now: began, discipline, done: Vec::new() }
    }

    fn job(&self, name: &'static str, workload: usize, needs: Duration) -> Job {
        let account = Account { workload, priority: DEFAULT_PRIORITY };
        let deadline = self.now + Duration::from_secs(3600);
        Job { name, account, arrived: self.now, deadline, needs, used: Duration::ZERO }
    }

    fn push(&mut self, job: Job) {
        let stage = match job.used {
            Duration::ZERO => Stage::Fresh,
            used if used < 8 * MS => Stage::Begun,
            _ => Stage::Long,
        };
        let deadline = (stage == Stage::Fresh).then_some(job.deadline);
        let remaining = job.needs - job.used;
        let standing = Standing { account: job.account, stage, arrived: job.arrived, remaining, deadline };
        self.waiting.push(&standing, job);
    }

    fn add(&mut self, name: &'static str, workload: usize, needs: Duration) {
        self.push(self.job(name, workload, needs));
    }

    /// One turn: to its end, or to the tick where the discipline has those.
    fn turn(&mut self) -> Option<Job> {
        let mut job = self.waiting.pop()?;
        let left = job.needs - job.used;
        let cpu = if self.discipline.preempts() { left.min(MS) } else { left };
        let long = job.used >= 8 * MS;
        job.used += cpu;
        self.now += cpu;
        if job.used < job.needs {
            self.push(job);
        } else {
            self.done.push(job.name);
        }
        self.waiting.charge(job.account, long, cpu);
        Some(job)
    }

    fn run(mut self) -> Vec<&'static str> {
        while self.turn().is_some() {}
        self.done
    }
}

const ALL: [Discipline; 3] = [Discipline::Fcfs, Discipline::Slice, Discipline::Sjf];

#[test]
fn the_same_jobs_are_done_in_three_orders() {
    let order = |discipline| {
        let mut machine = Machine::new(discipline);
        machine.add("b1", 1, 30 * MS);
        machine.add("a", 0, 60 * MS);
        machine.add("b2", 1, 30 * MS);
        machine.add("b3", 1, 30 * MS);
        machine.run()
    };
    assert_eq!(order(Discipline::Fcfs), ["b1", "a", "b2", "b3"]);
    assert_eq!(order(Discipline::Sjf), ["b1", "b2", "b3", "a"]);
    assert_eq!(order(Discipline::Slice), ["a", "b1", "b2", "b3"]);
}

#[test]
fn ten_thousand_wait_and_each_gets_its_turn_once() {
    for discipline in ALL {
        let mut machine = Machine::new(discipline);
        for i in 0..10_000 {
            machine.add("one", i % 100, Duration::from_micros(1 + (i as u64 * 7919) % 3000));
        }
        assert_eq!(machine.waiting.len(), 10_000);
        assert_eq!(machine.run().len(), 10_000, "{discipline:?}");
    }
}

/// Whoever waits is served while others never stop coming: shorter, more urgent, and of other workloads.
#[test]
fn none_starves() {
    for discipline in ALL {
        let mut machine = Machine::new(discipline);
        let mut unlucky = machine.job("unlucky", 0, 40 * MS);
        unlucky.account.priority = 0;
        machine.push(unlucky);
        let hurried = |machine: &mut Machine| {
            let mut job = machine.job("hurried", 1, MS);
            job.account.priority = 9;
            machine.push(job);
        };
        hurried(&mut machine);
        // Twice as many come as the thread can serve.
        while !machine.done.contains(&"unlucky") {
            hurried(&mut machine);
            hurried(&mut machine);
            assert!(machine.now < machine.began + Duration::from_secs(10), "{discipline:?}");
            machine.turn();
        }
    }
}

#[test]
fn the_wait_of_a_long_one_for_shorter_ones_is_bounded_by_its_length() {
    let mut machine = Machine::new(Discipline::Sjf);
    machine.add("long", 0, 50 * MS);
    while !machine.done.contains(&"long") {
        machine.add("short", 0, MS);
        machine.turn();
    }
    // Those that came in the first fifty times its length went before it.
    assert!(machine.now - machine.began < 52 * 50 * MS, "{:?}", machine.now - machine.began);
}

/// Mean and worst time from arrival to end of ten minutes of requests to four routes, few of which are most of the work, that
/// want 80 % of the thread.
fn responses(discipline: Discipline) -> (Duration, Duration) {
    let mut seed = 88_172_645_463_325_252u64;
    // xorshift64 (Marsaglia 2003), as a number from 0 to 1.
    let mut draw = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let routes = [(1.0, 0.78), (6.0, 0.15), (30.0, 0.055), (150.0, 0.015)];
    let mean_ms: f64 = routes.iter().map(|(ms, share)| ms * share).sum();
    let mut machine = Machine::new(discipline);
    let (mut next, end) = (machine.began, machine.began + Duration::from_secs(600));
    let (mut sum, mut worst, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        while next <= machine.now && next < end {
            let mut left = draw();
            let at = routes.iter().position(|(_, share)| {
                left -= share;
                left < 0.0
            });
            let at = at.unwrap_or(0);
            let mut job = machine.job("one", at, Duration::from_secs_f64(routes[at].0 * (0.5 + draw()) / 1e3));
            job.arrived = next;
            machine.push(job);
            next += Duration::from_secs_f64(-(1.0 - draw()).ln() * mean_ms / 0.8 / 1e3);
        }
        match machine.turn() {
            Some(job) if job.used == job.needs => {
                let took = machine.now - job.arrived;
                (sum, worst, count) = (sum + took, worst.max(took), count + 1);
            }
            Some(_) => {}
            None if next < end => machine.now = next,
            None => return (sum / count, worst),
        }
    }
}

#[test]
fn at_80_per_cent_load_the_shortest_first_halves_the_mean_response_and_the_worst_is_bounded() {
    let [fcfs, slice, sjf] = ALL.map(responses);
    assert!(sjf.0 * 2 < fcfs.0 && slice.0 * 2 < fcfs.0, "{fcfs:?} {slice:?} {sjf:?}");
    // No request is longer than 225 ms.
    assert!(sjf.1 < 50 * 225 * MS + fcfs.1, "{fcfs:?} {sjf:?}");
}

#[test]
fn the_more_urgent_goes_first_until_the_other_has_waited() {
    for discipline in [Discipline::Fcfs, Discipline::Sjf] {
        let mut machine = Machine::new(discipline);
        let by = |machine: &Machine, priority: u8, name| {
            let mut job = machine.job(name, priority.into(), MS);
            job.account.priority = priority;
            job
        };
        machine.push(by(&machine, 1, "patient"));
        machine.push(by(&machine, 8, "urgent"));
        assert_eq!(machine.turn().unwrap().name, "urgent", "{discipline:?}");
        machine.now += Duration::from_secs(3);
        machine.push(by(&machine, 9, "late"));
        assert_eq!(machine.turn().unwrap().name, "patient", "{discipline:?}");
    }
}

/// CPU time that each workload has had when `jobs` of them burn it for ten seconds.
fn shares(jobs: &[(usize, u8, usize)]) -> Vec<Duration> {
    let mut machine = Machine::new(Discipline::Slice);
    for &(workload, priority, count) in jobs {
        for _ in 0..count {
            let mut job = machine.job("hog", workload, Duration::from_secs(1000));
            job.account.priority = priority;
            machine.push(job);
        }
    }
    let mut shares = vec![Duration::ZERO; jobs.len()];
    while machine.now < machine.began + Duration::from_secs(10) {
        shares[machine.turn().unwrap().account.workload] += MS;
    }
    shares
}

fn close_to(share: Duration, wanted: Duration) -> bool {
    share.abs_diff(wanted) < 20 * MS
}

#[test]
fn many_hogs_of_one_workload_take_its_share_alone() {
    let got = shares(&[(0, 5, 100), (1, 5, 1)]);
    assert!(got.iter().all(|&share| close_to(share, Duration::from_secs(5))), "{got:?}");
}

#[test]
fn shares_follow_the_weight_of_the_priority() {
    let got = shares(&[(0, 9, 1), (1, 0, 1), (2, 4, 1)]);
    let sixteenth = Duration::from_secs(10) / 16;
    let wanted = [10 * sixteenth, sixteenth, 5 * sixteenth];
    assert!(got.iter().zip(wanted).all(|(&share, wanted)| close_to(share, wanted)), "{got:?}");
}

#[test]
fn one_that_waited_goes_before_those_that_burn_cpu_and_has_saved_up_little() {
    let mut machine = Machine::new(Discipline::Slice);
    for workload in 0..10 {
        machine.add("hog", workload, Duration::from_secs(1000));
    }
    while machine.now < machine.began + Duration::from_secs(5) {
        machine.turn();
    }
    // It was away for all that time.
    machine.add("woken", 10, 100 * MS);
    assert_eq!(machine.turn().unwrap().name, "woken");
    let turns = (0..50).filter(|_| machine.turn().unwrap().name == "woken").count();
    assert!(turns < 15, "{turns} of 50");
}

#[test]
fn a_short_one_is_not_behind_the_hogs_of_its_own_workload() {
    let mut machine = Machine::new(Discipline::Slice);
    for _ in 0..50 {
        machine.add("hog", 0, Duration::from_secs(1000));
    }
    while machine.now < machine.began + Duration::from_secs(2) {
        machine.turn();
    }
    let asked = machine.now;
    machine.add("short", 0, 2 * MS);
    while !machine.done.contains(&"short") {
        machine.turn();
    }
    assert!(machine.now - asked <= 4 * MS, "{:?}", machine.now - asked);
}

#[test]
fn hogs_get_a_quarter_when_short_ones_of_their_workload_would_take_everything() {
    let mut machine = Machine::new(Discipline::Slice);
    machine.add("hog", 0, Duration::from_secs(1000));
    let mut had = Duration::ZERO;
    while machine.now < machine.began + Duration::from_secs(4) {
        machine.add("short", 0, MS);
        machine.add("short", 0, MS);
        if machine.turn().unwrap().name == "hog" {
            had += MS;
        }
    }
    assert!(close_to(had, Duration::from_secs(1)), "{had:?}");
}

#[test]
fn what_is_past_its_deadline_before_it_began_is_taken_out_and_nothing_else() {
    for discipline in ALL {
        let mut machine = Machine::new(discipline);
        for (at, name) in ["late", "in time", "late", "in time"].into_iter().enumerate() {
            let mut job = machine.job(name, at % 3, 5 * MS);
            job.deadline = machine.now + if name == "late" { 10 * MS } else { 100 * MS };
            machine.push(job);
        }
        assert!(machine.waiting.take_late(machine.now + 9 * MS).is_empty());
        let late = machine.waiting.take_late(machine.now + 10 * MS);
        assert_eq!(late.iter().map(|job| job.name).collect::<Vec<_>>(), ["late", "late"], "{discipline:?}");
        assert_eq!(machine.waiting.len(), 2);
        let rest = machine.waiting.take_late(machine.now + 100 * MS);
        assert_eq!(rest.len(), 2);
        assert_eq!(machine.waiting.len(), 0);
        assert!(machine.waiting.pop().is_none());
    }
}

#[test]
fn a_number_that_is_free_again_brings_nothing_of_the_workload_before() {
    let mut machine = Machine::new(Discipline::Slice);
    machine.add("first", 0, Duration::from_secs(3));
    machine.add("other", 1, Duration::from_secs(1000));
    while !machine.done.contains(&"first") {
        machine.turn();
    }
    machine.waiting.forget(0);
    machine.add("second", 0, 3 * MS);
    for _ in 0..3 {
        assert_eq!(machine.turn().unwrap().name, "second");
    }
}
