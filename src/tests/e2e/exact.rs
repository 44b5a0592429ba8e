//! A twin is a twin: the same records at the same offsets, the same settings.

use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::load_bytes;
use crate::mirror::Twinlog;

/// Topic, partitions, codec, settings: all that differs between topics in one place.
const TOPICS: [(&str, usize, &str, &str); 5] = [
    ("plain", 1, "none", "retention.ms=-1"),
    ("gzip", 3, "gzip", "segment.bytes=10485760 max.message.bytes=2097152"),
    ("snappy", 6, "snappy", "min.insync.replicas=2"),
    ("lz4", 2, "lz4", "cleanup.policy=compact,delete min.cleanable.dirty.ratio=0.9 retention.ms=-1"),
    ("zstd", 5, "zstd", "compression.type=producer"),
];

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn kafkas_consumer_reads_the_same_on_both_sides() {
    let source = Cluster::start(Place::Source, 3, &[]);
    let target = Cluster::start(Place::Target, 3, &[]);
    let mut judge = Judge::start();
    for (seed, (topic, partitions, codec, configs)) in (1..).zip(TOPICS) {
        judge.create(&source.bootstrap, topic, partitions, 3, configs);
        // Every record of the compacted topic needs a key, and none may be compacted away while the test compares.
        let keys = if topic == "lz4" { "keys=unique" } else { "keys=true" };
        let share = load_bytes() / TOPICS.len() as u64;
        let options = format!("codec={codec} {keys} record={} ago=7200000 span=7000000", 100 * seed * seed);
        assert!(judge.produce(&source.bootstrap, topic, seed, share, &options) > 0);
    }
    judge.create(&source.bootstrap, "other", 1, 1, "");

    let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "plain|gzip|snappy|lz4|zstd");
    mirror.clone().until_caught_up().run().succeeded();
    for (topic, ..) in TOPICS {
        same(&mut judge, &source, &target, topic);
    }
    assert!(
        !judge.topics(&target.bootstrap).iter().any(|topic| topic.starts_with("other ")),
        "not asked for"
    );

    // A second run goes on where the first one ended, and follows a topic that grew.
    judge.produce(&source.bootstrap, "zstd", 9, 1 << 20, "codec=zstd");
    judge.must(&format!("grow {} plain 4", source.bootstrap));
    judge.produce(&source.bootstrap, "plain", 10, 1 << 20, "");
    mirror.clone().until_caught_up().run().succeeded();
    for topic in ["plain", "zstd"] {
        same(&mut judge, &source, &target, topic);
    }

    // One that is left running follows live, and ends cleanly.
    let mut running = mirror.start();
    judge.produce(&source.bootstrap, "gzip", 11, 1 << 20, "codec=gzip");
    crate::await_until("the live records are mirrored", std::time::Duration::from_secs(60), || {
        let ends =
            |judge: &mut Judge, cluster: &Cluster| judge.must(&format!("ends {} gzip", cluster.bootstrap));
        ends(&mut judge, &source) == ends(&mut judge, &target)
    });
    running.interrupt();
    running.end().ended_with(130, &[]);
    same(&mut judge, &source, &target, "gzip");
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn each_mover_makes_the_same_twin() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    for mover in ["copy", "splice", "auto"] {
        judge.create(&source.bootstrap, mover, 4, 1, "");
        judge.produce(&source.bootstrap, mover, 1, load_bytes() / 8, "batch=300000");
        judge.produce(&source.bootstrap, mover, 2, load_bytes() / 80, "batch=1000 record=300");
        judge.produce(&source.bootstrap, mover, 3, load_bytes() / 80, "codec=lz4 batch=900000 record=10000");
        Twinlog::mirror(&source.bootstrap, &target.bootstrap, mover)
            .with(&["--mover", mover, "--link", mover])
            .until_caught_up()
            .run()
            .succeeded();
        same(&mut judge, &source, &target, mover);
    }
}

/// What was committed arrives, what was aborted does not; offsets are smaller by what is left out.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn of_transactions_only_what_was_committed_arrives() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "decided", 2, 1, "");
    let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "decided")
        .with(&["--offsets", "append"])
        .until_caught_up();
    for seed in 1..=2 {
        judge.must(&format!("transact {} decided {seed} 40", source.bootstrap));
        mirror.run().succeeded();
        // Number of records and digest without offsets, of each partition.
        let contents = |judge: &mut Judge, cluster: &Cluster| -> Vec<String> {
            let lines = judge.must(&format!("read {} decided values", cluster.bootstrap));
            let columns = |line: &String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
            lines.iter().map(columns).map(|words| format!("{} {} {}", words[0], words[3], words[5])).collect()
        };
        assert_eq!(contents(&mut judge, &source), contents(&mut judge, &target));
    }
}

/// The topic reads the same on both sides, offsets included, and has the same settings.
#[track_caller]
pub fn same(judge: &mut Judge, source: &Cluster, target: &Cluster, topic: &str) {
    let expected = judge.read(&source.bootstrap, topic);
    let found = judge.read(&target.bootstrap, topic);
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>(),
        "partitions of {topic}"
    );
    for (partition, content) in &expected {
        assert_eq!(
            content, &found[partition],
            "{topic}-{partition}: source (left) and target (right) differ"
        );
    }
    let settings = judge.configs(&source.bootstrap, topic);
    assert_eq!(settings, judge.configs(&target.bootstrap, topic), "settings of {topic}");
}
