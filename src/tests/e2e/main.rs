//! Twinlog's binary against real Kafka clusters, judged by Kafka's own clients.
//!
//! `scripts/test e2e` runs this. The tests are marked as ignored because they take minutes, Java and
//! most of a laptop. Each has its own clusters, on ports from `TWINLOG_E2E_PORT` (21000) on; run one at a time with the same
//! ports.
//!
//! | variable | default | with `TWINLOG_E2E_FULL=1` | |
//! |---|---|---|---|
//! | `TWINLOG_E2E_MIB` | 100 | 1000 | load of the large tests |
//! | `TWINLOG_E2E_KILLS` | 6 | 20 | kill -9 in the middle of gaps |
//! | `TWINLOG_E2E_LOG_START` | 3000000 | 50000000 | where the log begins that does not begin at 0 |
//! | `TWINLOG_E2E_COMPACTED` | 25000 | 3000000 | records written to the compacted topic |
//! | `TWINLOG_E2E_SOAK_SECONDS` | 90 | 1800 | a steady load with faults |
//! | `TWINLOG_E2E_SECONDS` | 20 | 60 | how long both sides of one topic are written to |
//!
//! So `TWINLOG_E2E_FULL=1 scripts/test e2e` is the one way to run everything in full size. `TWINLOG_E2E_VERSIONS` (4.3.1) are the
//! versions of Kafka: of both sides, or `SOURCE:TARGET`. `TWINLOG_E2E_SEED` repeats a run's random choices, `TWINLOG_E2E_CASE`
//! runs one case alone of a test that has several.

#![allow(clippy::disallowed_methods)]

mod acls;
mod backlog;
mod bad_input;
mod bad_target;
mod both_directions;
mod capacity;
mod changing;
mod chaos;
mod control;
mod deleted;
mod exact;
mod failover;
mod groups;
mod instances;
mod judge;
mod kafka;
mod kerberos;
mod load;
mod losses;
mod mirror;
mod mirrormaker;
mod nearby;
mod old;
mod opening;
mod pair;
mod plan;
mod prometheus;
mod remote_utils;
mod renaming;
mod security;
mod soak;
mod synthetic;
mod take_over;
mod twin;
mod verify;
mod versions;

use std::time::{Duration, Instant};

/// Load of the large tests.
fn load_bytes() -> u64 {
    size("TWINLOG_E2E_MIB", 100, 1_000) << 20
}

/// What the variable says, or else the default: that of full size if TWINLOG_E2E_FULL is 1.
fn size(variable: &str, modest: u64, full: u64) -> u64 {
    number(variable, if number("TWINLOG_E2E_FULL", 0) == 1 { full } else { modest })
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
