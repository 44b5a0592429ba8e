//! Topics that have other names on the target.

use crate::mirror::Twinlog;
use crate::pair::{Pair, run_cases};

const THREE_DAYS_MS: u64 = 3 * 86_400_000;

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn other_names_are_the_only_difference() {
    let mut pair = Pair::start((1, 1), &[], &[]);
    run_cases(
        &mut pair,
        &[
            ("a prefix, and a name of its own", a_prefix_and_a_name_of_its_own),
            ("a log that begins late, and old records", a_log_that_begins_late_and_old_records),
            ("over and back", over_and_back),
            ("each side has the other's topics", each_side_has_the_other_s_topics),
        ],
    );
}

/// Gaps, groups, growth and settings, kill -9: all as under one name.
fn a_prefix_and_a_name_of_its_own(pair: &mut Pair) {
    const NAMES: [(&str, &str); 2] = [("clicks", "east.clicks"), ("orders", "orders-v2")];
    for (topic, _) in NAMES {
        pair.on_source("create", &format!("{topic} 2 1 retention.ms=123456789"));
        pair.on_source("transact", &format!("{topic} 1 20"));
        pair.on_source("produce", &format!("{topic} 2 2000000 batch=8000"));
    }
    pair.on_source("commit", "orders clerks 0 17");
    let command = |pair: &Pair, words: &[&str]| {
        let twinlog = pair.twinlog(words).with(&["--topics", "clicks|orders", "--link", "named"]);
        twinlog.with(&["--prefix", "east.", "--rename", "orders=orders-v2", "--groups", "clerks"])
    };
    command(pair, &["plan"]).run().ended_with(0, &["topic orders, orders-v2 on the target", "east.clicks"]);
    let mirror = command(pair, &["mirror", "--zombie-bound-ms", "2000", "--sync-topic-configs"]);
    let running = mirror.start();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    running.kill();
    pair.on_source("grow", "clicks 3");
    pair.on_source("produce", "clicks 3 500000");
    pair.on_source("alter", "orders retention.ms=7654321");
    mirror.until_caught_up().run().succeeded();
    for (topic, there) in NAMES {
        same(pair, topic, there);
        let settings = pair.on_source("configs", topic);
        assert_eq!(settings, pair.on_target("configs", there), "settings of {topic}");
    }
    let names: Vec<String> = pair.judge.topics(&pair.target.bootstrap);
    assert!(
        !names.iter().any(|name| name.starts_with("clicks ") || name.starts_with("orders ")),
        "{names:?}"
    );
    command(pair, &["groups", "status"]).run().ended_with(0, &["clerks", "orders"]);
    command(pair, &["verify", "--deep"]).run().ended_with(0, &["the same on both sides"]);
    let read = pair.on_target("consume", "orders-v2 clerks 0");
    assert!(read.iter().filter(|line| line.starts_with("0 ")).all(|line| offset(line) >= 17), "{read:?}");

    // Without the names it is another link's work.
    let nameless = ["--topics", "clicks|orders", "--link", "named"];
    let was = "--prefix east. --rename orders=orders-v2";
    pair.twinlog(&["mirror"]).with(&nameless).run().ended_with(2, &[was, "neither --prefix nor --rename"]);
    pair.twinlog(&["verify"]).with(&nameless).run().ended_with(1, &[was]);
}

/// Seeds, deleted records, transactions: whatever else asks the target something by a topic's name.
fn a_log_that_begins_late_and_old_records(pair: &mut Pair) {
    pair.on_source("create", "late 1 1");
    pair.on_source("empties", "late 5000");
    pair.on_source("produce", "late 1 200000");
    pair.on_source("trim", "late 5000");
    let prefixed = |pair: &Pair, topic: &str| pair.mirror(topic, topic).with(&["--prefix", "far_"]);
    prefixed(pair, "late").run().succeeded();
    same(pair, "late", "far_late");
    pair.on_source("trim", "late 5050");
    pair.on_source("produce", "late 2 100000");
    prefixed(pair, "late").run().succeeded();
    same(pair, "late", "far_late");

    pair.on_source("create", "old 1 1 retention.ms=-1");
    pair.on_source("produce", &format!("old 1 3000000 batch=8000 ago={THREE_DAYS_MS}"));
    let flags = ["--offsets", "append", "--exactly-once", "transactions"];
    // Slow enough to be in the middle of it.
    let running = prefixed(pair, "old").with(&flags).with(&["--max-rate", "500KB/s"]).start();
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    running.kill();
    prefixed(pair, "old").with(&flags).run().ended_with(0, &["go in transactions"]);
    let values = |lines: Vec<String>| crate::pair::values(&lines);
    let there = values(pair.on_target("read", "far_old values"));
    assert_eq!(values(pair.on_source("read", "old values")), there);
    let verify = ["verify", "--deep", "--topics", "old", "--link", "old", "--prefix", "far_"];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
}

/// What clients of the standby write under its name comes back under the primary's.
fn over_and_back(pair: &mut Pair) {
    pair.on_source("create", "tills 2 1");
    pair.on_source("produce", "tills 1 500000 batch=8000");
    pair.on_source("commit", "tills cashiers 0 5");
    let command = |pair: &Pair, words: &[&str]| {
        let twinlog = pair.twinlog(words).with(&["--topics", "tills", "--link", "tills"]);
        twinlog.with(&["--prefix", "north.", "--groups", "cashiers"])
    };
    command(pair, &["mirror", "--until-caught-up"]).run().succeeded();
    command(pair, &["failover"]).run().ended_with(0, &["2 partitions handed over", "RPO 0"]);
    pair.on_target("produce", "north.tills 2 300000 batch=8000");
    pair.on_target("commit", "north.tills cashiers 0 40");
    command(pair, &["failback"]).run().ended_with(0, &["all back on the old primary"]);
    same(pair, "tills", "north.tills");
    let read = pair.on_source("consume", "tills cashiers 0");
    assert_eq!(read.iter().filter(|line| line.starts_with("0 ")).map(|line| offset(line)).min(), Some(40));
    command(pair, &["mirror", "--until-caught-up"]).run().succeeded();
    command(pair, &["verify", "--deep"]).run().ended_with(0, &["the same on both sides"]);
}

/// Two links with a prefix each. What came from the other side is not sent back, and who asks for it learns why.
fn each_side_has_the_other_s_topics(pair: &mut Pair) {
    pair.on_source("create", "local 1 1");
    pair.on_source("produce", "local 1 100000");
    pair.on_target("create", "local 1 1");
    pair.on_target("produce", "local 2 150000");
    let there = pair.mirror(".*local", "there").with(&["--prefix", "east."]);
    let (source, target) = (pair.source.bootstrap.clone(), pair.target.bootstrap.clone());
    let back = Twinlog::mirror(&target, &source, ".*local").with(&["--link", "back", "--prefix", "west."]);
    let back = back.until_caught_up();
    there.run().succeeded();
    back.run().ended_with(3, &["east.local", "--exclude"]);
    back.with(&["--exclude", r"east\..*"]).run().succeeded();
    same(pair, "local", "east.local");
    assert_eq!(pair.on_source("read", "west.local"), pair.on_target("read", "local"));
    there.run().ended_with(3, &["west.local", "--exclude"]);
}

/// Both read the same, offsets included.
#[track_caller]
fn same(pair: &mut Pair, topic: &str, there: &str) {
    assert_eq!(pair.on_source("read", topic), pair.on_target("read", there), "{topic} and {there}");
}

fn offset(line: &str) -> i64 {
    line.split(' ').nth(1).and_then(|offset| offset.parse().ok()).expect("a partition, and an offset")
}
