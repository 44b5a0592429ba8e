//! MirrorMaker's configurations, as they are.

use crate::await_until;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place, script};
use crate::mirror::Twinlog;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn written(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join(name);
    std::fs::write(&path, content).expect("a temporary file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (directory, path)
}

/// A file of MirrorMaker 2 with both directions, and these lines besides.
fn both_ways(east: &str, west: &str, more: &str) -> (tempfile::TempDir, String) {
    written(
        "connect-mirror-maker.properties",
        &format!(
            "clusters = east, west\neast.bootstrap.servers = {east}\nwest.bootstrap.servers = {west}\n\
             east->west.enabled = true\nwest->east.enabled = true\nreplication.factor = 1\n\
             checkpoints.topic.replication.factor = 1\noffset.storage.replication.factor = 1\n{more}"
        ),
    )
}

fn starts_with(topics: &[String], name: &str) -> bool {
    topics.iter().any(|topic| topic.split(' ').next() == Some(name))
}

/// Two links in one process: names get the prefixes that MirrorMaker gives them, nothing comes back, and Ctrl-C ends both.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn two_links_with_prefixes_run_in_one_process() {
    let (east, west) = (Cluster::start(Place::Source, 1, &[]), Cluster::start(Place::Target, 1, &[]));
    let mut judge = Judge::start();
    judge.create(&east.bootstrap, "orders", 2, 1, "retention.ms=-1");
    judge.create(&east.bootstrap, "not-meant", 1, 1, "");
    judge.create(&west.bootstrap, "payments", 3, 1, "");
    judge.produce(&east.bootstrap, "orders", 1, 2 << 20, "codec=zstd");
    judge.produce(&west.bootstrap, "payments", 2, 2 << 20, "");
    let more = "east->west.topics = orders, west\\\\..*\nwest->east.topics = .*\n";
    let (_kept, file) = both_ways(&east.bootstrap, &west.bootstrap, more);
    let mirror = Twinlog::new(&["mirror", &file, "--zombie-bound-ms", "2000"]);
    let ended = mirror.clone().until_caught_up().run().succeeded();
    for words in [
        "link east-west: mirrored",
        "link west-east: mirrored",
        "offset.storage.replication.factor is ignored",
    ] {
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
    }
    assert_eq!(judge.read(&east.bootstrap, "orders"), judge.read(&west.bootstrap, "east.orders"));
    assert_eq!(judge.read(&west.bootstrap, "payments"), judge.read(&east.bootstrap, "west.payments"));

    let mut running = mirror.start();
    judge.produce(&east.bootstrap, "orders", 3, 1 << 20, "");
    judge.produce(&west.bootstrap, "payments", 4, 1 << 20, "");
    await_until("both links follow", Duration::from_secs(60), || {
        judge.read(&east.bootstrap, "orders") == judge.read(&west.bootstrap, "east.orders")
            && judge.read(&west.bootstrap, "payments") == judge.read(&east.bootstrap, "west.payments")
    });
    running.interrupt();
    running.end().ended_with(130, &["link east-west: mirrored", "link west-east: mirrored"]);
    let (on_east, on_west) = (judge.topics(&east.bootstrap), judge.topics(&west.bootstrap));
    for name in ["west.east.orders", "east.orders"] {
        assert!(!starts_with(&on_east, name), "{name} came back: {on_east:?}");
    }
    for name in ["east.west.payments", "not-meant", "east.not-meant"] {
        assert!(!starts_with(&on_west, name), "{name}: {on_west:?}");
    }
}

