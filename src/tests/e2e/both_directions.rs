//! One topic, written to on both clusters, mirrored in both directions; and several that become one.

use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use crate::{Chance, load_bytes, size};
use std::collections::BTreeMap;
use std::time::Duration;

/// Both sides hold what was written on either, once, and each side's records in their order.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn both_sides_hold_the_union_once() {
    union(&[], "");
}

/// As above, with records so old that the brokers remember nothing of who wrote them.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn both_sides_hold_the_union_of_old_records() {
    union(
        &["producer.id.expiration.ms=60000", "producer.id.expiration.check.interval.ms=500"],
        "ago=259200000",
    );
}

fn union(settings: &[&str], options: &str) {
    let mut chance = Chance::new();
    let (one, other) =
        (Cluster::start(Place::Source, 1, settings), Cluster::start(Place::Target, 1, settings));
    let mut judge = Judge::start();
    judge.create(&one.bootstrap, "shared", 2, 1, "retention.ms=-1");
    judge.create(&other.bootstrap, "shared", 2, 1, "retention.ms=-1");
    let flags = ["--both-directions", "shared", "--zombie-bound-ms", "2000"];
    let link = |from: &Cluster, to: &Cluster, name: &str| {
        Twinlog::mirror(&from.bootstrap, &to.bootstrap, "shared").with(&flags).with(&["--link", name])
    };
    let (there, back) = (link(&one, &other, "there"), link(&other, &one, "back"));

    let load = |cluster: &Cluster, seed: u64, keys: &str| {
        let (bootstrap, options) = (cluster.bootstrap.clone(), format!("{keys} {options}"));
        std::thread::spawn(move || {
            let mut judge = Judge::start();
            let bytes = load_bytes() / 8;
            let options =
                format!("{options} batch=8000 rate={}", bytes / size("TWINLOG_E2E_SECONDS", 20, 60));
            judge.produce(&bootstrap, "shared", seed, bytes, &options)
        })
    };
    // The keys tell where a record was written.
    let loads = [load(&one, 1, "keys=unique"), load(&other, 2, "keys=1000")];
    while !loads.iter().all(std::thread::JoinHandle::is_finished) {
        let (running_there, running_back) = (there.start(), back.start());
        std::thread::sleep(Duration::from_millis(chance.between(1_500, 4_000)));
        running_there.kill();
        std::thread::sleep(Duration::from_millis(chance.between(0, 500)));
        running_back.kill();
    }
    let written: u64 = loads.into_iter().map(|load| load.join().expect("the load")).sum();
    let settle = || {
        there.clone().until_caught_up().run().succeeded();
        back.clone().until_caught_up().run().succeeded();
    };
    settle();
    let (on_one, on_other) = (by_origin(&mut judge, &one), by_origin(&mut judge, &other));
    assert_eq!(on_one, on_other);
    assert_eq!(on_one.values().map(Vec::len).sum::<usize>() as u64, written);
    settle();
    assert_eq!(by_origin(&mut judge, &one), on_one, "something went round in a circle");
    assert_eq!(by_origin(&mut judge, &other), on_one, "something went round in a circle");
}

/// Two topics of one cluster, each by a link of its own that is killed again and again, become one: both are there once, each in
/// its order.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn two_topics_become_one() {
    let mut chance = Chance::new();
    let (source, target) = (Cluster::start(Place::Source, 1, &[]), Cluster::start(Place::Target, 1, &[]));
    let mut judge = Judge::start();
    // The keys tell where a record comes from.
    let topics = [("orders-de", "keys=unique"), ("orders-fr", "keys=1000")];
    for (topic, _) in topics {
        judge.create(&source.bootstrap, topic, 2, 1, "");
    }
    let link = |topic: &str, name: &str| {
        let rename = format!("{topic}=orders");
        let flags = ["--link", name, "--rename", &rename, "--zombie-bound-ms", "2000"];
        Twinlog::mirror(&source.bootstrap, &target.bootstrap, topic).with(&flags)
    };
    let links = topics.map(|(topic, _)| link(topic, topic).with(&["--shared", topic]));
    let loads = topics.map(|(topic, keys)| {
        let bootstrap = source.bootstrap.clone();
        std::thread::spawn(move || {
            let bytes = load_bytes() / 16;
            let options = format!("{keys} batch=8000 rate={}", bytes / size("TWINLOG_E2E_SECONDS", 8, 60));
            Judge::start().produce(&bootstrap, topic, 1, bytes, &options)
        })
    });
    while !loads.iter().all(std::thread::JoinHandle::is_finished) {
        let [one, other] = links.each_ref().map(Twinlog::start);
        std::thread::sleep(Duration::from_millis(chance.between(1_000, 2_500)));
        one.kill();
        std::thread::sleep(Duration::from_millis(chance.between(0, 500)));
        other.kill();
    }
    let written: u64 = loads.into_iter().map(|load| load.join().expect("the load")).sum();
    for link in &links {
        link.clone().until_caught_up().run().succeeded();
    }
    let merged = of_topic(&mut judge, &target, "orders");
    let mut expected = of_topic(&mut judge, &source, "orders-de");
    expected.extend(of_topic(&mut judge, &source, "orders-fr"));
    assert_eq!(merged, expected);
    assert_eq!(merged.values().map(Vec::len).sum::<usize>() as u64, written);

    // Who does not know of others is told.
    let alone = link("orders-fr", "alone").until_caught_up();
    alone.run().ended_with(3, &["already has records", "--shared"]);
    let both = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "orders-.*")
        .with(&["--rename", "orders-de=orders,orders-fr=orders"]);
    both.run().ended_with(2, &["cannot both become orders", "--shared"]);
}

/// Whoever does not know of the other direction is stopped, and told how to do it.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_circle_is_refused() {
    let (one, other) = (Cluster::start(Place::Source, 1, &[]), Cluster::start(Place::Target, 1, &[]));
    let mut judge = Judge::start();
    judge.create(&one.bootstrap, "once", 1, 1, "");
    judge.produce(&one.bootstrap, "once", 1, 100_000, "");
    let there = Twinlog::mirror(&one.bootstrap, &other.bootstrap, "once")
        .with(&["--link", "there"])
        .until_caught_up();
    there.run().succeeded();
    let back =
        Twinlog::mirror(&other.bootstrap, &one.bootstrap, "once").with(&["--link", "back"]).until_caught_up();
    back.run().ended_with(1, &["once", "the other direction", "--both-directions"]);
    assert_eq!(judge.read(&one.bootstrap, "once"), judge.read(&other.bootstrap, "once"));
}

/// By partition, and whether it was written on the first cluster: the records' digests in their order.
fn by_origin(judge: &mut Judge, cluster: &Cluster) -> BTreeMap<(String, bool), Vec<String>> {
    of_topic(judge, cluster, "shared")
}

fn of_topic(judge: &mut Judge, cluster: &Cluster, topic: &str) -> BTreeMap<(String, bool), Vec<String>> {
    let mut found: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for line in judge.must(&format!("list {} {topic} keys", cluster.bootstrap)) {
        let words: Vec<&str> = line.split(' ').collect();
        let is_first = words.get(4).is_some_and(|key| key.parse::<u64>().is_ok());
        found.entry((words[0].to_owned(), is_first)).or_default().push(words[3].to_owned());
    }
    found
}
