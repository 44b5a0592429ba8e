//! `twinlog sim`: runs seeds in parallel threads and prints what broke.

use crate::sim::{self, Failure, Outcome};
use std::io::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `twinlog sim`, validated.
#[derive(Clone, Debug)]
pub struct Seeds {
    pub seeds: Range<u64>,
    /// Print everything that happens. For one seed.
    pub trace: bool,
}

/// Failures that are told with their story; of the others only what broke.
const STORIES_TOLD: usize = 3;
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Runs the seeds and prints how it went, failures to stdout too: they are the result. Returns whether all passed.
pub fn run(seeds: &Seeds) -> bool {
    if seeds.trace {
        return trace(seeds.seeds.start);
    }
    let begun = Instant::now();
    let next = AtomicU64::new(seeds.seeds.start);
    let tally = Mutex::new(Tally::at(begun));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // A panic in a simulated run is caught and told as that run's failure; its own message would come from nowhere.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.seeds.contains(&seed) {
                        return;
                    }
                    let result = sim::run(seed, None);
                    if let Ok(mut tally) = tally.lock() {
                        tally.add(result);
                    }
                }
            });
        }
    });
    std::panic::set_hook(hook);
    tally.into_inner().is_ok_and(|tally| tally.finish(begun))
}

/// One seed, with everything that happens.
fn trace(seed: u64) -> bool {
    let result = sim::run(
        seed,
        Some(Box::new(|line: &str| {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        })),
    );
    let begun = Instant::now();
    let mut tally = Tally::at(begun);
    tally.add(result);
    tally.finish(begun)
}

struct Tally {
    passed: u64,
    failures: Vec<Failure>,
    total: Outcome,
    said: Instant,
}

impl Tally {
    fn at(said: Instant) -> Self {
        Self { passed: 0, failures: Vec::new(), total: Outcome::default(), said }
    }

    fn add(&mut self, result: Result<Outcome, Failure>) {
        match result {
            Ok(outcome) => {
                self.passed += 1;
                self.total.add(&outcome);
            }
            Err(failure) => {
                println!("{failure}");
                if self.failures.len() < STORIES_TOLD {
                    for line in &failure.story {
                        println!("    {line}");
                    }
                }
                self.failures.push(failure);
            }
        }
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            println!("{} seeds passed, {} failed so far", self.passed, self.failures.len());
        }
    }

    fn finish(mut self, begun: Instant) -> bool {
        self.failures.sort_by_key(|failure| failure.seed);
        println!(
            "{} seeds passed, {} failed in {:.1} s: {}",
            self.passed,
            self.failures.len(),
            begun.elapsed().as_secs_f64(),
            self.total
        );
        if !self.failures.is_empty() {
            let seeds: Vec<String> = self.failures.iter().map(|failure| failure.seed.to_string()).collect();
            println!("failing seeds: {}", seeds.join(" "));
        }
        self.failures.is_empty()
    }
}
