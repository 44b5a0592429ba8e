//! Several instances that share a link: they come, go, die and hang, and nothing is lost or doubled.

use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::base_port;
use crate::mirror::{Running, Twinlog};
use crate::pair::Pair;
use crate::synthetic::get;
use crate::{await_until, load_bytes};
use std::time::{Duration, Instant};

const PARTS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance that runs, and where it says what it does.
struct Instance {
    running: Running,
    port: String,
}

impl Instance {
    fn start(mirror: &Twinlog, number: u64) -> Self {
        Self::named(mirror, &format!("i{number}"), number)
    }

    fn named(mirror: &Twinlog, name: &str, number: u64) -> Self {
        let port = (base_port() + 40 + number).to_string();
        let running = mirror.clone().with(&["--instance", name, "--listen", &port]).start();
        Self { running, port }
    }

    /// How many parts it runs, as far as it says.
    fn parts(&self) -> usize {
        let status = get(&self.port, "/status").unwrap_or_default();
        let parts = status.split_once("\"parts\":[").and_then(|(_, rest)| rest.split_once(']'));
        parts.map_or(0, |(parts, _)| parts.split(',').filter(|part| !part.is_empty()).count())
    }
}

fn share(what: &str, instances: &[&Instance]) {
    let begin = Instant::now();
    let each = PARTS / instances.len();
    await_until(what, PATIENCE, || {
        let parts: Vec<usize> = instances.iter().map(|instance| instance.parts()).collect();
        parts.iter().sum::<usize>() == PARTS && parts.iter().all(|parts| *parts >= each)
    });
    println!("{what}: after {:.1} s", begin.elapsed().as_secs_f64());
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn instances_share_a_link_and_take_over() {
    let settings = ["group.initial.rebalance.delay.ms=0"];
    let mut pair = Pair::start((1, 1), &[], &settings);
    pair.on_source("create", "busy 8 1");
    pair.on_source("create", "small 1 1");
    let link = ["--link", "shared", "--instances", "auto", "--instance-timeout-ms", "6000"];
    let mirror = pair.twinlog(&["mirror", "--topics", "busy|small|late"]).with(&link);
    let mirror = mirror.with(&["--parts", "6", "--zombie-bound-ms", "3000", "--metadata-refresh-ms", "1000"]);
    let load = std::thread::spawn({
        let bootstrap = pair.source.bootstrap.clone();
        move || {
            let mut judge = Judge::start();
            let options = format!("codec=lz4 rate={}", load_bytes() / 30);
            judge.produce(&bootstrap, "busy", 1, load_bytes(), &options)
                + judge.produce(&bootstrap, "small", 2, 200_000, "batch=2000")
        }
    });
    let one = Instance::start(&mirror, 1);
    share("one runs all", &[&one]);
    let two = Instance::start(&mirror, 2);
    share("two share", &[&one, &two]);
    let three = Instance::start(&mirror, 3);
    share("three share", &[&one, &two, &three]);

    // Who was told otherwise is told so, and nobody is disturbed.
    let whole = pair.twinlog(&["mirror", "--topics", "busy", "--link", "shared", "--until-caught-up"]);
    whole.run().ended_with(2, &["is divided among instances", "--instances auto"]);
    let others = mirror.clone().with(&["--parts", "7", "--instance", "i9"]);
    others.run().ended_with(2, &["--parts"]);

    one.running.kill();
    share("one was killed", &[&two, &three]);
    // A topic that is new and one that grows: the first part sees to them, wherever it runs.
    pair.on_source("create", "late 3 1");
    pair.on_source("produce", "late 3 100000");

    two.running.freeze();
    share("two hangs", &[&three]);
    two.running.thaw();
    share("two is back", &[&two, &three]);

    let four = Instance::start(&mirror, 4);
    share("four came", &[&two, &three, &four]);
    three.running.interrupt();
    let mut three = three;
    three.running.end().ended_with(130, &["mirrored"]);
    share("three has left", &[&two, &four]);

    // The same name twice: the newer one has it.
    let again = Instance::named(&mirror, "i4", 5);
    let mut four = four;
    await_until("the older one gives way", PATIENCE, || four.running.has_ended());
    four.running.end().ended_with(2, &["another process runs as instance `i4`"]);
    share("the newer one runs", &[&two, &again]);

    let records = load.join().expect("the load");
    for topic in ["busy", "small", "late"] {
        let source: i64 = ends(&mut pair.judge, &pair.source.bootstrap, topic);
        await_until("everything is mirrored", PATIENCE, || pair.target_end(topic) == source);
        same(&mut pair.judge, &pair.source, &pair.target, topic);
    }
    let topics = ["busy", "small"].map(|topic| pair.judge.read(&pair.target.bootstrap, topic));
    let counted: u64 = topics.iter().flat_map(|topic| topic.values()).map(|content| content.records).sum();
    assert!(
        counted >= records,
        "{records} records were acknowledged on the source, {counted} are on the target"
    );
    let verify = ["verify", "--deep", "--topics", "busy|small|late", "--link", "shared"];
    pair.twinlog(&verify).run().ended_with(0, &["the same on both sides"]);

    // The whole link is handed over, whichever of its parts a partition belongs to.
    two.running.interrupt();
    again.running.interrupt();
    let failover = ["failover", "--topics", "busy|small|late", "--link", "shared"];
    pair.twinlog(&failover).run().ended_with(0, &["12 partitions handed over"]);
}

fn ends(judge: &mut Judge, bootstrap: &str, topic: &str) -> i64 {
    let lines = judge.must(&format!("ends {bootstrap} {topic}"));
    lines.iter().filter_map(|line| line.split(' ').next_back()?.parse::<i64>().ok()).sum()
}
