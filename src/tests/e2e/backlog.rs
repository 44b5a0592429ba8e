//! A backlog: records so old that the target's brokers remember nothing of who wrote them, so nothing but the mirror's own rules
//! keeps it from losing or doubling.

use crate::chaos::two_at_once;
use crate::pair::{Pair, run_cases};
use crate::{Chance, load_bytes};
use std::time::{Duration, Instant};

const YEAR_MS: u64 = 365 * 24 * 3_600_000;
const FORGETFUL: [&str; 2] =
    ["producer.id.expiration.ms=60000", "producer.id.expiration.check.interval.ms=1000"];

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_year_old_backlog() {
    let mut pair = Pair::start((1, 1), &[], &FORGETFUL);
    pair.on_source("create", "old 4 1 retention.ms=-1");
    let load = format!("old 1 {} ago={YEAR_MS} span=3600000 batch=4096", load_bytes() / 8);
    pair.on_source("produce", &load);
    run_cases(
        &mut pair,
        &[
            ("identical", |pair| exact(pair, "identical", &["--offsets", "identical"], Pair::same)),
            ("transactions", |pair| append(pair, "transactions")),
            ("sequences", |pair| append(pair, "sequences")),
        ],
    );
}

fn append(pair: &mut Pair, exactly_once: &str) {
    let flags = ["--offsets", "append", "--exactly-once", exactly_once];
    exact(pair, exactly_once, &flags, Pair::same_values);
}

/// Mirrors the topic twice with these flags: at leisure, for the rate, and with mirrors and the target killed in the middle.
fn exact(pair: &mut Pair, way: &str, flags: &[&str], same: fn(&mut Pair, &str)) {
    let begin = Instant::now();
    pair.mirror("old", &format!("{way}-at-leisure")).with(flags).run().succeeded();
    let (seconds, megabytes) = (begin.elapsed().as_secs_f64(), load_bytes() as f64 / 8e6);
    println!("year-old backlog, {way}: {megabytes:.0} MB in {seconds:.1} s, {:.1} MB/s", megabytes / seconds);
    same(pair, "old");
    pair.on_target("delete", "old");

    let mut chance = Chance::new();
    // A new owner is silent for a lease and this bound.
    let mirror =
        pair.twinlog(&["mirror", "--topics", "old", "--link", way, "--zombie-bound-ms", "3000"]).with(flags);
    for kill in 0..4 {
        let running = mirror.start();
        let silent_ms = if kill == 0 { 0 } else { 4_000 };
        std::thread::sleep(Duration::from_millis(silent_ms + chance.between(300, 1_500)));
        if kill == 1 {
            pair.target.stop(0);
            pair.target.restart(0);
            std::thread::sleep(Duration::from_secs(2));
        }
        if kill == 2 {
            pair.target.kill(0);
            pair.target.restart(0);
            std::thread::sleep(Duration::from_secs(2));
        }
        running.kill();
    }
    two_at_once(&mirror);
    mirror.until_caught_up().run().succeeded();
    same(pair, "old");
    let verify = ["verify", "--deep", "--topics", "old", "--link", way];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
    pair.on_target("delete", "old");
}
