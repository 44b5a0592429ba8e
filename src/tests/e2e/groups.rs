//! Consumer groups move to the target and go on where they were.

use crate::Chance;
use crate::judge::Judge;
use crate::mirror::Twinlog;
use crate::pair::{Pair, run_cases};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn groups_move_over() {
    let mut pair = Pair::start((1, 1), &[], &[]);
    run_cases(
        &mut pair,
        &[
            ("identical, classic", |pair| goes_on(pair, "identical", "classic")),
            ("identical, consumer", |pair| goes_on(pair, "identical", "consumer")),
            ("append, classic", |pair| goes_on(pair, "append", "classic")),
            ("append, consumer", |pair| goes_on(pair, "append", "consumer")),
            ("a group in use is left alone", a_group_in_use_is_left_alone),
            ("offsets kept elsewhere are translated", offsets_kept_elsewhere_are_translated),
            ("names that nobody has", names_that_nobody_has),
        ],
    );
}

/// A group reads on the source, and goes on at the target under the same name: each record once, though the mirror was killed
/// again and again while the group read and committed.
fn goes_on(pair: &mut Pair, offsets: &str, protocol: &str) {
    if protocol == "consumer" && !(pair.source.has_consumer_protocol() && pair.target.has_consumer_protocol())
    {
        println!("skipped: the group protocol `consumer` takes Kafka 4 on both sides");
        return;
    }
    let mut chance = Chance::new();
    let topic = format!("{offsets}-{protocol}");
    let group = format!("readers-of-{topic}");
    pair.on_source("create", &format!("{topic} 2 1"));
    pair.on_source("transact", &format!("{topic} 1 60"));
    pair.on_source("produce", &format!("{topic} 2 400000 batch=4000"));
    let all = digests(&pair.on_source("list", &topic));
    let mirror = pair.twinlog(&["mirror", "--topics", &topic, "--link", &topic, "--offsets", offsets]);
    let mirror = mirror.with(&["--groups", "readers-.*", "--zombie-bound-ms", "2000"]);
    let reader = std::thread::spawn({
        let command = format!("consume {} {topic} {group} 300 {protocol} 200", pair.source.bootstrap);
        move || Judge::start().must(&command)
    });
    while !reader.is_finished() {
        let running = mirror.start();
        std::thread::sleep(Duration::from_millis(chance.between(500, 1_500)));
        running.kill();
    }
    let mut read = reader.join().expect("the group's first member");
    mirror.until_caught_up().run().succeeded();
    let rest = pair.on_target("consume", &format!("{topic} {group} 0 {protocol}"));
    assert!(!rest.is_empty() && read.len() < all.len(), "the group was to stop in the middle");
    read.extend(rest);
    assert_eq!(digests(&read), all, "{topic}");
    let verify = ["verify", "--deep", "--topics", &topic, "--link", &topic];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
}

/// A group with members on the target is theirs: it is left alone, and the operator is told.
fn a_group_in_use_is_left_alone(pair: &mut Pair) {
    pair.on_source("create", "used 1 1");
    pair.on_source("produce", "used 1 100000");
    let flags = ["--topics", "used", "--groups", "workers", "--link", "used"];
    let command = |pair: &Pair, words: &[&str]| pair.twinlog(words).with(&flags);
    command(pair, &["mirror", "--until-caught-up"]).run().succeeded();
    pair.on_source("commit", "used workers 0 30");
    pair.on_target("hold", "used workers");
    command(pair, &["groups", "sync"]).run().ended_with(1, &["workers used-0", "member"]);
    command(pair, &["groups", "status"]).run().ended_with(0, &["workers", "member"]);
    let release = format!("release {}", pair.target.bootstrap);
    pair.judge.must(&release);
    command(pair, &["groups", "sync"]).run().ended_with(0, &["1 offsets mirrored"]);
    let rest = pair.on_target("consume", "used workers 0");
    assert!(rest[0].starts_with("0 30 "), "{}", rest[0]);
    // It has moved on there: the source's older position does not bring it back, unless asked.
    command(pair, &["groups", "sync"]).run().ended_with(1, &["workers used-0"]);
    command(pair, &["groups", "sync", "--groups-rewind"]).run().ended_with(0, &["1 offsets mirrored"]);
}