/// Where names stay, both sides hold the union, by the links that `config import` writes, too.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn two_links_without_prefixes_hold_the_union() {
    let (east, west) = (Cluster::start(Place::Source, 1, &[]), Cluster::start(Place::Target, 1, &[]));
    let mut judge = Judge::start();
    for (cluster, seed) in [(&east, 1), (&west, 2)] {
        judge.create(&cluster.bootstrap, "shared", 1, 1, "");
        judge.produce(&cluster.bootstrap, "shared", seed, 1 << 20, "keys=unique");
    }
    let more = "replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy\ntopics = shared\n";
    let (directory, file) = both_ways(&east.bootstrap, &west.bootstrap, more);
    let records = |judge: &mut Judge, cluster: &Cluster| {
        let mut all: Vec<String> = judge
            .must(&format!("list {} shared", cluster.bootstrap))
            .iter()
            .filter_map(|line| line.split(' ').nth(3).map(str::to_owned))
            .collect();
        all.sort();
        all
    };
    let written = records(&mut judge, &east).len() + records(&mut judge, &west).len();
    let mirror = Twinlog::new(&["mirror", &file, "--zombie-bound-ms", "2000"]).until_caught_up();
    mirror.run().succeeded();
    // What came over while the other link had caught up already is its next run's.
    mirror.run().succeeded();
    assert_eq!(records(&mut judge, &east), records(&mut judge, &west));
    assert_eq!(records(&mut judge, &east).len(), written, "something went round in a circle");

    let links = directory.path().join("links");
    let out = ["--out-dir", links.to_str().expect("UTF-8")];
    let imported = Twinlog::new(&["config", "import", &file]).with(&out).run();
    imported.ended_with(
        0,
        &["east-west.toml", "mirror.both-directions", "offset.storage.replication.factor is ignored"],
    );
    Twinlog::new(&["config", "import", &file])
        .with(&out)
        .run()
        .ended_with(1, &["cannot write", "east-west.toml"]);
    judge.produce(&east.bootstrap, "shared", 5, 100_000, "keys=unique");
    let link = |name: &str| links.join(name).to_str().expect("UTF-8").to_owned();
    Twinlog::new(&["mirror", "--config", &link("east-west.toml")]).until_caught_up().run().succeeded();
    assert_eq!(records(&mut judge, &east), records(&mut judge, &west));
}

/// `--clusters` as connect-mirror-maker.sh has it, a plan of what would be done, and MirrorMaker 1's flags.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn flows_are_chosen_and_planned_and_mirror_maker_1_is_understood() {
    let (east, west) = (Cluster::start(Place::Source, 1, &[]), Cluster::start(Place::Target, 1, &[]));
    let mut judge = Judge::start();
    judge.create(&east.bootstrap, "orders", 2, 1, "");
    judge.produce(&east.bootstrap, "orders", 1, 1 << 20, "");
    let (_kept, file) = both_ways(&east.bootstrap, &west.bootstrap, "topics = orders\n");
    let plan = Twinlog::new(&["plan", &file, "--clusters", "west"]).run();
    plan.ended_with(0, &["orders", "east-west"]);
    Twinlog::new(&["mirror", &file, "--until-caught-up", "--clusters", "west"]).run().succeeded();
    assert_eq!(judge.read(&east.bootstrap, "orders"), judge.read(&west.bootstrap, "east.orders"));

    let consumer =
        format!("bootstrap.servers={}\ngroup.id=mm1\nauto.offset.reset=earliest\n", east.bootstrap);
    let (directory, consumer) = written("consumer.properties", &consumer);
    let producer = directory.path().join("producer.properties");
    std::fs::File::create(&producer)
        .and_then(|mut file| {
            writeln!(file, "bootstrap.servers={}\nacks=all\ncompression.type=lz4", west.bootstrap)
        })
        .expect("a temporary file");
    let flags = |producer: &Path| {
        let producer = producer.to_str().expect("UTF-8");
        Twinlog::new(&[
            "mirror",
            "--consumer.config",
            &consumer,
            "--producer.config",
            producer,
            "--num.streams",
            "4",
        ])
        .with(&["--abort.on.send.failure", "true", "--whitelist", "orders,other"])
        .until_caught_up()
    };
    flags(&producer).run().ended_with(
        0,
        &[
            "records keep their partition",
            "--num.streams is ignored",
            "compression.type is ignored",
            "mirrored ",
        ],
    );
    assert_eq!(judge.read(&east.bootstrap, "orders"), judge.read(&west.bootstrap, "orders"));
    flags(&producer).with(&["--message.handler", "com.example.Mine"]).run().ended_with(2, &["[[transform]]"]);
}

