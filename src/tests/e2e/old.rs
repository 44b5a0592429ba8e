//! Sources of Kafka before 0.11: message sets instead of batches, and most of what a mirror asks for missing.

use crate::await_until;
use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place, repository, script};
use crate::mirror::Twinlog;
use crate::pair::Pair;
use std::time::Duration;

const PARTITIONS: usize = 2;
/// Of each codec.
const RECORDS: usize = 200;

/// One source, upgraded from 0.8.2 to 0.10.2 under a mirror's eyes: the first topic has both message formats in the end, the second
/// one only the newer.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn sources_before_batches() {
    let mut pair = Pair {
        source: Cluster::of("0.8.2.2", Place::Source, 1, &[]),
        target: Cluster::start(Place::Target, 1, &[]),
        judge: Judge::start(),
    };
    let (first, second) = ("eight", "ten");
    create(&pair, first);
    fill(&pair, first, &["none", "gzip", "snappy", "lz4", "large"]);
    too_old_a_target(&pair);
    let flags = ["--groups", "readers", "--sync-quotas", "--scram-users"];
    let plan = pair.twinlog(&["plan", "--topics", first]).with(&flags).run();
    plan.ended_with(
        0,
        &[
            "made into record batches",
            "DescribeConfigs version 0",
            "groups cannot be listed",
            "the broker has no DescribeClientQuotas API",
            "the broker has no DescribeUserScramCredentials API",
        ],
    );

    killed(&mut pair, first, "all");
    follow(&mut pair, first, &[]);
    pair.twinlog(&["verify", "--topics", first, "--link", first])
        .run()
        .ended_with(0, &["the same on both sides"]);

    // It is under way when there is something new of it on the target.
    let in_step = ["--sync-quotas", "--topic-configs-interval-ms", "100"];
    let running = mirror(&pair, first, &in_step).start();
    fill(&pair, first, &["none"]);
    has_come(&mut pair, first);
    let told = running.text().matches("cannot keep quotas in step").count();
    assert_eq!(told, 1, "{}", running.text());
    pair.source.upgrade("0.10.2.2");
    fill(&pair, first, &["gzip", "none", "lz4"]);
    has_come(&mut pair, first);
    drop(running);
    follow(&mut pair, first, &[]);

    create(&pair, second);
    fill(&pair, second, &["snappy", "none", "lz4", "gzip"]);
    read_some(&pair, second, "readers");
    killed(&mut pair, second, "some");
    fill(&pair, second, &["gzip", "none"]);
    follow(&mut pair, second, &["--groups", "readers"]);
    let verify = ["verify", "--topics", second, "--link", second, "--deep", "--groups", "readers"];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);

    // Records that the broker may forget at any moment go in transactions, where offsets may differ.
    pair.on_target("delete", first);
    follow(&mut pair, first, &["--offsets", "append", "--link", "append"]);
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_source_with_zookeeper() {
    let mut pair = Pair {
        source: Cluster::of("2.8.2", Place::Source, 1, &[]),
        target: Cluster::of("3.9.1", Place::Target, 1, &[]),
        judge: Judge::start(),
    };
    let topic = "t";
    pair.on_source("create", &format!("{topic} 2 1"));
    pair.on_source("transact", &format!("{topic} 1 10"));
    for (seed, codec) in (2..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        pair.on_source("produce", &format!("{topic} {seed} 100000 batch=8000 codec={codec}"));
    }
    let running = mirror(&pair, topic, &[]).start();
    std::thread::sleep(Duration::from_millis(500));
    running.kill();
    mirror(&pair, topic, &[]).until_caught_up().run().succeeded();
    same(&mut pair.judge, &pair.source, &pair.target, topic);
}

fn create(pair: &Pair, topic: &str) {
    let partitions = PARTITIONS.to_string();
    let words = ["topics", pair.source.name(), "--create", "--topic", topic, "--partitions", &partitions];
    script(&[&words[..], &["--replication-factor", "1"]].concat()).unwrap_or_else(|error| panic!("{error}"));
}

