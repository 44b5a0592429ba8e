//! Identical offsets where the source's have gaps: transactions, compaction, a log that does not begin at 0.

use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place, script};
use crate::mirror::Twinlog;
use crate::{Chance, load_bytes};
use std::time::Duration;

const KILLS: usize = 6;
/// The log cleaner looks for work all the time.
const EAGER_CLEANER: &str = "log.cleaner.backoff.ms=200";
const COMPACTED: &str =
    "cleanup.policy=compact segment.ms=200 min.cleanable.dirty.ratio=0.01 delete.retention.ms=100";

/// Whoever reads what was committed on the source reads the same on the target, at the same offsets, with either isolation
/// level: nothing undecided ever comes to the target.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn transactions_leave_the_offsets_as_they_are() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "decided", 2, 1, "");
    let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "decided").until_caught_up();
    for seed in 1..=2 {
        judge.must(&format!("transact {} decided {seed} 10", source.bootstrap));
        judge.produce(&source.bootstrap, "decided", seed, 200_000, "batch=4000");
        mirror.run().succeeded();
        same(&mut judge, &source, &target, "decided");
        same_uncommitted(&mut judge, &target, "decided");
    }
    let list = |name: &str, level: &str| console(name, "decided", level);
    let committed = list("e2e-source", "read_committed");
    assert!(committed.lines().count() > 100, "{committed}");
    assert_eq!(committed, list("e2e-target", "read_committed"));
    assert_eq!(committed, list("e2e-target", "read_uncommitted"));
    assert_ne!(committed, list("e2e-source", "read_uncommitted"), "there were aborted records to leave out");
}

/// Compaction leaves holes within batches and between them.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_compacted_topic_keeps_its_offsets() {
    let source = Cluster::start(Place::Source, 1, &[EAGER_CLEANER]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "table", 2, 1, COMPACTED);
    compact(&mut judge, &source, "table");
    for offsets in ["identical", "append"] {
        // What is compacted between two looks is not what the test is about.
        judge.must(&format!("alter {} table min.cleanable.dirty.ratio=0.99", source.bootstrap));
        let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "table")
            .with(&["--offsets", offsets, "--link", offsets])
            .until_caught_up();
        mirror.run().succeeded();
        if offsets == "identical" {
            same(&mut judge, &source, &target, "table");
        } else {
            assert_eq!(values(&mut judge, &source, "table"), values(&mut judge, &target, "table"));
        }
        judge.must(&format!("delete {} table", target.bootstrap));
    }
}

/// The source's log begins far from 0: the target's is moved there, and follows when the source deletes more.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_log_begins_where_the_source_s_begins() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "late", 1, 1, "");
    judge.must(&format!("empties {} late 3000000", source.bootstrap));
    judge.must(&format!("trim {} late 2999990", source.bootstrap));
    judge.produce(&source.bootstrap, "late", 1, 2_000_000, "batch=16384");
    let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "late").until_caught_up();
    // Killed while it seeds, and started again.
    let running = mirror.start();
    std::thread::sleep(Duration::from_millis(Chance::new().between(100, 600)));
    running.kill();
    mirror.clone().with(&["--zombie-bound-ms", "2000"]).run().succeeded();
    same(&mut judge, &source, &target, "late");

    judge.must(&format!("trim {} late 3000500", source.bootstrap));
    judge.produce(&source.bootstrap, "late", 2, 100_000, "");
    mirror.run().succeeded();
    same(&mut judge, &source, &target, "late");
}

/// kill -9 in the middle of gaps, batches that are rebuilt, and transactions.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn gaps_survive_kills() {
    let mut chance = Chance::new();
    let source = Cluster::start(Place::Source, 1, &[EAGER_CLEANER]);
    let target = Cluster::start(Place::Target, 3, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "table", 2, 1, COMPACTED);
    compact(&mut judge, &source, "table");
    judge.must(&format!("alter {} table min.cleanable.dirty.ratio=0.99", source.bootstrap));
    judge.create(&source.bootstrap, "decided", 3, 1, "");
    let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "table|decided")
        .with(&["--zombie-bound-ms", "2000"]);
    let load = std::thread::spawn({
        let bootstrap = source.bootstrap.clone();
        move || {
            let mut judge = Judge::start();
            for seed in 0..12 {
                judge.must(&format!("transact {bootstrap} decided {seed} 60"));
                judge.produce(&bootstrap, "decided", seed, load_bytes() / 200, "");
            }
        }
    });
    for kill in 0..KILLS {
        let running = mirror.start();
        std::thread::sleep(Duration::from_millis(chance.between(300, 4500)));
        if kill == 2 {
            target.kill(1);
        }
        if kill == 4 {
            target.restart(1);
        }
        running.kill();
    }
    load.join().expect("the load");
    mirror.clone().until_caught_up().run().succeeded();
    for topic in ["table", "decided"] {
        same(&mut judge, &source, &target, topic);
        same_uncommitted(&mut judge, &target, topic);
    }
}

/// Fills a topic with keys that come again and again, and waits until the cleaner has been through it.
fn compact(judge: &mut Judge, source: &Cluster, topic: &str) {
    let bootstrap = &source.bootstrap;
    for (seed, codec) in (1..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let options = format!("codec={codec} batch=16384 record=200 keys=few");
        judge.produce(bootstrap, topic, seed, 1_000_000, &options);
        // The active segment is never cleaned; a new one begins with the next batch after segment.ms.
        std::thread::sleep(Duration::from_millis(300));
    }
    let written: i64 = judge.read(bootstrap, topic).values().map(|content| content.end).sum();
    crate::await_until("the cleaner has been there", Duration::from_secs(120), || {
        let seed = 100;
        judge.produce(bootstrap, topic, seed, 2_000, "batch=4000 record=200 keys=few");
        let left: u64 = judge.read(bootstrap, topic).values().map(|content| content.records).sum();
        (left as i64) < written / 2
    });
}

/// Readers of uncommitted records see nothing else than readers of committed ones.
#[track_caller]
fn same_uncommitted(judge: &mut Judge, cluster: &Cluster, topic: &str) {
    let committed = judge.must(&format!("read {} {topic}", cluster.bootstrap));
    assert_eq!(committed, judge.must(&format!("read {} {topic} uncommitted", cluster.bootstrap)));
}

/// Number of records and a digest of their contents without offsets, of each partition.
fn values(judge: &mut Judge, cluster: &Cluster, topic: &str) -> Vec<String> {
    let lines = judge.must(&format!("read {} {topic} values", cluster.bootstrap));
    let columns = |line: &String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    lines.iter().map(columns).map(|words| format!("{} {} {}", words[0], words[3], words[5])).collect()
}

/// What Kafka's console consumer prints of a topic: one line a record, sorted, since partitions come in any order.
fn console(cluster: &str, topic: &str, isolation: &str) -> String {
    let mut words = vec!["consume", cluster, "--topic", topic, "--from-beginning", "--timeout-ms", "5000"];
    words.extend(["--isolation-level", isolation]);
    for each in ["timestamp", "partition", "offset", "key", "value", "headers"] {
        words.extend(["--property", ["print.", each, "=true"].concat().leak()]);
    }
    let printed = script(&words).unwrap_or_else(|error| panic!("{error}"));
    let mut lines: Vec<&str> = printed.lines().filter(|line| line.contains("Offset:")).collect();
    lines.sort_unstable();
    lines.join("\n")
}
