//! Twinlog's binary against real Kafka clusters, judged by Kafka's own clients.
//!
//! `scripts/test e2e` runs this with an optimized binary. The tests are marked as ignored because they take minutes, Java and
//! most of a laptop. Each has its own clusters, on ports from `TWINLOG_E2E_PORT` (21000) on; run them one at a time.
//! `TWINLOG_E2E_MIB` (200) is the load of the large ones, `TWINLOG_E2E_SEED` repeats a run's random choices.

#![allow(clippy::disallowed_methods)]

mod bad_input;
mod bad_target;
mod both_directions;
mod chaos;
mod exact;
mod failover;
mod groups;
mod judge;
mod kafka;
mod mirror;
mod security;
mod synthetic;
mod twin;
mod verify;

use std::time::{Duration, Instant};

/// Load of the large tests.
fn load_bytes() -> u64 {
    number("TWINLOG_E2E_MIB", 200) << 20
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Polls until `done` says so; panics with `what` when that takes too long.
fn await_until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < patience, "waited {patience:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Random choices that can be repeated (SplitMix64).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
        let seed = number("TWINLOG_E2E_SEED", now.as_secs());
        println!("TWINLOG_E2E_SEED={seed}");
        Self(seed)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }
}