/// Runs the clients of the source's own version.
fn old(pair: &Pair, command: &str, topic: &str, rest: &[&str]) -> String {
    let program = repository().join("scripts/judge/Old.java");
    let (program, partitions) = (program.to_string_lossy(), PARTITIONS.to_string());
    let words = ["run", pair.source.name(), &program, command, &pair.source.bootstrap, topic, &partitions];
    script(&[&words[..], rest].concat()).unwrap_or_else(|error| panic!("{error}"))
}

fn fill(pair: &Pair, topic: &str, codecs: &[&str]) {
    let count = RECORDS.to_string();
    let acknowledged = old(pair, "produce", topic, &[&[&count[..]], codecs].concat());
    let large = codecs.iter().filter(|codec| **codec == "large").count();
    let wanted = (codecs.len() - large) * RECORDS + large;
    assert_eq!(acknowledged.trim(), wanted.to_string());
}

fn read_some(pair: &Pair, topic: &str, group: &str) {
    let group = format!("group.id={group}");
    let words =
        ["consume", pair.source.name(), "--topic", topic, "--from-beginning", "--max-messages", "100"];
    script(&[&words[..], &["--consumer-property", &group]].concat())
        .unwrap_or_else(|error| panic!("{error}"));
}

fn mirror(pair: &Pair, topic: &str, flags: &[&str]) -> Twinlog {
    let link: &[&str] = if flags.contains(&"--link") { &[] } else { &["--link", topic] };
    pair.twinlog(&["mirror", "--topics", topic, "--zombie-bound-ms", "2000"]).with(link).with(flags)
}

/// Waits until all that the source holds is on the target.
fn has_come(pair: &mut Pair, topic: &str) {
    let end = ends(pair, "source", topic);
    await_until("the mirror has everything", Duration::from_secs(180), || ends(pair, "target", topic) == end);
}

/// A mirror that is killed when it has written something.
fn killed(pair: &mut Pair, topic: &str, what: &str) {
    let running = mirror(pair, topic, &[]).start();
    await_until(&format!("{what} is on its way"), Duration::from_secs(60), || {
        pair.judge.topics(&pair.target.bootstrap).iter().any(|line| line.starts_with(&format!("{topic} ")))
            && ends(pair, "target", topic).iter().any(|line| !line.ends_with(" 0"))
    });
    running.kill();
}

fn ends(pair: &mut Pair, side: &str, topic: &str) -> Vec<String> {
    match side {
        "target" => pair.on_target("ends", topic),
        _ => {
            let last = |partition: usize| {
                let lines = listed(pair, topic).into_iter();
                let mut of = lines.filter(|line| line[0] == partition.to_string());
                of.next_back().map_or(0, |line| line[1].parse::<i64>().expect("an offset") + 1)
            };
            (0..PARTITIONS).map(|partition| format!("{partition} {}", last(partition))).collect()
        }
    }
}

/// Mirrors to the end, and compares what the consumers of both versions read: partition, offset, timestamp, and a digest of key
/// and value.
fn follow(pair: &mut Pair, topic: &str, flags: &[&str]) {
    mirror(pair, topic, flags).until_caught_up().run().succeeded();
    let appends = flags.contains(&"append");
    let sorted = |lines: Vec<Vec<String>>| -> Vec<Vec<String>> {
        let mut lines = lines;
        lines.sort_by_key(|line| (line[0].clone(), line[1].parse::<i64>().expect("an offset")));
        lines.iter_mut().filter(|_| appends).for_each(|line| drop(line.remove(1)));
        lines
    };
    let there = sorted(listed(pair, topic));
    let here: Vec<Vec<String>> = pair.on_target("list", topic).iter().map(|line| words(line)).collect();
    let here = sorted(here);
    assert_eq!(here.len(), there.len(), "records of {topic}");
    let different = here.iter().zip(&there).find(|(here, there)| here != there);
    assert_eq!(different, None, "{topic}: target and source");
}

fn listed(pair: &Pair, topic: &str) -> Vec<Vec<String>> {
    old(pair, "list", topic, &[]).lines().map(words).collect()
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn too_old_a_target(pair: &Pair) {
    let turned = Twinlog::mirror(&pair.target.bootstrap, &pair.source.bootstrap, "t");
    turned.run().ended_with(1, &["the target is Kafka 0.9 or older", "Kafka 2.2 or later"]);
}
