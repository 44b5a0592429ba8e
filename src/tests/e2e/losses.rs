//! Records that are lost on one side: what was deleted before it was mirrored, what an unclean leader election took, topics that
//! were made anew. Nothing of it goes by in silence.

use crate::await_until;
use crate::kafka::Cluster;
use crate::mirror::{Running, Twinlog};
use crate::pair::{Pair, run_cases};
use std::time::Duration;

/// Brokers that hold the two replicas of a partition: the leader, and the follower, which may become leader though it is behind.
const DOOMED: usize = 1;
const SURVIVOR: usize = 2;
const UNCLEAN: &str = "unclean.leader.election.enable=true min.insync.replicas=1";

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn losses_are_noticed() {
    let mut pair = Pair::start((3, 3), &["log.retention.check.interval.ms=500"], &[]);
    run_cases(
        &mut pair,
        &[
            ("retention, identical", |pair| retention_overtakes(pair, "identical")),
            ("retention, append", |pair| retention_overtakes(pair, "append")),
            ("made anew on the source", made_anew_on_the_source),
            ("made anew on the target", made_anew_on_the_target),
            ("the source loses its tail", the_source_loses_its_tail),
            ("the target loses its tail", the_target_loses_its_tail),
        ],
    );
}

/// The source's retention deletes records that were not mirrored yet.
fn retention_overtakes(pair: &mut Pair, offsets: &str) {
    const TWO_HOURS: &str = "ago=7200000";
    let topic = format!("short-{offsets}");
    pair.on_source("create", &format!("{topic} 1 1"));
    pair.on_source("produce", &format!("{topic} 1 100000 {TWO_HOURS}"));
    let mirror = pair.mirror(&topic, &topic).with(&["--offsets", offsets]);
    mirror.run().succeeded();
    let from = end(&pair.on_source("ends", &topic));
    pair.on_source("produce", &format!("{topic} 2 100000 {TWO_HOURS}"));
    let to = end(&pair.on_source("ends", &topic));
    // The next records begin a new segment; the one before is old enough to be deleted.
    pair.on_source("alter", &format!("{topic} segment.ms=1000 retention.ms=3600000"));
    std::thread::sleep(Duration::from_secs(2));
    pair.on_source("produce", &format!("{topic} 3 100000"));
    await_until("retention has been there", Duration::from_secs(60), || {
        begin(&pair.on_source("read", &topic)) == to
    });

    let lost = format!("from offset {from} to {}", to - 1);
    mirror.run().ended_with(3, &[&lost, "before they were mirrored", "--on-loss record-and-continue"]);
    ledger(pair, &topic).run().ended_with(0, &["no entries"]);
    let end = mirror.with(&["--on-loss", "record-and-continue"]).run().succeeded();
    let lost = format!("offsets {from} to {}", to - 1);
    assert!(end.text.contains(&lost), "{}", end.text);
    ledger(pair, &topic).run().ended_with(1, &[&topic, &lost, "source-retention"]);
    if offsets == "identical" {
        pair.on_target("alter", &format!("{topic} segment.ms=1000 retention.ms=3600000"));
        pair.same(&topic);
    } else {
        let kept = contents_of(pair.on_source("list", &topic));
        assert_eq!(contents_of(pair.on_target("list", &topic)).split_off(from as usize), kept);
    }
}

/// A topic that was deleted and created again on the source is another topic.
fn made_anew_on_the_source(pair: &mut Pair) {
    pair.on_source("create", "anew-here 1 1");
    pair.on_source("produce", "anew-here 1 100000");
    let mirror = pair.mirror("anew-here", "anew-here");
    mirror.run().succeeded();
    let mut live = following(pair, "anew-here", &[]);
    pair.on_source("delete", "anew-here");
    await_until("the topic is gone", Duration::from_secs(30), || {
        !exists(pair.on_source("topics", ""), "anew-here")
    });
    pair.on_source("create", "anew-here 1 1");
    pair.on_source("produce", "anew-here 2 50000");
    await_until("the running mirror says so", Duration::from_secs(60), || {
        live.text().contains("created again on the source")
    });
    live.interrupt();
    live.end();
    mirror
        .run()
        .ended_with(3, &["anew-here", "created again on the source", "delete anew-here on the target too"]);
    // As the message says.
    pair.on_target("delete", "anew-here");
    mirror.run().succeeded();
    pair.same("anew-here");
}

