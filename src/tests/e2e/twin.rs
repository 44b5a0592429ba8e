//! Identical offsets where the source's have gaps: transactions, compaction, a log that does not begin at 0.

use crate::kafka::{Cluster, script};
use crate::pair::{Pair, run_cases};
use crate::{Chance, load_bytes, size};
use std::time::{Duration, Instant};

/// The log cleaner looks for work all the time.
const EAGER_CLEANER: [&str; 2] = ["log.cleaner.backoff.ms=200", "log.cleaner.dedupe.buffer.size=67108864"];
/// The target's cleaner looks once, at the start. It would clean what was never cleaned, however little there is to do.
const IDLE_CLEANER: [&str; 1] = ["log.cleaner.backoff.ms=86400000"];
const COMPACTED: &str = "segment.ms=200 min.cleanable.dirty.ratio=0.01 delete.retention.ms=100";
/// The cleaner never finds enough to do: what is compacted between two looks is not what the tests are about.
const UNCLEANABLE: &str = "min.cleanable.dirty.ratio=0.99";

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn gaps_leave_the_offsets_as_they_are() {
    let mut pair = Pair::start((1, 1), &EAGER_CLEANER, &IDLE_CLEANER);
    run_cases(
        &mut pair,
        &[
            ("transactions", transactions),
            ("a compacted topic", a_compacted_topic),
            ("a log that begins late", a_log_that_begins_late),
            ("a large gap", a_large_gap),
        ],
    );
}

/// Whoever reads what was committed on the source reads the same on the target, at the same offsets, with either isolation
/// level: nothing undecided ever comes to the target.
fn transactions(pair: &mut Pair) {
    pair.on_source("create", "decided 2 1");
    let mirror = pair.mirror("decided", "decided");
    for seed in 1..=2 {
        // Five committed, five aborted.
        pair.on_source("transact", &format!("decided {seed} 10"));
        pair.on_source("produce", &format!("decided {seed} 200000 batch=4000"));
        mirror.run().succeeded();
        pair.same("decided");
    }
    let records = same_to_the_console(pair, "decided");
    assert!(records > 100, "{records} records");
    let all = pair.on_source("read", "decided uncommitted");
    assert!(records < counted(&all), "there were aborted records to leave out");
}

/// Compaction leaves holes within batches and between them; the log begins behind some of what is left.
fn a_compacted_topic(pair: &mut Pair) {
    let records = size("TWINLOG_E2E_COMPACTED", 25_000, 3_000_000);
    pair.on_source("create", &format!("table 2 1 cleanup.policy=compact,delete retention.ms=-1 {COMPACTED}"));
    let written = compact(pair, "table", records);
    leave_as_it_is(pair, "table", "compact,delete");
    for partition in 0..2 {
        pair.on_source("trim", &format!("table {} {partition}", written / 2 / 4));
    }
    for offsets in ["identical", "append"] {
        let begin = Instant::now();
        // Each hole costs an identical twin a round trip or two.
        let patience_s = 300 + records / 1_000;
        pair.mirror("table", offsets).with(&["--offsets", offsets]).patience(patience_s).run().succeeded();
        let left = counted(&pair.on_source("read", "table"));
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "compacted topic, {offsets}: {left} of {written} records in {seconds:.1} s, {:.0} a second, start included",
            left as f64 / seconds
        );
        if offsets == "identical" {
            pair.same("table");
            // The console consumer is slow.
            if left < 100_000 {
                same_to_the_console(pair, "table");
            }
        } else {
            pair.same_values("table");
        }
        let verify = ["verify", "--deep", "--topics", "table", "--link", offsets];
        pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
        pair.on_target("delete", "table");
    }
}

