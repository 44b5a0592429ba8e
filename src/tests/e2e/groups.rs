//! Consumer groups move to the target and go on where they were.

use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// A group reads on the source, and goes on at the target: each record once, though offsets differ and the mirror was killed.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_group_goes_on_where_it_was() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    for (offsets, protocol) in [("identical", "classic"), ("append", "consumer")] {
        let (topic, group) = (offsets, format!("readers-{offsets}"));
        judge.create(&source.bootstrap, topic, 2, 1, "");
        judge.must(&format!("transact {} {topic} 1 60", source.bootstrap));
        judge.produce(&source.bootstrap, topic, 2, 400_000, "batch=4000");
        let all = digests(&judge.must(&format!("list {} {topic}", source.bootstrap)));
        let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, topic).with(&[
            "--offsets",
            offsets,
            "--link",
            offsets,
            "--groups",
            "readers-.*",
            "--zombie-bound-ms",
            "2000",
        ]);
        let mut read = Vec::new();
        for count in [50, 100] {
            let running = mirror.start();
            read.extend(
                judge.must(&format!("consume {} {topic} {group} {count} {protocol}", source.bootstrap)),
            );
            std::thread::sleep(Duration::from_millis(700));
            running.kill();
        }
        mirror.clone().until_caught_up().run().succeeded();
        let rest = judge.must(&format!("consume {} {topic} {group} 0 {protocol}", target.bootstrap));
        assert!(!rest.is_empty() && !read.is_empty());
        read.extend(rest);
        assert_eq!(digests(&read), all, "{offsets}");
        twinlog(&source, &target, &["verify", "--link", offsets]).run().succeeded();
    }
}

/// A group with members on the target is theirs: it is left alone, and the operator is told.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_group_in_use_is_left_alone() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "used", 1, 1, "");
    judge.produce(&source.bootstrap, "used", 1, 100_000, "");
    let command =
        |words: &[&str]| twinlog(&source, &target, words).with(&["--topics", "used", "--groups", ".*"]);
    command(&["mirror", "--until-caught-up"]).run().succeeded();
    judge.must(&format!("commit {} used workers 0 30", source.bootstrap));
    judge.must(&format!("hold {} used workers", target.bootstrap));
    command(&["groups", "sync"]).run().ended_with(1, &["workers used-0", "member"]);
    command(&["groups", "status"]).run().ended_with(0, &["workers", "member"]);
    judge.must(&format!("release {}", target.bootstrap));
    command(&["groups", "sync"]).run().ended_with(0, &["1 offsets mirrored"]);
    let rest = judge.must(&format!("consume {} used workers 0", target.bootstrap));
    assert!(rest[0].starts_with("0 30 "), "{}", rest[0]);
    // It has moved on there: the source's older position does not bring it back, unless asked.
    command(&["groups", "sync"]).run().ended_with(1, &["workers used-0"]);
    command(&["groups", "sync", "--groups-rewind"]).run().ended_with(0, &["1 offsets mirrored"]);
}

/// The map of offsets says where each record went, and back.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn offsets_kept_elsewhere_are_translated() {
    let source = Cluster::start(Place::Source, 1, &[]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "mapped", 2, 1, "");
    judge.must(&format!("transact {} mapped 1 40", source.bootstrap));
    let command = |words: &[&str]| twinlog(&source, &target, words);
    command(&["mirror", "--topics", "mapped", "--offsets", "append", "--until-caught-up"]).run().succeeded();
    let mut positions = |cluster: &Cluster| -> BTreeMap<String, Vec<String>> {
        let mut positions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in judge.must(&format!("list {} mapped", cluster.bootstrap)) {
            let words: Vec<&str> = line.split(' ').collect();
            positions.entry(words[0].to_owned()).or_default().push(words[1].to_owned());
        }
        positions
    };
    let (here, there) = (positions(&source), positions(&target));
    assert_ne!(here, there, "there is something to translate");
    for (from, to, direction) in [(&here, &there, None), (&there, &here, Some("--reverse"))] {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        for (partition, offsets) in from {
            offsets.iter().for_each(|offset| writeln!(file, "mapped {partition} {offset}").expect("written"));
        }
        let path = file.path().display().to_string();
        let ended =
            command(&["offsets", "translate", "--file", &path]).with(direction.as_slice()).run().succeeded();
        let found: Vec<&str> =
            ended.text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        let expected: Vec<&str> = to.values().flatten().map(String::as_str).collect();
        assert_eq!(found, expected, "{direction:?} printed:\n{}", ended.text);
    }
    command(&["offsets", "translate", "--topic", "mapped", "--partition", "0", "--offset", "99999"])
        .run()
        .ended_with(1, &["mirrored only up to"]);
}

fn twinlog(source: &Cluster, target: &Cluster, words: &[&str]) -> Twinlog {
    Twinlog::new(words).with(&["--source", &source.bootstrap, "--target", &target.bootstrap])
}

/// The records of a list, whatever their order over partitions.
fn digests(lines: &[String]) -> Vec<String> {
    let mut digests: Vec<String> =
        lines.iter().filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect();
    digests.sort_unstable();
    digests
}