/// So it is on the target: what was mirrored is gone, and nobody fills up what comes next as if it were not.
fn made_anew_on_the_target(pair: &mut Pair) {
    pair.on_source("create", "anew-there 1 1");
    pair.on_source("produce", "anew-there 1 100000");
    let mirror = pair.mirror("anew-there", "anew-there");
    mirror.run().succeeded();
    let mut live = following(pair, "anew-there", &[]);
    pair.on_target("delete", "anew-there");
    await_until("the topic is gone", Duration::from_secs(30), || {
        !exists(pair.on_target("topics", ""), "anew-there")
            || live.text().contains("created again on the target")
    });
    pair.on_source("produce", "anew-there 2 50000");
    await_until("the running mirror says so", Duration::from_secs(60), || {
        live.text().contains("created again on the target")
    });
    live.interrupt();
    live.end();
    mirror.run().ended_with(3, &["anew-there", "created again on the target", "--link"]);
    // As the message says.
    pair.mirror("anew-there", "anew-there-2").run().succeeded();
    pair.same("anew-there");
}

/// The source's leader dies with records that its follower never had, after they were mirrored. Some mirrors follow meanwhile,
/// the others are started again afterwards.
fn the_source_loses_its_tail(pair: &mut Pair) {
    let ways: [(&str, &[&str]); 3] = [
        ("identical", &["--offsets", "identical", "--on-loss", "record-and-continue"]),
        ("halt", &["--offsets", "append"]),
        ("go-on", &["--offsets", "append", "--on-loss", "record-and-continue"]),
    ];
    let live = ways.map(|(way, flags)| (format!("cut-live-{way}"), flags));
    let later = ways.map(|(way, flags)| (format!("cut-later-{way}"), flags));
    let topics = || live.iter().chain(&later).map(|(topic, _)| topic.as_str());
    for topic in topics() {
        pair.on_source("create", &format!("{topic} 1 {DOOMED},{SURVIVOR} {UNCLEAN}"));
        pair.on_source("produce", &format!("{topic} 1 100000"));
    }
    let mut running = live.each_ref().map(|(topic, flags)| following(pair, topic, flags));
    let run = |pair: &Pair, topic: &str, flags: &[&str]| pair.mirror(topic, topic).with(flags).run();
    let later_runs = |pair: &Pair| later.each_ref().map(|(topic, flags)| run(pair, topic, flags));
    later_runs(pair).into_iter().for_each(|ended| drop(ended.succeeded()));
    live.iter().for_each(|(topic, _)| mirrored(pair, topic));
    let kept = end(&pair.on_source("ends", topics().next().expect("a topic")));

    alone(Side::Source, pair, "cut-live-halt");
    for topic in topics() {
        pair.on_source("produce", &format!("{topic} 2 50000 batch=4000"));
    }
    live.iter().for_each(|(topic, _)| mirrored(pair, topic));
    later_runs(pair).into_iter().for_each(|ended| drop(ended.succeeded()));
    let lost = topics().map(|topic| end(&pair.on_source("ends", topic)) - 1).collect::<Vec<_>>();
    lose(Side::Source, pair, "cut-live-halt");
    for topic in topics() {
        assert_eq!(end(&pair.on_source("ends", topic)), kept, "{topic} was to lose its tail");
        // Fewer than were lost, and more: then a mirror that begins later finds other records where it left off.
        let bytes = if topic.ends_with("identical") { 10_000 } else { 200_000 };
        pair.on_source("produce", &format!("{topic} 3 {bytes}"));
    }
    let sentences: Vec<String> = lost
        .iter()
        .map(|last| format!("lost its records from offset {kept} to {last} (unclean leader election)"))
        .collect();
    let stopped = |at: usize| [&sentences[at], ["--append", "--on-loss record-and-continue"][at % 3]];
    for at in [0, 1] {
        await_until("the running mirror stops", Duration::from_secs(60), || {
            running[at].text().contains(&sentences[at])
        });
        running[at].interrupt();
        running[at].end().ended_with(130, &stopped(at));
        let (topic, flags) = &later[at];
        run(pair, topic, flags).ended_with(3, &stopped(3 + at));
    }
    let (live, later) = (&live[2].0, &later[2].0);
    run(pair, later, ways[2].1).succeeded();
    for (topic, last) in [(live, lost[2]), (later, lost[5])] {
        let gained = contents_of(pair.on_source("list", topic)).split_off(kept as usize);
        let mut expected = Vec::new();
        await_until("what is there now is mirrored", Duration::from_secs(60), || {
            expected = contents_of(pair.on_target("list", topic));
            expected.ends_with(&gained)
        });
        assert_eq!(
            expected.len(),
            last as usize + 1 + gained.len(),
            "what was lost stays where it was mirrored to"
        );
        ledger(pair, topic).run().ended_with(1, &[&format!("offsets {kept} to {last}"), "source-truncation"]);
    }
}