/// The map of offsets says where each record went, and back.
fn offsets_kept_elsewhere_are_translated(pair: &mut Pair) {
    pair.on_source("create", "mapped 2 1");
    pair.on_source("transact", "mapped 1 40");
    pair.mirror("mapped", "mapped").with(&["--offsets", "append"]).run().succeeded();
    let (here, there) =
        (positions(&pair.on_source("list", "mapped")), positions(&pair.on_target("list", "mapped")));
    assert_ne!(here, there, "there is something to translate");
    for (from, to, direction) in [(&here, &there, None), (&there, &here, Some("--reverse"))] {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        for (partition, offsets) in from {
            offsets.iter().for_each(|offset| writeln!(file, "mapped {partition} {offset}").expect("written"));
        }
        let path = file.path().display().to_string();
        let ended = translate(pair, &["--file", &path]).with(direction.as_slice()).run().succeeded();
        let found: Vec<&str> =
            ended.text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        let expected: Vec<&str> = to.values().flatten().map(String::as_str).collect();
        assert_eq!(found, expected, "{direction:?} printed:\n{}", ended.text);
    }
    // What has no answer is told apart, line by line.
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(
        b"mapped 0 99999\nmapped 0 -1\nmapped 7 0\nmaped 0 0\nmapped 0\nmapped 0 many\nmapped 0 0\n",
    )
    .expect("written");
    let path = file.path().display().to_string();
    let ended = translate(pair, &["--file", &path]).run().ended_with(1, &[]);
    let lines: Vec<&str> = ended.text.lines().collect();
    let expected = [
        "mirrored only up to offset",
        "",
        "the link has not mirrored this partition",
        "the link has not mirrored this partition",
        "expected a topic, a partition and an offset",
        "`many` is not an offset",
        "mapped 0 0",
    ];
    assert_eq!(lines.len(), expected.len(), "{}", ended.text);
    for (line, words) in lines.iter().zip(expected) {
        assert!(line.contains(words), "{line}");
    }
    println!("an offset below 0: {}", lines[1]);
}

/// Wrong names are answered with what there is.
fn names_that_nobody_has(pair: &mut Pair) {
    pair.on_source("create", "named 1 1");
    pair.on_source("produce", "named 1 10000");
    pair.on_source("commit", "named sellers 0 3");
    let command = |words: &[&str], more: &[&str]| pair.twinlog(words).with(more).run();
    let mirror = ["mirror", "--until-caught-up", "--topics", "named", "--groups", "selers"];
    command(&mirror, &["--link", "named"])
        .ended_with(0, &["no consumer group of the source matches selers", "did you mean sellers?"]);
    let groups = ["--link", "named", "--topics", "named", "--groups", "selers"];
    for what in ["sync", "status"] {
        command(&["groups", what], &groups).ended_with(2, &["selers", "did you mean sellers?"]);
    }
    let topic = ["--link", "named", "--topics", "nmaed"];
    command(&["verify"], &topic).ended_with(1, &["mirrored none of the matching topics", "--topics"]);
    command(&["ledger"], &topic).ended_with(2, &["mirrored none of the matching topics", "--topics"]);
    command(&["failover"], &topic).ended_with(2, &["did you mean named?"]);
    command(&["failback"], &topic).ended_with(1, &["nothing to bring back", "--topics"]);
    for what in [&["verify"][..], &["groups", "sync"], &["ledger"], &["failover", "--dry-run"]] {
        command(what, &["--topics", "named", "--link", "nmaed"])
            .ended_with(1, &["__twinlog.nmaed", "--link"]);
    }
}

fn translate(pair: &Pair, more: &[&str]) -> Twinlog {
    let words = ["offsets", "translate", "--target", &pair.target.bootstrap, "--link", "mapped"];
    Twinlog::new(&words).with(more)
}

/// The offsets of a list, by partition.
fn positions(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut positions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        positions.entry(words[0].to_owned()).or_default().push(words[1].to_owned());
    }
    positions
}

/// The records of a list, whatever their order over partitions.
fn digests(lines: &[String]) -> Vec<String> {
    let mut digests: Vec<String> =
        lines.iter().filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect();
    digests.sort_unstable();
    digests
}
