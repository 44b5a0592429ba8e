//! Clusters of different versions on the two sides.

use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, NEWEST, Place};
use crate::pair::Pair;
use std::time::Duration;

const OLDER: &str = "3.9.1";
/// The last one without WriteTxnMarkers version 1, DescribeProducers and topic ids.
const TOO_OLD_FOR_IDENTICAL: &str = "2.7.2";

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn versions_may_differ() {
    for (source, target) in [(OLDER, NEWEST), (NEWEST, OLDER)] {
        let mut pair = pair(source, target);
        for offsets in ["identical", "append"] {
            let topic = fill(&mut pair, offsets);
            mirror(&mut pair, &topic, &["--offsets", offsets], None);
            match offsets {
                "identical" => pair.same(&topic),
                _ => pair.same_values(&topic),
            }
        }
        over_and_back(&mut pair, "identical");
    }
}

/// Where the target lacks what gaps are filled with, it is said which version has it, and what can be had instead: transactions
/// fill them, if identical offsets are demanded.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_target_that_is_too_old_for_identical_offsets() {
    let mut pair = pair(NEWEST, TOO_OLD_FOR_IDENTICAL);
    let topic = fill(&mut pair, "old");
    let demand = pair.mirror(&topic, "demand").with(&["--offsets", "identical"]);
    demand.run().ended_with(0, &["empty transactions", "WriteTxnMarkers", "Kafka 2.8 and later"]);
    pair.same(&topic);
    pair.on_target("delete", &topic);
    // Left to itself the mirror appends, and says why.
    let said = mirror(&mut pair, &topic, &[], Some("offsets: "));
    for words in
        ["offsets: Append, because gaps cannot be filled", "WriteTxnMarkers", "producer.id.expiration.ms"]
    {
        assert!(said.contains(words), "did not say '{words}' but:\n{said}");
    }
    pair.same_values(&topic);
}

fn pair(source: &str, target: &str) -> Pair {
    println!("from {source} to {target}");
    Pair {
        source: Cluster::of(source, Place::Source, 1, &[]),
        target: Cluster::of(target, Place::Target, 1, &[]),
        judge: Judge::start(),
    }
}

/// A topic with transactions and several codecs, and a group that has read some of it.
fn fill(pair: &mut Pair, topic: &str) -> String {
    pair.on_source("create", &format!("{topic} 2 1"));
    pair.on_source("transact", &format!("{topic} 1 10"));
    for (seed, codec) in (2..).zip(["none", "lz4", "zstd"]) {
        pair.on_source("produce", &format!("{topic} {seed} 200000 batch=8000 codec={codec}"));
    }
    pair.on_source("consume", &format!("{topic} readers 40"));
    topic.to_owned()
}

/// Mirrors the topic and the group, with the mirror killed in the middle, once it has said this much, and compares. What it said.
fn mirror(pair: &mut Pair, topic: &str, flags: &[&str], until: Option<&str>) -> String {
    let mirror = pair.mirror(topic, topic).with(flags).with(&["--groups", "readers"]);
    let running = mirror.start();
    match until {
        Some(words) => crate::await_until(words, Duration::from_secs(60), || running.text().contains(words)),
        None => std::thread::sleep(Duration::from_millis(500)),
    }
    let said = running.text();
    running.kill();
    mirror.run().succeeded();
    let verify = ["verify", "--deep", "--topics", topic, "--link", topic, "--groups", "readers"];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
    said
}

fn over_and_back(pair: &mut Pair, topic: &str) {
    let command = |pair: &Pair, what: &str| pair.twinlog(&[what, "--topics", topic, "--link", topic]).run();
    command(pair, "failover").ended_with(0, &["RPO 0"]);
    pair.on_target("transact", &format!("{topic} 5 10"));
    command(pair, "failback").ended_with(0, &["all back on the old primary"]);
    // What the standby's clients aborted stands there as they wrote it.
    same(&mut pair.judge, &pair.source, &pair.target, topic);
    command(pair, "verify").ended_with(0, &["the same on both sides"]);
}
