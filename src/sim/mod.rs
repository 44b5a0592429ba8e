//! The whole link in a world made up from one number: virtual clock, rough network, failing brokers, killed instances.
//!
//! ```text
//!   load ─► source Cluster ◄═ byte streams ═► Shards of 1..2 instances ◄═ byte streams ═► target Cluster ─► checks
//!                  ▲                              │  ▲                                          ▲
//!               faults                       control model ── ledger's appends, metadata ──────┘
//! ```
//!
//! The code under test is the code that ships: [`crate::shard::Shard`], [`crate::control::ledger::Ledger`] and everything they
//! stand on. Only the brokers ([`crate::broker`]), the network and control's errands are stand-ins. After each step the target
//! is compared with the [reference](mod@reference) model; when the faults have ended, everything must be caught up in bounded time.
//!
//! One seed is one run, on every machine: all chance comes from [`random`], and nothing iterates a hash map.

mod brokers;
mod calls;
mod checks;
mod control;
mod errands;
mod faults;
mod ledger_view;
mod letters;
mod network;
mod offsets;
mod plan;
mod pump;
mod random;
mod reference;
#[cfg(test)]
mod scenarios;
mod setup;
mod traffic;
mod transactions;
mod twin;
mod world;
mod writing;

use plan::Plan;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use world::World;

/// Lines of the story that a failure tells.
const STORY_LINES: usize = 40;

/// What a run that passed was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Moments at which something happened.
    pub steps: u64,
    /// Batches found on the target that had passed through untouched; those that were put together anew; control records and
    /// batches of seeds.
    pub batches: u64,
    pub rebuilt: u64,
    pub fillers: u64,
    /// Incarnations of the mirror that were started.
    pub instances: u64,
    /// Lanes that had to stop, and did.
    pub stopped: u64,
    /// Depends on everything that happened: two runs of one seed have the same.
    pub fingerprint: u64,
}

/// A run that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub step: u64,
    /// Virtual time since the run began.
    pub at_us: u64,
    pub what: String,
    /// The last things that happened before.
    pub story: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {} broke at step {}, {:.6} s:", self.seed, self.step, self.at_us as f64 / 1e6)?;
        writeln!(f, "  {}", self.what)?;
        write!(f, "replay it: twinlog sim --seed {}", self.seed)
    }
}

/// Who is told what happens.
pub type Observer = Box<dyn FnMut(&str)>;

/// Runs one seed. The observer is told everything that happens, a line at a time.
///
/// # Errors
/// The rule that was broken. A panic of the code under test counts as one.
pub fn run(seed: u64, observer: Option<Observer>) -> Result<Outcome, Failure> {
    attempt(seed, observer).map_err(|failure| Failure { story: last_lines(seed), ..failure })
}

fn attempt(seed: u64, observer: Option<Observer>) -> Result<Outcome, Failure> {
    let mut world = World::new(seed, Plan::of_seed(seed));
    world.observer = observer;
    let what = match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(Ok(())) => return Ok(world.outcome()),
        Ok(Err(broken)) => broken.to_string(),
        Err(panic) => format!("panic: {}", panic_message(&*panic)),
    };
    Err(Failure { seed, step: world.steps, at_us: world.now_us, what, story: Vec::new() })
}

/// How a failing run ended: it is simply run again, so that runs that pass need not write anything down.
fn last_lines(seed: u64) -> Vec<String> {
    let story = Rc::new(RefCell::new(VecDeque::new()));
    let told = story.clone();
    let observer = move |line: &str| {
        let mut story = told.borrow_mut();
        if story.len() == STORY_LINES {
            story.pop_front();
        }
        story.push_back(line.to_owned());
    };
    let _the_same_failure = attempt(seed, Some(Box::new(observer)));
    story.take().into()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

impl Outcome {
    /// Adds up what several runs were like.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.batches += other.batches;
        self.rebuilt += other.rebuilt;
        self.fillers += other.fillers;
        self.instances += other.instances;
        self.stopped += other.stopped;
        self.fingerprint ^= other.fingerprint;
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} steps, {} batches mirrored and checked, {} put together anew, {} control records and seeds between, \
             {} incarnations, {} lanes stopped as they had to, fingerprint {:016x}",
            self.steps,
            self.batches,
            self.rebuilt,
            self.fillers,
            self.instances,
            self.stopped,
            self.fingerprint
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_run() {
        for seed in 0..5 {
            let first = run(seed, None).map_err(|failure| failure.to_string());
            let second = run(seed, None).map_err(|failure| failure.to_string());
            assert_eq!(first, second);
        }
    }

    #[test]
    fn seeds_pass() {
        for seed in 0..60 {
            if let Err(failure) = run(seed, None) {
                panic!("{failure}");
            }
        }
    }
}
