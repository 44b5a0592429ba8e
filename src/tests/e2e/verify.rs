//! `twinlog verify` finds what differs, and nothing where nothing does.

use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use crate::{Chance, load_bytes};
use std::time::Duration;

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn differences_are_found_with_their_offsets() {
    let mut chance = Chance::new();
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "checked", 2, 1, "");
    judge.produce(&source.bootstrap, "checked", 1, load_bytes() / 8, "batch=8000 codec=lz4");
    judge.must(&format!("transact {} checked 2 30", source.bootstrap));
    let command = |words: &[&str]| {
        let sides = ["--source", &source.bootstrap, "--target", &target.bootstrap, "--topics", "checked"];
        Twinlog::new(words).with(&sides)
    };
    let mirror = command(&["mirror", "--zombie-bound-ms", "2000"]);
    for _ in 0..3 {
        let running = mirror.start();
        std::thread::sleep(Duration::from_millis(chance.between(300, 1_500)));
        running.kill();
    }
    // Beside a mirror that runs, too.
    let running = mirror.start();
    std::thread::sleep(Duration::from_secs(2));
    command(&["verify"]).run().ended_with(0, &["the same on both sides"]);
    running.kill();
    mirror.clone().until_caught_up().run().succeeded();

    let directory = tempfile::tempdir().expect("a temporary directory");
    let progress = directory.path().join("progress.json").display().to_string();
    command(&["verify", "--deep", "--resume", &progress]).run().ended_with(0, &["the same on both sides"]);
    let again = command(&["verify", "--deep", "--resume", &progress, "--json"]).run().succeeded();
    assert!(again.text.contains("\"records\":0"), "what was compared is not compared again: {}", again.text);
    command(&["verify", "--sample", "20", "--rate", "500"]).run().ended_with(0, &["the same on both sides"]);

    let end =
        judge.must(&format!("ends {} checked", target.bootstrap))[1].split(' ').nth(1).map(str::to_owned);
    let end = end.expect("an end offset");
    judge.produce(&target.bootstrap, "checked", 3, 100, "only=1");
    judge.must(&format!("alter {} checked retention.ms=1234567", target.bootstrap));
    let foreign = format!("checked-1: target offset {end}");
    command(&["verify"]).run().ended_with(1, &[&foreign, "did not write", "retention.ms", "1234567"]);
    // The mirror itself does not write behind it.
    judge.produce(&source.bootstrap, "checked", 4, 1_000, "only=1");
    mirror.until_caught_up().run().ended_with(3, &["checked", "somebody else writes"]);
}
