//! `twinlog plan` says what a mirror would do, and then it does it; and a plan changes nothing.

use crate::await_until;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place, script};
use crate::mirror::{Ended, Twinlog};
use serde_json::Value;
use std::time::Duration;

const AUTHORIZER: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
/// Everybody may do everything, until a resource has a rule of its own.
const OPEN: &str = "allow.everyone.if.no.acl.found=true";
const THREE_DAYS_MS: i64 = 3 * 86_400_000;

struct World {
    source: Cluster,
    target: Cluster,
    judge: Judge,
}

impl World {
    fn new() -> Self {
        let source = Cluster::start(Place::Source, 1, &[AUTHORIZER, OPEN]);
        let target = Cluster::start(Place::Target, 1, &[AUTHORIZER, OPEN]);
        Self { source, target, judge: Judge::start() }
    }

    fn topic(&mut self, name: &str, partitions: usize, configs: &str, options: &str) {
        self.judge.create(&self.source.bootstrap, name, partitions, 1, configs);
        self.judge.produce(&self.source.bootstrap, name, 1, 100_000, options);
    }

    /// `twinlog` with these words, between the two clusters.
    fn command(&self) -> impl Fn(&[&str]) -> Twinlog + use<> {
        let (source, target) = (self.source.bootstrap.clone(), self.target.bootstrap.clone());
        move |words| Twinlog::new(words).with(&["--source", &source, "--target", &target])
    }
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn what_a_plan_shows_is_applied_once() {
    let mut world = World::new();
    world.topic("orders", 3, "retention.ms=987654321", "");
    world.topic("there", 1, "retention.ms=777777777", "");
    let (source, target) = (world.source.bootstrap.clone(), world.target.bootstrap.clone());
    world.judge.must(&format!("quota {source} user=reader producer_byte_rate=1048576"));
    world.judge.create(&target, "there", 1, 1, "");
    let command = world.command();
    let flags = ["--topics", "orders|there", "--sync-topic-configs", "--sync-quotas"];
    let apply = command(&["apply"]).with(&flags);
    apply.run().ended_with(
        0,
        &[
            "topic orders: created with 3 partitions, replication factor 1, retention.ms=987654321",
            "topic there: retention.ms=777777777",
            "quota: user reader: producer_byte_rate=1048576",
            "link mirror: 3 done, 0 not",
        ],
    );
    apply.run().ended_with(0, &["link mirror: 0 done, 0 not"]);
    let there = world.judge.topics(&target);
    assert!(!there.iter().any(|line| line.starts_with("__twinlog")), "{there:?}");
    command(&["plan"]).with(&flags).run().ended_with(0, &["exists with 3 partitions"]);
    command(&["mirror", "--until-caught-up"]).with(&flags).run().succeeded();

    let json = command(&["apply", "--json", "--topics", "hopeless", "--sync-acls", "all"]);
    world.topic("hopeless", 1, "", "");
    let ended = json.with(&["--replication-factor", "9"]).run().ended_with(3, &[]);
    let said = self::json(&ended);
    assert!(said["failed"][0].as_str().is_some_and(|line| line.contains("hopeless")), "{said}");
    assert_eq!(said["done"].as_array().map(Vec::len), Some(0), "{said}");
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn a_plan_says_what_the_mirror_then_does() {
    let mut world = World::new();
    world.topic("orders", 3, "retention.ms=987654321 compression.type=lz4", "codec=lz4");
    world.topic("old", 1, "retention.ms=-1", &format!("ago={THREE_DAYS_MS}"));
    world.topic("narrow", 4, "", "");
    world.topic("small", 1, "max.message.bytes=2000000", "");
    world.topic("kept", 1, "", "");
    let (source, target) = (world.source.bootstrap.clone(), world.target.bootstrap.clone());
    world.judge.create(&source, "high", 1, 1, "");
    world.judge.must(&format!("empties {source} high 6000"));
    world.judge.must(&format!("trim {source} high 5000"));
    world.judge.must(&format!("commit {source} orders readers 0 3"));
    world.judge.create(&target, "narrow", 2, 1, "");
    world.judge.produce(&target, "narrow", 9, 1000, "");
    world.judge.create(&target, "small", 1, 1, "max.message.bytes=100000");
    let before = world.judge.topics(&target);

    let flags = ["--topics", ".*", "--groups", "readers"];
    let command = world.command();
    let plan = command(&["plan", "--json"]).with(&flags).with(&["--exclude", "kept"]);
    let ended = plan.run().ended_with(3, &[]);
    assert_eq!(world.judge.topics(&target), before, "a plan changes nothing, coordinators' topics included");
    let json = json(&ended);
    let topic = |name: &str| topic(&json, name);
    let orders = topic("orders");
    assert_eq!(orders["on_target"]["state"], "created");
    assert_eq!(orders["on_target"]["partitions"], 3);
    assert_eq!(orders["on_target"]["configs"]["retention.ms"], "987654321");
    assert_eq!((&orders["offsets"], &orders["unguarded_offsets"]), (&"identical".into(), &0.into()));
    assert_eq!(topic("old")["unguarded_offsets"], topic("old")["left_offsets"]);
    assert_eq!((&topic("high")["seeds"], &topic("high")["left_offsets"]), (&5000.into(), &1000.into()));
    assert_eq!(json["groups"][0]["positions"], 1);
    for (weight, about, words) in [
        ("stops", "narrow", "4 partitions on the source and 2 on the target"),
        ("warning", "small", "max.message.bytes=100000, less than the source's 2000000"),
        ("note", "kept", "it is excluded"),
        ("note", "orders", "compression.type is producer instead of lz4"),
        ("warning", "", "of old hold records that are older than 23 h"),
    ] {
        assert!(has(&json, weight, about, words), "{weight} {about} '{words}' is not in\n{}", ended.text);
    }

    let flags = ["--topics", ".*", "--groups", "readers", "--exclude", "kept|narrow|small"];
    let plan = command(&["plan"]).with(&flags);
    plan.run()
        .ended_with(0, &["topic orders", "would be created with 3 partitions", "5,000 empty records first"]);
    plan.clone()
        .with(&["--offsets", "append"])
        .run()
        .ended_with(0, &["unguarded offsets are sent in transactions"]);
    let mirror = command(&["mirror", "--until-caught-up"]).with(&flags);
    mirror.run().ended_with(0, &["of old hold records that are older than 23 h"]);
    let topics = world.judge.topics(&target);
    for made in ["orders 3", "old 1", "high 1"] {
        assert!(topics.iter().any(|topic| topic == made), "{made} is not in {topics:?}");
    }
    assert!(world.judge.configs(&target, "orders").contains(&"retention.ms=987654321".to_owned()));
    plan.run().ended_with(
        0,
        &["exists with 3 partitions", "identical, as the partitions were begun", "; 0 offsets"],
    );
    world.judge.must(&format!("grow {source} orders 5"));
    world.judge.produce(&source, "orders", 2, 50_000, "only=4");
    plan.run().ended_with(0, &["would grow from 3 to 5 partitions", "3 go on from", "2 begin at offset 0"]);

    // Settings follow if told to; a setting that only the target has stays.
    world.judge.must(&format!("alter {source} orders retention.ms=123456789 flush.ms=7000"));
    world.judge.must(&format!("alter {target} orders segment.ms=86400000"));
    let sync = ["--sync-topic-configs", "--topic-configs-interval-ms", "500"];
    let planned =
        plan.with(&sync).run().ended_with(0, &["flush.ms=7000", "retention.ms=123456789 (now 987654321)"]);
    assert!(!planned.text.contains("segment.ms"), "{}", planned.text);
    let running = command(&["mirror"]).with(&flags).with(&sync).start();
    let has = |judge: &mut Judge, expected: &[&str], gone: &str| {
        await_until("the settings are the source's", Duration::from_secs(30), || {
            let configs = judge.configs(&target, "orders");
            expected.iter().all(|line| configs.iter().any(|config| config == line))
                && !configs.iter().any(|config| config.starts_with(gone))
        });
    };
    has(
        &mut world.judge,
        &["retention.ms=123456789", "flush.ms=7000", "segment.ms=86400000", "compression.type=producer"],
        "no-such",
    );
    world.judge.must(&format!("unset {source} orders flush.ms"));
    has(&mut world.judge, &["retention.ms=123456789", "segment.ms=86400000"], "flush.ms");
    running.kill();
}

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn missing_rights_are_named_as_rules_that_one_can_type() {
    let mut world = World::new();
    for name in ["half", "locked", "secret", "hidden", "open"] {
        world.topic(name, 1, "", "");
    }
    let (source, target) = (world.source.bootstrap.clone(), world.target.bootstrap.clone());
    for name in ["half", "locked", "hidden"] {
        world.judge.create(&target, name, 1, 1, "");
    }
    let name = Place::Target.name();
    let acls = |words: &str| {
        let words: Vec<&str> = ["tool", &name, "acls"].into_iter().chain(words.split(' ')).collect();
        script(&words).unwrap_or_else(|error| panic!("{error}"))
    };
    acls("--add --allow-principal User:* --operation Describe --topic half");
    let command = world.command();
    let plan = |topics: &str| command(&["plan", "--json", "--topics", topics]).run();
    let ended = plan("half|open").ended_with(3, &["missing right WRITE on topic half of the target"]);
    let commands: Vec<String> = json(&ended)["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|finding| finding["command"].as_str().map(str::to_owned))
        .collect();
    let operations: Vec<&str> = commands.iter().filter_map(|command| command.split(' ').nth(7)).collect();
    assert_eq!(operations, ["Read", "Write", "DescribeConfigs", "Alter", "Delete"], "{commands:?}");
    for command in &commands {
        let (_, words) =
            command.split_once(&format!("--bootstrap-server {target} ")).expect("where to type it");
        acls(words);
    }
    let ended = plan("half|open").ended_with(0, &[]);
    assert!(!ended.text.contains("missing right"), "{}", ended.text);

    world.judge.must(&format!("hide {target} hidden"));
    plan("hidden|open").ended_with(3, &["left out: it exists on the target but this user may not see it"]);

    // What is denied from now on, brokers are denied, too: nothing can be created any more.
    command(&["mirror", "--until-caught-up", "--topics", "half"]).run().succeeded();
    for name in ["open", "secret"] {
        world.judge.create(&target, name, 1, 1, "");
    }
    world.judge.must(&format!("deny {target} locked WRITE"));
    world.judge.must(&format!("deny {source} secret READ"));
    acls("--add --deny-principal User:* --operation All --transactional-id twinlog.forbidden");
    world.judge.must(&format!("deny-cluster {target}"));
    let flags = ["--topics", "locked|secret|open", "--sync-quotas"];
    let command = |words: &[&str]| command(words).with(&flags);
    let words = [
        "missing right WRITE on topic locked of the target",
        "--operation Write --topic locked",
        "missing right READ on topic secret of the source",
        "missing right ALTER on the target cluster: gaps in the offsets cannot be filled with control records, so `auto` appends",
        "--operation Alter --cluster",
        "missing right ALTER_CONFIGS on the target cluster: quotas are not kept in step",
        "offsets: appended, because gaps cannot be filled",
    ];
    command(&["plan"]).run().ended_with(3, &words);
    command(&["plan", "--offsets", "identical"])
        .run()
        .ended_with(3, &["gaps of up to 1000 offsets are filled with empty transactions"]);
    let words_of_lock = ["missing right WRITE on transactional id twinlog.forbidden of the target"];
    command(&["plan", "--link", "forbidden"]).run().ended_with(3, &words_of_lock);
    // The mirror says the same when it starts.
    let running = command(&["mirror"]).start();
    await_until("the mirror names the rights", Duration::from_secs(60), || {
        let text = running.text();
        [words[0], words[2], words[3]].iter().all(|word| text.contains(word))
    });
    running.kill();
}

/// What was printed for programs.
fn json(ended: &Ended) -> Value {
    let line = ended.text.lines().find(|line| line.starts_with("{\"link\""));
    let line = line.unwrap_or_else(|| panic!("no plan in\n{}", ended.text));
    serde_json::from_str(line).expect("JSON")
}

fn topic<'a>(json: &'a Value, name: &str) -> &'a Value {
    let topics = json["topics"].as_array().expect("a list");
    topics.iter().find(|topic| topic["topic"] == name).unwrap_or_else(|| panic!("no topic {name} in {json}"))
}

/// Whether there is such a finding; `about` is the topic's name, if it is about one.
fn has(json: &Value, weight: &str, about: &str, words: &str) -> bool {
    let findings = json["findings"].as_array().expect("a list");
    findings.iter().any(|finding| {
        finding["weight"] == weight
            && (about.is_empty() || finding["name"] == about)
            && finding["text"].as_str().is_some_and(|text| text.contains(words))
    })
}