/// The source's log begins far from 0: the target's is moved there, and follows when the source deletes more.
fn a_log_that_begins_late(pair: &mut Pair) {
    let begins = size("TWINLOG_E2E_LOG_START", 3_000_000, 50_000_000);
    begin_late(pair, "late", begins);
    let begin = Instant::now();
    pair.mirror("late", "late").run().succeeded();
    println!("log start {begins}: mirrored in {:.1} s, start included", begin.elapsed().as_secs_f64());
    pair.same("late");

    // Again, killed while it seeds.
    pair.on_target("delete", "late");
    let mirror = pair.mirror("late", "late-again");
    let running = mirror.start();
    std::thread::sleep(Duration::from_millis(Chance::new().between(100, 600)));
    running.kill();
    mirror.run().succeeded();
    pair.same("late");
    same_to_the_console(pair, "late");

    pair.on_source("trim", &format!("late {}", begins + 500));
    pair.on_source("produce", "late 2 100000");
    mirror.run().succeeded();
    pair.same("late");
}

/// A gap above the limit stops its partition, unless it may be filled with records of aborted transactions: consumers of committed
/// records see the same on both sides.
fn a_large_gap(pair: &mut Pair) {
    let gap = size("TWINLOG_E2E_GAP", 3_000_000, 20_000_000);
    pair.on_source("create", "holed 2 1");
    pair.on_source("produce", "holed 1 100000");
    pair.on_source("abort", &format!("holed {gap}"));
    pair.on_source("produce", "holed 2 100000");
    let mirror = pair.mirror("holed", "holed");
    mirror.run().ended_with(3, &["more than gap-offsets-max (1000000)", "--large-gaps aborted-records"]);
    let filling = mirror.with(&["--large-gaps", "aborted-records"]);
    let mut chance = Chance::new();
    for _ in 0..3 {
        let running = filling.start();
        std::thread::sleep(Duration::from_millis(chance.between(100, 900)));
        running.kill();
    }
    let begin = Instant::now();
    filling.run().succeeded();
    println!(
        "a gap of {gap} offsets: filled in less than {:.1} s, start included",
        begin.elapsed().as_secs_f64()
    );
    crate::exact::same(&mut pair.judge, &pair.source, &pair.target, "holed");
    let committed = counted(&pair.on_target("read", "holed"));
    assert!(counted(&pair.on_target("read", "holed uncommitted")) > committed + 1_000_000, "aborted records");
    let verify = ["verify", "--deep", "--topics", "holed", "--link", "holed"];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
}

/// kill -9 in the middle of gaps, batches that are rebuilt, seeds, and transactions.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn gaps_survive_kills() {
    let kills = size("TWINLOG_E2E_KILLS", 6, 20);
    let mut chance = Chance::new();
    let mut pair = Pair::start((1, 3), &EAGER_CLEANER, &IDLE_CLEANER);
    pair.on_source("create", &format!("table 2 1 cleanup.policy=compact {COMPACTED}"));
    compact(&mut pair, "table", 25_000);
    leave_as_it_is(&mut pair, "table", "compact");
    begin_late(&mut pair, "late", size("TWINLOG_E2E_LOG_START", 3_000_000, 50_000_000));
    pair.on_source("create", "decided 3 1");
    let topics = "table|late|decided";
    let mirror = pair.twinlog(&["mirror", "--topics", topics, "--zombie-bound-ms", "2000"]);
    let load = std::thread::spawn({
        let bootstrap = pair.source.bootstrap.clone();
        move || {
            let mut judge = crate::judge::Judge::start();
            for seed in 0..2 * kills {
                judge.must(&format!("transact {bootstrap} decided {seed} 60"));
                judge.produce(&bootstrap, "decided", seed, load_bytes() / 200, "");
            }
        }
    });
    for kill in 0..kills {
        let running = mirror.start();
        std::thread::sleep(Duration::from_millis(chance.between(300, 4_500)));
        if kill == 2 {
            pair.target.kill(1);
        }
        if kill == 4 {
            pair.target.restart(1);
        }
        running.kill();
    }
    load.join().expect("the load");
    mirror.until_caught_up().run().succeeded();
    for topic in topics.split('|') {
        pair.same(topic);
    }
    let verify = ["verify", "--deep", "--topics", topics];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
}

