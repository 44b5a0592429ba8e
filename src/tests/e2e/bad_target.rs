//! Clusters that do not let a mirror do its work: what can go on does, and what cannot is explained.

use crate::await_until;
use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use crate::pair::{Pair, run_cases};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A source topic with some records in it.
fn topic(pair: &mut Pair, name: &str, partitions: usize) {
    pair.on_source("create", &format!("{name} {partitions} 1"));
    pair.on_source("produce", &format!("{name} 1 200000"));
}

/// Each case has its own link, so none sees what another left.
fn mirror(pair: &Pair, topics: &str) -> Twinlog {
    let link = topics.split('|').next().unwrap_or("link");
    pair.mirror(topics, link).with(&["--metadata-refresh-ms", "1000"]).patience(90)
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn what_cannot_be_mirrored_is_explained() {
    let settings = [
        "auto.create.topics.enable=false",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        // Everybody may do everything, until a topic has a rule of its own.
        "allow.everyone.if.no.acl.found=true",
        // The broker is somebody else than the clients, so that a right can be taken from them alone.
        "super.users=User:broker",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.mechanism.controller.protocol=PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms=PLAIN",
        "listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=broker password=broker user_broker=broker;",
    ];
    let mut pair = Pair::start((1, 1), &settings, &settings);
    run_cases(
        &mut pair,
        &[
            ("no topic matches", no_topic_matches),
            ("the target is the source", the_target_is_the_source),
            ("too few partitions", too_few_partitions),
            ("a message too large", a_message_too_large),
            ("another writer", another_writer),
            ("no right to write", no_right_to_write),
            ("no right to read", no_right_to_read),
            ("no right to see", no_right_to_see),
            ("no right to delete", no_right_to_delete),
            // Denies it for the whole cluster, and so comes last.
            ("no right to fill gaps", no_right_to_fill_gaps),
        ],
    );
}

fn no_topic_matches(pair: &mut Pair) {
    topic(pair, "orders", 1);
    // The existing ones are listed, to find the typing error.
    mirror(pair, "ordres").run().ended_with(2, &["ordres", "orders"]);
}

fn the_target_is_the_source(pair: &mut Pair) {
    // Only the clusters' own ids can tell.
    let other_name = pair.source.bootstrap.replace("127.0.0.1", "localhost");
    let mirror = Twinlog::mirror(&pair.source.bootstrap, &other_name, "orders").until_caught_up();
    mirror.patience(60).run().ended_with(2, &["one cluster", "--target"]);
}

fn too_few_partitions(pair: &mut Pair) {
    topic(pair, "wide", 4);
    pair.on_target("create", "wide 2 1");
    pair.on_target("produce", "wide 9 1000");
    let ended = mirror(pair, "wide").run();
    assert!(matches!(ended.code, Some(1 | 3)), "{}", ended.text);
    for word in ["wide", "4", "2", "partitions"] {
        assert!(ended.text.contains(word), "did not say '{word}' but:\n{}", ended.text);
    }
}

/// The lane that carries it stops and names the setting; the other topics are mirrored to the end.
fn a_message_too_large(pair: &mut Pair) {
    topic(pair, "large", 1);
    topic(pair, "beside", 2);
    pair.on_source("produce", "large 2 300000 record=150000 batch=400000");
    pair.on_target("create", "large 1 1 max.message.bytes=100000");
    // Twinlog leaves the settings of a topic that it did not create.
    mirror(pair, "large|beside").run().ended_with(3, &["large", "max.message.bytes"]);
    pair.same("beside");
}

/// Somebody else's records in a partition of ours: the lane stops at once and says so; it never writes around them.
fn another_writer(pair: &mut Pair) {
    topic(pair, "shared", 1);
    mirror(pair, "shared").run().succeeded();
    pair.on_target("produce", "shared 7 1000");
    pair.on_source("produce", "shared 8 100000");
    mirror(pair, "shared").run().ended_with(3, &["shared"]);
}

fn no_right_to_write(pair: &mut Pair) {
    topic(pair, "locked", 1);
    topic(pair, "unlocked", 1);
    pair.on_target("create", "locked 1 1");
    pair.on_target("deny", "locked WRITE");
    let ended = mirror(pair, "locked|unlocked").run();
    ended.ended_with(3, &["locked", "WRITE"]);
    pair.same("unlocked");
}

fn no_right_to_read(pair: &mut Pair) {
    topic(pair, "secret", 1);
    topic(pair, "public", 1);
    pair.on_source("deny", "secret READ");
    mirror(pair, "secret|public").run().ended_with(3, &["secret", "READ"]);
    pair.same("public");
}

fn no_right_to_see(pair: &mut Pair) {
    topic(pair, "hidden", 1);
    topic(pair, "shown", 1);
    pair.on_target("create", "hidden 1 1");
    pair.on_target("hide", "hidden");
    mirror(pair, "hidden|shown").run().ended_with(3, &["hidden", "DESCRIBE"]);
    pair.same("shown");
}

/// What the source has deleted stays on the target, as do the records that only move the offsets on; the offsets are the same.
fn no_right_to_delete(pair: &mut Pair) {
    pair.on_source("create", "trimmed 1 1");
    pair.on_source("empties", "trimmed 5000");
    pair.on_source("trim", "trimmed 5000");
    pair.on_source("produce", "trimmed 1 100000");
    pair.on_target("deny", "trimmed DELETE");
    mirror(pair, "trimmed").run().ended_with(0, &["trimmed", "DeleteRecords", "DELETE"]);
    assert_eq!(pair.on_source("ends", "trimmed"), pair.on_target("ends", "trimmed"));
}

fn no_right_to_fill_gaps(pair: &mut Pair) {
    topic(pair, "gaps", 1);
    pair.on_source("transact", "gaps 1 10");
    pair.on_target("deny-cluster", "");
    let rights = ["gaps cannot be filled", "ALTER or CLUSTER_ACTION"];
    let ended = mirror(pair, "gaps").run().ended_with(0, &rights);
    assert!(ended.text.contains("offsets: Append"), "{}", ended.text);
    pair.same_values("gaps");
}

/// Waits for the replicas instead of giving up, and goes on when they are there.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn too_few_replicas_are_waited_for() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 3, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "durable", 1, 1, "");
    judge.produce(&source.bootstrap, "durable", 1, 200_000, "");
    judge.create(&target.bootstrap, "durable", 1, 3, "min.insync.replicas=3");
    target.kill(2);
    await_until("the dead replica is out of sync", Duration::from_secs(60), || {
        !judge.must(&format!("leaders {} durable", target.bootstrap))[0].contains('2')
    });
    let mut running =
        Twinlog::mirror(&source.bootstrap, &target.bootstrap, "durable").until_caught_up().start();
    await_until("the mirror says why it waits", Duration::from_secs(60), || {
        assert!(!running.has_ended(), "{}", running.text());
        running.text().contains("NOT_ENOUGH_REPLICAS") || running.text().contains("min.insync.replicas")
    });
    target.restart(2);
    await_until("the mirror catches up", Duration::from_secs(90), || running.has_ended());
    running.end().succeeded();
    assert_eq!(judge.read(&source.bootstrap, "durable"), judge.read(&target.bootstrap, "durable"));
}

