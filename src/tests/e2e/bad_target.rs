//! Clusters that do not let a mirror do its work: what can go on does, and what cannot is explained.

use crate::await_until;
use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

type Case = (&'static str, fn(&mut World));

struct World {
    source: Cluster,
    target: Cluster,
    judge: Judge,
}

impl World {
    fn new() -> Self {
        let no_auto_creation = "auto.create.topics.enable=false";
        let authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
        // Everybody may do everything, until a topic has a rule of its own.
        let open = "allow.everyone.if.no.acl.found=true";
        let source = Cluster::start(Place::Source, 1, &[no_auto_creation, authorizer, open]);
        let target = Cluster::start(Place::Target, 1, &[no_auto_creation, authorizer, open]);
        Self { source, target, judge: Judge::start() }
    }

    /// A source topic with some records in it.
    fn topic(&mut self, name: &str, partitions: usize) {
        self.judge.create(&self.source.bootstrap, name, partitions, 1, "");
        self.judge.produce(&self.source.bootstrap, name, 1, 200_000, "");
    }

    /// Each case has its own link, so none sees what another left.
    fn mirror(&self, topics: &str) -> Twinlog {
        let link = topics.split('|').next().unwrap_or("link");
        Twinlog::mirror(&self.source.bootstrap, &self.target.bootstrap, topics)
            .with(&["--link", link, "--metadata-refresh-ms", "1000"])
            .until_caught_up()
            .patience(90)
    }
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn what_cannot_be_mirrored_is_explained() {
    let cases: [Case; 8] = [
        ("no topic matches", no_topic_matches),
        ("the target is the source", the_target_is_the_source),
        ("too few partitions", too_few_partitions),
        ("a message too large", a_message_too_large),
        ("another writer", another_writer),
        ("no right to write", no_right_to_write),
        ("no right to read", no_right_to_read),
        ("no right to see", no_right_to_see),
    ];
    let mut world = World::new();
    // Clusters are dear: each case has its say even if another one failed.
    let failed: Vec<&str> = cases
        .into_iter()
        .filter(|(_, case)| catch_unwind(AssertUnwindSafe(|| case(&mut world))).is_err())
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}; what each said is above");
}

fn no_topic_matches(world: &mut World) {
    world.topic("orders", 1);
    // The existing ones are listed, to find the typing error.
    world.mirror("ordres").run().ended_with(2, &["ordres", "orders"]);
}

fn the_target_is_the_source(world: &mut World) {
    // Only the clusters' own ids can tell.
    let other_name = world.source.bootstrap.replace("127.0.0.1", "localhost");
    let mirror = Twinlog::mirror(&world.source.bootstrap, &other_name, "orders").until_caught_up();
    mirror.patience(60).run().ended_with(2, &["one cluster", "--target"]);
}

fn too_few_partitions(world: &mut World) {
    world.topic("wide", 4);
    world.judge.create(&world.target.bootstrap, "wide", 2, 1, "");
    world.judge.produce(&world.target.bootstrap, "wide", 9, 1000, "");
    let ended = world.mirror("wide").run();
    assert!(matches!(ended.code, Some(1 | 3)), "{}", ended.text);
    for word in ["wide", "4", "2", "partitions"] {
        assert!(ended.text.contains(word), "did not say '{word}' but:\n{}", ended.text);
    }
}

/// The lane that carries it stops and names the setting; the other topics are mirrored to the end.
fn a_message_too_large(world: &mut World) {
    world.topic("large", 1);
    world.topic("beside", 2);
    world.judge.produce(&world.source.bootstrap, "large", 2, 300_000, "record=150000 batch=400000");
    world.judge.create(&world.target.bootstrap, "large", 1, 1, "max.message.bytes=100000");
    // Twinlog leaves the settings of a topic that it did not create.
    world.mirror("large|beside").run().ended_with(3, &["large", "max.message.bytes"]);
    same(&mut world.judge, &world.source, &world.target, "beside");
}

/// Somebody else's records in a partition of ours: the lane stops at once and says so; it never writes around them.
fn another_writer(world: &mut World) {
    world.topic("shared", 1);
    world.mirror("shared").run().succeeded();
    world.judge.produce(&world.target.bootstrap, "shared", 7, 1000, "");
    world.judge.produce(&world.source.bootstrap, "shared", 8, 100_000, "");
    world.mirror("shared").run().ended_with(3, &["shared"]);
}

fn no_right_to_write(world: &mut World) {
    world.topic("locked", 1);
    world.topic("unlocked", 1);
    world.judge.create(&world.target.bootstrap, "locked", 1, 1, "");
    world.judge.must(&format!("deny {} locked WRITE", world.target.bootstrap));
    let ended = world.mirror("locked|unlocked").run();
    ended.ended_with(3, &["locked", "WRITE"]);
    same(&mut world.judge, &world.source, &world.target, "unlocked");
}

fn no_right_to_read(world: &mut World) {
    world.topic("secret", 1);
    world.topic("public", 1);
    world.judge.must(&format!("deny {} secret READ", world.source.bootstrap));
    world.mirror("secret|public").run().ended_with(3, &["secret", "READ"]);
    same(&mut world.judge, &world.source, &world.target, "public");
}

fn no_right_to_see(world: &mut World) {
    world.topic("hidden", 1);
    world.topic("shown", 1);
    world.judge.create(&world.target.bootstrap, "hidden", 1, 1, "");
    world.judge.must(&format!("hide {} hidden", world.target.bootstrap));
    world.mirror("hidden|shown").run().ended_with(3, &["hidden", "DESCRIBE"]);
    same(&mut world.judge, &world.source, &world.target, "shown");
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