/// Fills a topic of two partitions with about so many records whose keys come again and again, tombstones among them, and
/// waits until the cleaner has been through. How many records were written.
fn compact(pair: &mut Pair, topic: &str, records: u64) -> u64 {
    const RECORD_BYTES: u64 = 200;
    const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
    // Each codec's records say something new of most keys, not of all.
    let keys = (records / 10).max(1_000);
    let mut written = 0;
    for (seed, codec) in (1..).zip(CODECS) {
        let options = format!("codec={codec} batch=16384 record={RECORD_BYTES} keys={keys}");
        let bytes = records * RECORD_BYTES / CODECS.len() as u64;
        written += counted(&pair.on_source("produce", &format!("{topic} {seed} {bytes} {options}")));
        // The active segment is never cleaned; a new one begins with the next batch after segment.ms.
        std::thread::sleep(Duration::from_millis(300));
    }
    crate::await_until("the cleaner has been there", Duration::from_secs(180), || {
        let some = format!("{topic} 100 2000 batch=4000 record={RECORD_BYTES} keys={keys}");
        written += counted(&pair.on_source("produce", &some));
        counted(&pair.on_source("read", topic)) < written / 2
    });
    written
}

/// From now on the cleaner leaves the topic alone. While the policy is another one it gives up what it is at.
fn leave_as_it_is(pair: &mut Pair, topic: &str, policy: &str) {
    pair.on_source("alter", &format!("{topic} cleanup.policy=delete {UNCLEANABLE}"));
    pair.on_source("alter", &format!("{topic} cleanup.policy={policy} {UNCLEANABLE}"));
}

/// A topic of one partition whose log begins at this offset.
fn begin_late(pair: &mut Pair, topic: &str, offset: u64) {
    pair.on_source("create", &format!("{topic} 1 1"));
    pair.on_source("empties", &format!("{topic} {offset}"));
    pair.on_source("produce", &format!("{topic} 1 2000000 batch=16384"));
    pair.on_source("trim", &format!("{topic} {offset}"));
}

/// Records that the judge has read from all partitions, or written.
fn counted(lines: &[String]) -> u64 {
    let number = |line: &String| match line.split(' ').collect::<Vec<_>>()[..] {
        [count] | [_, _, _, count, ..] => count.parse::<u64>().ok(),
        _ => None,
    };
    lines.iter().map(|line| number(line).expect("a number of records")).sum()
}

/// Kafka's console consumer prints the same list of partition, offset, timestamp, key, headers and value on both sides, with
/// either isolation level on the target. How many records there are.
#[track_caller]
fn same_to_the_console(pair: &mut Pair, topic: &str) -> u64 {
    let records = counted(&pair.on_source("read", topic));
    let expected = console(&pair.source, topic, records, "read_committed");
    assert_eq!(expected.len() as u64, records, "lines of {topic}");
    for isolation in ["read_committed", "read_uncommitted"] {
        let found = console(&pair.target, topic, records, isolation);
        let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        assert_eq!((differs, found.len()), (None, expected.len()), "{topic}, {isolation}");
    }
    records
}

/// What Kafka's console consumer prints of so many records: one line each, sorted, since partitions come in any order.
fn console(cluster: &Cluster, topic: &str, records: u64, isolation: &str) -> Vec<String> {
    let records = records.to_string();
    let mut words = vec!["consume", cluster.name(), "--topic", topic, "--from-beginning"];
    words.extend(["--max-messages", &records, "--timeout-ms", "20000", "--isolation-level", isolation]);
    for each in
        ["print.timestamp", "print.partition", "print.offset", "print.key", "print.value", "print.headers"]
    {
        words.extend(["--property", Box::leak(format!("{each}=true").into_boxed_str())]);
    }
    let printed = script(&words).unwrap_or_else(|error| panic!("{error}"));
    let mut lines: Vec<String> =
        printed.lines().filter(|line| line.starts_with("CreateTime:")).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}