/// The target's leader dies with mirrored records that its follower never had: what the source still has comes again.
fn the_target_loses_its_tail(pair: &mut Pair) {
    let topics = ["resent-identical", "resent-append"];
    let mut running = Vec::new();
    for topic in topics {
        pair.on_source("create", &format!("{topic} 1 1 {UNCLEAN}"));
        pair.on_target("create", &format!("{topic} 1 {DOOMED},{SURVIVOR} {UNCLEAN}"));
        pair.on_source("transact", &format!("{topic} 1 20"));
        let offsets = topic.trim_start_matches("resent-");
        running.push(following(pair, topic, &["--offsets", offsets]));
    }
    topics.iter().for_each(|topic| mirrored(pair, topic));
    alone(Side::Target, pair, topics[0]);
    topics.iter().for_each(|topic| drop(pair.on_source("produce", &format!("{topic} 2 100000 batch=4000"))));
    topics.iter().for_each(|topic| mirrored(pair, topic));
    lose(Side::Target, pair, topics[0]);
    topics.iter().for_each(|topic| drop(pair.on_source("produce", &format!("{topic} 3 100000"))));
    topics.iter().for_each(|topic| mirrored(pair, topic));
    for (topic, mut running) in topics.into_iter().zip(running) {
        running.interrupt();
        let mirrored = mirrored_records(&running.end().text);
        pair.mirror(topic, topic).run().succeeded();
        let there = word(&pair.on_target("read", topic), 3);
        assert!(mirrored > there, "{mirrored} records were sent for {there}: nothing was lost on the target");
        match topic {
            "resent-identical" => pair.same(topic),
            _ => pair.same_values(topic),
        }
        let verify = ["verify", "--deep", "--topics", topic, "--link", topic];
        pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);
    }
}

/// The survivor falls behind: from here on the doomed leader is alone.
fn alone(side: Side, pair: &mut Pair, topic: &str) {
    side.of(pair).kill(SURVIVOR);
    await_until("the follower is out of sync", Duration::from_secs(60), || {
        side.leader(pair, topic) == format!("{DOOMED} {DOOMED}")
    });
}

/// The survivor leads with what it has; the old leader follows.
fn lose(side: Side, pair: &mut Pair, topic: &str) {
    side.of(pair).kill(DOOMED);
    side.of(pair).restart(SURVIVOR);
    await_until("the follower leads", Duration::from_secs(60), || {
        side.leader(pair, topic).starts_with(&SURVIVOR.to_string())
    });
    side.of(pair).restart(DOOMED);
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Target,
}

impl Side {
    fn of(self, pair: &Pair) -> &Cluster {
        match self {
            Self::Source => &pair.source,
            Self::Target => &pair.target,
        }
    }

    /// Leader and in-sync replicas of partition 0.
    fn leader(self, pair: &mut Pair, topic: &str) -> String {
        let lines = match self {
            Self::Source => pair.on_source("leaders", topic),
            Self::Target => pair.on_target("leaders", topic),
        };
        lines[0].trim_start_matches("0 ").to_owned()
    }
}

/// How many records the mirror's last words say it mirrored.
fn mirrored_records(text: &str) -> i64 {
    let words = text.lines().find_map(|line| line.strip_prefix("mirrored ")).expect("a summary");
    words
        .split(' ')
        .next()
        .and_then(|count| count.replace(',', "").parse().ok())
        .expect("a number of records")
}

/// Waits until the mirror has brought all that there is.
fn mirrored(pair: &mut Pair, topic: &str) {
    let count = |lines: Vec<String>| word(&lines, 3);
    await_until(&format!("{topic} is mirrored"), Duration::from_secs(90), || {
        let source = pair.judge.ask(&format!("read {} {topic}", pair.source.bootstrap)).map(count);
        let target = pair.judge.ask(&format!("read {} {topic}", pair.target.bootstrap)).map(count);
        source.is_ok() && source == target
    });
}

/// A mirror that goes on and on, by a link of the topic's name.
fn following(pair: &Pair, topic: &str, flags: &[&str]) -> Running {
    let words = [
        "mirror",
        "--topics",
        topic,
        "--link",
        topic,
        "--zombie-bound-ms",
        "2000",
        "--metadata-refresh-ms",
        "1000",
    ];
    pair.twinlog(&words).with(flags).start()
}

fn ledger(pair: &Pair, link: &str) -> Twinlog {
    Twinlog::new(&["ledger", "--target", &pair.target.bootstrap, "--link", link])
}

fn exists(topics: Vec<String>, topic: &str) -> bool {
    topics.iter().any(|line| line.starts_with(&format!("{topic} ")))
}

/// Begin and end offset of partition 0.
fn begin(read: &[String]) -> i64 {
    word(read, 1)
}

fn end(ends: &[String]) -> i64 {
    word(ends, 1)
}

fn word(lines: &[String], at: usize) -> i64 {
    lines[0].split(' ').nth(at).and_then(|word| word.parse().ok()).expect("a number")
}

/// The digests of a list's records, in their order.
fn contents_of(lines: Vec<String>) -> Vec<String> {
    lines.iter().filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect()
}
