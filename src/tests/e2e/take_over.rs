//! A link goes on where another mirror stopped.

use crate::Chance;
use crate::judge::Judge;
use crate::kafka::script;
use crate::pair::{Pair, run_cases};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// MirrorMaker 2 in a process of its own, killed when it goes out of scope.
struct MirrorMaker {
    child: Child,
    _settings: tempfile::NamedTempFile,
}

impl MirrorMaker {
    /// From the source to the target, without a prefix unless `policy` is the default one.
    fn start(pair: &Pair, topics: &str, policy: &str) -> Self {
        let mut settings = tempfile::NamedTempFile::new().expect("a temporary file");
        let (source, target) = (&pair.source.bootstrap, &pair.target.bootstrap);
        write!(
            settings,
            "clusters = east, west\neast.bootstrap.servers = {source}\nwest.bootstrap.servers = {target}\n\
             east->west.enabled = true\neast->west.topics = {topics}\nreplication.factor = 1\n\
             checkpoints.topic.replication.factor = 1\nheartbeats.topic.replication.factor = 1\n\
             offset-syncs.topic.replication.factor = 1\noffset.storage.replication.factor = 1\n\
             status.storage.replication.factor = 1\nconfig.storage.replication.factor = 1\n\
             emit.heartbeats.enabled = false\noffset.flush.interval.ms = 60000\n\
             replication.policy.class = org.apache.kafka.connect.mirror.{policy}\n"
        )
        .expect("written");
        let class_path = script(&["classpath", &pair.target.version]).expect("Kafka's jars");
        let child = Command::new("java")
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-cp", class_path.trim()])
            .arg("org.apache.kafka.connect.mirror.MirrorMaker")
            .arg(settings.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java");
        Self { child, _settings: settings }
    }
}

impl Drop for MirrorMaker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn what_another_mirror_began_is_gone_on_with() {
    let mut pair = Pair::start((1, 1), &[], &[]);
    run_cases(
        &mut pair,
        &[
            ("MirrorMaker 2, killed under load", mirrormaker_2_killed_under_load),
            ("by its own account", by_its_own_account),
            ("what stands in the way", what_stands_in_the_way),
        ],
    );
}

/// Killed, so that what it remembers lags behind what it wrote: no record is lost or doubled all the same.
fn mirrormaker_2_killed_under_load(pair: &mut Pair) {
    pair.on_source("create", "orders 3 1");
    pair.on_source("transact", "orders 1 4");
    pair.on_source("produce", "orders 2 3000000 batch=16000 keys=true");
    let mirrormaker = MirrorMaker::start(pair, "orders", "DefaultReplicationPolicy");
    crate::await_until("MirrorMaker has written something", Duration::from_secs(90), || {
        pair.target_end("east.orders") > 3_000
    });
    let load = std::thread::spawn({
        let bootstrap = pair.source.bootstrap.clone();
        move || Judge::start().produce(&bootstrap, "orders", 3, 20_000_000, "batch=16000 rate=1000000")
    });
    let before = pair.target_end("east.orders");
    crate::await_until("MirrorMaker writes what comes", Duration::from_secs(15), || {
        pair.target_end("east.orders") > before + 1_000
    });
    std::thread::sleep(Duration::from_millis(Chance::new().between(500, 2_500)));
    let flags = ["--topics", "orders", "--prefix", "east.", "--link", "heir"];
    let command = |pair: &Pair, words: &[&str]| pair.twinlog(words).with(&flags);
    assert!(!load.is_finished(), "MirrorMaker has to write still");
    command(pair, &["take-over"]).run().ended_with(1, &["stop the other mirror first"]);
    drop(mirrormaker);
    load.join().expect("the load");
    command(pair, &["mirror", "--until-caught-up"]).run().ended_with(3, &["take-over"]);
    command(pair, &["take-over", "--dry-run"]).run().ended_with(0, &["3 partitions would be taken over"]);
    command(pair, &["take-over"]).run().ended_with(0, &["3 partitions taken over", "stand before it"]);
    command(pair, &["mirror", "--until-caught-up"]).run().succeeded();
    // MirrorMaker 2 copies what was aborted, too, and as plain records.
    let read = |lines: Vec<String>| crate::pair::values(&lines);
    let here = read(pair.on_source("read", "orders values uncommitted"));
    assert_eq!(here, read(pair.on_target("read", "east.orders values")));
    command(pair, &["verify", "--deep"]).run().ended_with(0, &["the same on both sides"]);
    command(pair, &["take-over"]).run().ended_with(1, &["nothing to take over"]);
}

/// Records that were changed on the way are not found; then a group's offsets or a file count.
fn by_its_own_account(pair: &mut Pair) {
    for topic in ["changed", "filed"] {
        pair.on_source("create", &format!("{topic} 1 1"));
        pair.on_source("produce", &format!("{topic} 1 200000 batch=4000"));
        pair.on_target("create", &format!("{topic} 1 1"));
        pair.on_target("produce", &format!("{topic} 7 100000 batch=4000"));
    }
    pair.on_source("commit", "changed mm1 0 20");
    let command = |pair: &Pair, topic: &str, words: &[&str]| {
        pair.twinlog(words).with(&["--topics", topic, "--link", topic])
    };
    command(pair, "changed", &["take-over"]).run().ended_with(3, &["left out: changed-0", "--group"]);
    command(pair, "changed", &["take-over", "--group", "mm"]).run().ended_with(1, &["committed nothing"]);
    let before = pair.target_end("changed");
    let end = pair.on_source("ends", "changed")[0]
        .split(' ')
        .nth(1)
        .map(|end| end.parse::<i64>().expect("a number"));
    command(pair, "changed", &["take-over", "--group", "mm1"])
        .run()
        .ended_with(0, &["goes on with source offset 20", "own account"]);
    command(pair, "changed", &["mirror", "--until-caught-up"]).run().succeeded();
    assert_eq!(Some(pair.target_end("changed")), end.map(|end| before + end - 20));

    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"# exported\nfiled 0 30\n").expect("written");
    let path = file.path().display().to_string();
    command(pair, "filed", &["take-over", "--offsets-file", &path])
        .run()
        .ended_with(0, &["goes on with source offset 30"]);
    command(pair, "filed", &["mirror", "--until-caught-up"]).run().succeeded();
}

/// Nothing there, or nothing that the other mirror wrote; one partition that is as it was copied, beside one that is not.
fn what_stands_in_the_way(pair: &mut Pair) {
    pair.on_source("create", "spread 2 1");
    pair.on_source("produce", "spread 1 200000 batch=4000");
    pair.mirror("spread", "first").run().succeeded();
    pair.on_source("produce", "spread 2 100000 batch=4000");
    pair.on_target("produce", "spread 3 100000 batch=4000 only=1");
    let take_over = ["take-over", "--topics", "spread", "--link", "second"];
    let words = ["left out: spread-0: another partition", "left out: spread-1: ", "nothing is taken over"];
    pair.twinlog(&take_over).run().ended_with(3, &words);
    pair.on_source("create", "alone 1 1");
    let take_over = ["take-over", "--topics", "alone", "--link", "alone"];
    pair.twinlog(&take_over).run().ended_with(1, &["nothing to take over", "--prefix"]);
}