/// A broker whose disk is full shuts itself down. The mirror names it, waits, and goes on when there is room again.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_full_disk_is_waited_for() {
    let disk = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = SmallDisk::mount(disk) else {
        println!("skipped: a file system of limited size can be mounted by root only");
        return;
    };
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[&format!("log.dirs={}", disk.path().display())]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "much", 2, 1, "");
    judge.produce(&source.bootstrap, "much", 1, 150 << 20, "");
    let mut running = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "much").until_caught_up().start();
    await_until("the broker is gone and the mirror names it", Duration::from_secs(90), || {
        assert!(!running.has_ended(), "{}", running.text());
        let text = running.text();
        text.lines().any(|line| line.contains("WARN") && line.contains(&target.bootstrap))
    });
    disk.resize("1g");
    await_until("the broker has shut down", Duration::from_secs(60), || !target.is_running(0));
    target.restart(0);
    await_until("the mirror catches up", Duration::from_secs(120), || running.has_ended());
    running.end().succeeded();
    same(&mut judge, &source, &target, "much");
}

/// A file system in memory, small at first.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(at: tempfile::TempDir) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", "size=100m", "none"];
        let done = Command::new("mount").args(mount).arg(at.path()).status();
        done.is_ok_and(|status| status.success()).then(|| Self(at))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "mount -o {options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