/// MirrorMaker 2 itself runs by a file until it is killed; Twinlog goes on by the same file.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn the_same_file_serves_mirror_maker_and_then_twinlog() {
    let (east, west) = (Cluster::start(Place::Source, 1, &[]), Cluster::start(Place::Target, 1, &[]));
    let mut judge = Judge::start();
    judge.create(&east.bootstrap, "orders", 2, 1, "");
    judge.produce(&east.bootstrap, "orders", 1, 1 << 20, "keys=true");
    let more = "topics = orders\nwest->east.enabled = false\nemit.heartbeats.enabled = false\n\
                heartbeats.topic.replication.factor = 1\noffset-syncs.topic.replication.factor = 1\n\
                status.storage.replication.factor = 1\n\
                config.storage.replication.factor = 1\nsync.topic.acls.enabled = false\n";
    let (_kept, file) = both_ways(&east.bootstrap, &west.bootstrap, more);
    let class_path = script(&["classpath", &west.version]).expect("Kafka's jars");
    let mut mirror_maker = Command::new("java")
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-cp", class_path.trim()])
        .args(["org.apache.kafka.connect.mirror.MirrorMaker", &file])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("java");
    let ends = |judge: &mut Judge, cluster: &Cluster, topic: &str| {
        judge.ask(&format!("ends {} {topic}", cluster.bootstrap)).unwrap_or_default()
    };
    let expected = ends(&mut judge, &east, "orders");
    await_until("MirrorMaker has written everything", Duration::from_secs(120), || {
        ends(&mut judge, &west, "east.orders") == expected
    });
    mirror_maker.kill().expect("our child");
    mirror_maker.wait().expect("our child");
    judge.produce(&east.bootstrap, "orders", 2, 1 << 20, "keys=true");

    let twinlog = |words: &[&str]| Twinlog::new(words).with(&[&file, "--zombie-bound-ms", "2000"]);
    let mirror = twinlog(&["mirror", "--until-caught-up"]);
    mirror.run().ended_with(3, &["take-over"]);
    Twinlog::new(&["take-over", &file]).run().ended_with(0, &["2 partitions taken over by link east-west"]);
    mirror.run().succeeded();
    let values = |judge: &mut Judge, cluster: &Cluster, topic: &str| {
        crate::pair::values(&judge.must(&format!("read {} {topic} values", cluster.bootstrap)))
    };
    assert_eq!(values(&mut judge, &east, "orders"), values(&mut judge, &west, "east.orders"));
}

/// Nothing is started by a file with a mistake in it.
#[test]
fn mistakes_in_mirror_makers_files_exit_with_2() {
    let nobody = ("127.0.0.1:9", "127.0.0.1:10");
    for (more, words) in [
        (
            "east->west.topcis = x",
            ["connect-mirror-maker.properties:9: east->west.topcis", "`east->west.topics`"],
        ),
        ("topic.filter.class = com.example.Mine", [":9: topic.filter.class", "no Java classes"]),
        ("east->wets.enabled = true", ["no `wets`", "`west`"]),
        ("transforms = a", ["transforms", "[[transform]]"]),
        ("topics = (?!x).*", ["topics", "left out"]),
    ] {
        let (_kept, file) = both_ways(nobody.0, nobody.1, more);
        Twinlog::new(&["mirror", &file]).patience(10).run().ended_with(2, &words);
        Twinlog::new(&["config", "import", &file]).patience(10).run().ended_with(2, &words);
    }
    let (_kept, file) = both_ways(nobody.0, nobody.1, "");
    let mirror = |more: &[&str]| Twinlog::new(&["mirror", &file]).with(more).patience(10).run();
    mirror(&["--source", "a:1"]).ended_with(2, &["--source cannot stand beside MirrorMaker's configuration"]);
    mirror(&["--link", "x"]).ended_with(2, &["--link names one link, and there are several"]);
    mirror(&["--clusters", "eats"]).ended_with(2, &["did you mean `east`?"]);
    Twinlog::new(&["mirror", "twinlog.toml"]).patience(10).run().ended_with(2, &["--config twinlog.toml"]);
    Twinlog::new(&["config", "explain", "topcis"])
        .patience(10)
        .run()
        .ended_with(2, &["did you mean `topics`?"]);
    Twinlog::new(&["config", "explain", "tasks.max"])
        .patience(10)
        .run()
        .ended_with(0, &["`--cores` takes a list"]);
}

/// A link that cannot start leaves the other one alone, and the worst exit code counts.
#[test]
fn a_link_that_cannot_start_is_named() {
    let (_kept, file) = both_ways("127.0.0.1:9", "127.0.0.1:10", "");
    let ended = Twinlog::new(&["mirror", &file, "--until-caught-up"]).patience(60).run();
    ended.ended_with(1, &["error: link east-west: ", "error: link west-east: ", "127.0.0.1:9"]);
}
