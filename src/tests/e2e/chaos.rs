//! Nothing lost, nothing doubled, whatever is killed.

use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use crate::{Chance, await_until, load_bytes};
use std::time::Duration;

const KILLS: usize = 10;

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn mirrors_and_brokers_are_killed_under_load() {
    let mut chance = Chance::new();
    let source = Cluster::start(Place::Source, 3, &[]);
    let target = Cluster::start(Place::Target, 3, &[]);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "busy", 6, 3, "min.insync.replicas=2");
    judge.create(&source.bootstrap, "small", 2, 3, "min.insync.replicas=2");
    let mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "busy|small").with(&[
        "--zombie-bound-ms",
        "6000",
        "--metadata-refresh-ms",
        "2000",
    ]);

    let load = std::thread::spawn({
        let bootstrap = source.bootstrap.clone();
        move || {
            let mut judge = Judge::start();
            // Spread over about as long as the kills take.
            let options = format!("codec=lz4 rate={}", load_bytes() / 45);
            judge.produce(&bootstrap, "busy", 1, load_bytes(), &options)
                + judge.produce(&bootstrap, "small", 2, load_bytes() / 100, "batch=2000")
        }
    });
    for kill in 0..KILLS {
        let running = mirror.start();
        match kill {
            2 => target.kill(1),
            4 => source.kill(2),
            5 => target.restart(1),
            7 => source.restart(2),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(chance.between(200, 6000)));
        running.kill();
    }
    two_at_once(&mirror);
    let records = load.join().expect("the load");
    mirror.clone().until_caught_up().run().succeeded();

    for topic in ["busy", "small"] {
        same(&mut judge, &source, &target, topic);
    }
    let counted: u64 = ["busy", "small"]
        .iter()
        .flat_map(|topic| judge.read(&target.bootstrap, topic))
        .map(|(_, content)| content.records)
        .sum();
    assert!(
        counted >= records,
        "{records} records were acknowledged on the source, {counted} are on the target"
    );
}

/// The second instance of a link takes over; the first sees it and ends.
pub fn two_at_once(mirror: &Twinlog) {
    let mut first = mirror.start();
    std::thread::sleep(Duration::from_secs(3));
    let second = mirror.start();
    await_until("the first instance gives way", Duration::from_secs(60), || first.has_ended());
    first.end().ended_with(4, &["another instance"]);
    std::thread::sleep(Duration::from_secs(2));
    second.kill();
}
