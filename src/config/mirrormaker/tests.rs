use super::*;
use crate::config::{Heartbeats, Isolation, Mirror, Offsets, StartFrom, SyncAcls, text};
use std::io;

struct Made;

impl Elsewhere for Made {
    fn file(&self, _: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "WEST").then(|| "west1:9092".into())
    }
}

fn file(content: &str) -> File {
    File { name: "mm2.properties".into(), path: "/etc/mm2.properties".into(), content: content.into() }
}

fn read(content: &str) -> Result<Vec<Flow>, String> {
    flows(&file(content), &[], &Made).map_err(|error| error.0)
}

/// The only flow of two clusters with these lines besides.
fn one(content: &str) -> Result<Flow, String> {
    let content = format!(
        "clusters=A,B\nA.bootstrap.servers=a:1\nB.bootstrap.servers=b:2\nA->B.enabled=true\n{content}"
    );
    read(&content).map(|mut flows| flows.remove(0))
}

fn built(flow: &Flow) -> Mirror {
    flow.draft.clone().build().unwrap()
}

/// What is said of a key.
fn said(flow: &Flow, key: &str) -> String {
    let lines = flow
        .lines
        .iter()
        .filter(|line| line.origin.split(": ").last().is_some_and(|origin| origin.starts_with(key)));
    lines.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What a topic is called on the target.
fn renamed(mirror: &Mirror, topic: &str) -> String {
    mirror.target.names.on_cluster(topic).into_owned()
}

fn typed(patterns: &[regex::Regex]) -> Vec<&str> {
    patterns.iter().map(text::typed).collect()
}

/// In the manner of the file that Kafka comes with.
const SAMPLE: &str = "
# two clusters that mirror each other
clusters = A, B
A.bootstrap.servers = a_1:9092, a_2:9092, a_3:9092
B.bootstrap.servers = b_1:9092, b_2:9092, b_3:9092
A->B.enabled = true
A->B.topics = .*
B->A.enabled = true
B->A.topics = .*
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset-syncs.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
";

#[test]
fn kafkas_own_sample_becomes_two_links() {
    let flows = read(SAMPLE).unwrap();
    assert_eq!(flows.iter().map(|flow| flow.link.as_str()).collect::<Vec<_>>(), ["A-B", "B-A"]);
    let mirror = built(&flows[0]);
    assert_eq!(
        (mirror.source.bootstrap.len(), mirror.target.bootstrap[0].to_string()),
        (3, "b_1:9092".into())
    );
    assert_eq!(
        (mirror.link.as_str(), mirror.replication_factor, mirror.sync_topic_configs),
        ("A-B", Some(1), true)
    );
    assert_eq!(flows[0].draft.flow, Some(["A".into(), "B".into()]), "for metrics of MirrorMaker's names");
    assert_eq!(renamed(&mirror, "t"), "A.t");
    assert!(mirror.groups.is_empty() && mirror.both_directions.is_empty());
    let is_out = |name: &str| mirror.exclude.iter().any(|pattern| pattern.is_match(name));
    for name in [
        "B.orders",
        "C.B.orders",
        "mm2-offset-syncs.B.internal",
        "x-internal",
        "t.replica",
        "__x",
        "heartbeats",
        "C.heartbeats",
    ] {
        assert!(is_out(name), "{name}");
    }
    for name in ["orders", "A.orders", "B", "B.", "Bx.orders", "internal", "heartbeats2"] {
        assert!(!is_out(name), "{name}");
    }
    let topics = &mirror.client_topics;
    assert_eq!((topics.source_alias.as_str(), topics.target_alias.as_str()), ("A", "B"));
    assert_eq!(topics.checkpoints_topic, "A.checkpoints.internal");
    assert_eq!(
        (topics.checkpoints_replication_factor, topics.heartbeats_replication_factor),
        (Some(1), Some(1))
    );
    // The way back has a link of its own.
    assert_eq!(topics.heartbeats, Heartbeats { target: true, source: false, relay: true });
    assert!(topics.has_checkpoints_of("billing") && !topics.has_checkpoints_of("connect-x"));
    assert_eq!(renamed(&built(&flows[1]), "t"), "B.t");
    assert!(
        said(&flows[0], "offset.storage")
            .contains("mm2.properties:14: offset.storage.replication.factor is ignored")
    );
}

#[test]
fn what_import_writes_is_read_as_the_same_link() {
    for flow in read(SAMPLE).unwrap() {
        let mirror = Draft::from_toml("t", &flow.file()).unwrap().build().unwrap();
        assert_eq!(format!("{mirror:?}"), format!("{:?}", built(&flow)), "{}", flow.file());
    }
}

const TWO_LINKS: &str = "
clusters = east, west, north
config.providers = env
config.providers.env.class = org.apache.kafka.common.config.provider.EnvVarConfigProvider
east.bootstrap.servers = SASL_SSL://east1:9093,SASL_SSL://east2:9093
east.security.protocol = SASL_SSL
east.sasl.mechanism = SCRAM-SHA-512
east.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required username=\"m\" password=\"hunter2\";
ssl.truststore.location = /etc/ca.p12
ssl.truststore.password = hunter3
west.bootstrap.servers = ${env:WEST}
north.bootstrap.servers = north:9092
east.consumer.fetch.max.bytes = 16777216
west.producer.linger.ms = 20
east->west.enabled = true
east->west.topics = orders, clicks\\\\..*
west->east.enabled = true
west->east.topics = payments
west->east.sync.group.offsets.enabled = true
west->east.groups = billing
replication.policy.separator = _
tasks.max = 8
exactly.once.source.support = enabled
north->west.enabled = false
";

#[test]
fn a_file_with_two_links_prefixes_and_a_login() {
    let flows = read(TWO_LINKS).unwrap();
    let [out, back] = flows.as_slice() else { panic!("{} flows", flows.len()) };
    let mirror = built(out);
    assert_eq!(typed(&mirror.topics), ["orders", "clicks\\..*"]);
    assert_eq!(
        (renamed(&mirror, "t"), mirror.target.bootstrap[0].to_string()),
        ("east_t".into(), "west1:9092".into())
    );
    assert_eq!(
        (mirror.source.bootstrap[1].to_string(), mirror.fetch_bytes_max),
        ("east2:9093".into(), 16 << 20)
    );
    assert!(mirror.source.security.sasl.is_some() && mirror.source.security.tls.is_some());
    assert_eq!((&mirror.target.security.tls, &mirror.target.security.sasl), (&None, &None));
    assert!(mirror.exclude.iter().any(|pattern| pattern.is_match("west_orders")));
    assert!(mirror.exclude.iter().any(|pattern| pattern.is_match("mm2-configs_west_internal")));
    let mirror = built(back);
    assert!(mirror.target.security.sasl.is_some() && mirror.source.security.tls.is_none());
    assert_eq!((typed(&mirror.groups), mirror.fetch_bytes_max), (vec!["billing"], 48 << 20));
    assert_eq!(typed(&mirror.groups_exclude), ["console-consumer-.*", "connect-.*", "__.*"]);
    assert!(said(back, "east.consumer.fetch.max.bytes").contains("only reads from its source"));
    let lines = said(out, "ssl.truststore.location");
    assert!(
        lines.contains("becomes source.ssl.truststore.location")
            && lines.contains("security.protocol is PLAINTEXT"),
        "{lines}"
    );
    for (key, expected) in [
        ("tasks.max", "is ignored: a link runs on all cores"),
        ("west.producer.linger.ms", "is ignored: batches pass"),
        ("exactly.once", "every record arrives exactly once"),
        ("sync.topic.acls", "becomes mirror.sync-acls = 'readers'"),
        ("isolation.level", "aborted transactions are left out"),
    ] {
        assert!(said(out, key).contains(expected), "{key}: {}", said(out, key));
    }
}

#[test]
fn no_secret_gets_out() {
    for flow in read(TWO_LINKS).unwrap() {
        let text = format!("{} {flow:?}", flow.file());
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("${file:/etc/mm2.properties:east.sasl.jaas.config}"), "{text}");
    }
}

#[test]
fn clusters_choose_the_flows_into_them() {
    let into = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let flows = flows(&file(TWO_LINKS), &names, &Made).map_err(|error| error.0)?;
        Ok::<_, String>(flows.into_iter().map(|flow| flow.link).collect::<Vec<_>>())
    };
    assert_eq!(into(&["east"]).unwrap(), ["west-east"]);
    assert_eq!(into(&["east", "west"]).unwrap(), ["east-west", "west-east"]);
    assert_eq!(into(&["north"]).unwrap_err(), "--clusters: no flow into north is enabled in mm2.properties");
    assert_eq!(into(&["wets"]).unwrap_err(), "--clusters: `clusters` has no `wets`; did you mean `west`?");
}

#[test]
fn the_flows_own_counts_before_the_clusters_and_that_before_those_of_all() {
    let flow = one("topics=all\nA->B.topics=own\nreplication.factor=3").unwrap();
    assert_eq!((typed(&built(&flow).topics), built(&flow).replication_factor), (vec!["own"], Some(3)));
    assert!(
        said(&flow, "topics").contains("mm2.properties:5: topics is ignored: the flow has its own"),
        "{}",
        said(&flow, "topics")
    );
    let security = |content: &str| {
        let mirror = built(&one(content).unwrap());
        let spoken = |side: &crate::config::Cluster| side.security.tls.is_some();
        (spoken(&mirror.source), spoken(&mirror.target))
    };
    assert_eq!(security("security.protocol=SSL"), (true, true));
    let kerberos = "B.security.protocol=SASL_PLAINTEXT\nB.sasl.kerberos.service.name=kafka\nB.sasl.jaas.config=\
                    com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab=\"/k\" principal=\"m@X\";";
    let sasl = built(&one(kerberos).unwrap()).target.security.sasl.unwrap();
    assert_eq!(sasl.mechanism, crate::config::security::Mechanism::Gssapi);
    assert_eq!(security("security.protocol=SSL\nB.security.protocol=PLAINTEXT"), (true, false));
    assert_eq!(security("A.security.protocol=PLAINTEXT\nA.consumer.security.protocol=SSL"), (true, false));
    assert_eq!(
        security("A.security.protocol=SSL\nA->B.source.cluster.security.protocol=PLAINTEXT"),
        (false, false)
    );
    assert_eq!(
        security("A->B.target.producer.security.protocol=SSL\nB.security.protocol=PLAINTEXT"),
        (false, true)
    );
}

#[test]
fn each_key_that_means_something_becomes_its_setting() {
    let flow = one(
        "sync.topic.configs.enabled=true\nsync.topic.configs.interval.seconds=5\nrefresh.topics.interval.seconds=7\n\
         sync.group.offsets.enabled=TRUE\nsync.group.offsets.interval.seconds=2\ngroups.blacklist=x.*\ntopics.blacklist=y\n\
         A.consumer.isolation.level=read_uncommitted\nA->B.consumer.auto.offset.reset=latest\nA.consumer.fetch.max.wait.ms=90\n\
         A.consumer.client.id=me\nB.producer.client.id=you\nB.producer.request.timeout.ms=9000\n\
         A.consumer.client.rack=eu-1a\n",
    )
    .unwrap();
    let mirror = built(&flow);
    assert_eq!(
        (mirror.topic_configs_interval_ms, mirror.metadata_refresh_ms, mirror.groups_interval_ms),
        (5000, 7000, 2000)
    );
    assert_eq!(typed(&mirror.groups_exclude), ["x.*"]);
    assert_eq!((mirror.exclude[0].is_match("y"), mirror.exclude[0].is_match("t.replica")), (true, false));
    assert_eq!((mirror.isolation, mirror.offsets), (Isolation::ReadUncommitted, Offsets::Append));
    assert_eq!((mirror.from, mirror.fetch_wait_ms, mirror.request_timeout_ms), (StartFrom::Latest, 90, 9000));
    assert_eq!((mirror.client_id.as_str(), mirror.rack.as_deref()), ("me", Some("eu-1a")));
    assert!(
        said(&flow, "B.producer.client.id").contains("the consumer's counts"),
        "{}",
        said(&flow, "B.producer.client.id")
    );
    let own = one("config.properties.exclude=retention.ms").unwrap();
    assert!(
        !built(&own).sync_topic_configs
            && said(&own, "config.properties").contains("does not keep them in step")
    );
    assert!(!built(&one("sync.topic.configs.enabled=false").unwrap()).sync_topic_configs);
    let acls = |content: &str| {
        let mirror = built(&one(content).unwrap());
        (mirror.sync_acls, mirror.topic_configs_interval_ms)
    };
    assert_eq!(
        acls("sync.topic.acls.enabled=false\nsync.topic.acls.interval.seconds=9"),
        (SyncAcls::None, 60_000)
    );
    assert_eq!(acls("sync.topic.acls.interval.seconds=9"), (SyncAcls::Readers, 9000));
    assert_eq!(
        acls("sync.topic.acls.interval.seconds=9\nsync.topic.configs.interval.seconds=8"),
        (SyncAcls::Readers, 8000)
    );
}

#[test]
fn checkpoints_and_heartbeats_are_written_unless_told_otherwise() {
    let flow =
        one("emit.checkpoints.interval.seconds=7\ngroups=billing\nemit.heartbeats.interval.seconds=3\n\
                    checkpoints.topic.replication.factor=2\nheartbeats.topic.replication.factor=-1\n")
        .unwrap();
    let mirror = built(&flow);
    let topics = &mirror.client_topics;
    assert!(mirror.groups.is_empty(), "sync.group.offsets.enabled is not set");
    assert_eq!((typed(&topics.checkpoints), topics.checkpoints_interval_ms), (vec!["billing"], 7000));
    assert_eq!((topics.heartbeats, topics.heartbeats_interval_ms), (Heartbeats::ALL, 3000));
    assert_eq!(
        (topics.checkpoints_replication_factor, topics.heartbeats_replication_factor),
        (Some(2), None)
    );
    for (key, expected) in [
        ("groups", "becomes mirror.checkpoints = ['billing']"),
        ("emit.checkpoints.interval.seconds", "becomes mirror.checkpoints-interval-ms = 7000"),
        ("emit.heartbeats.enabled", "becomes mirror.heartbeats = ['target', 'source', 'relay']"),
        ("heartbeats.topic.replication.factor", "not the cluster's default"),
    ] {
        assert!(said(&flow, key).contains(expected), "{key}: {}", said(&flow, key));
    }

    let off = one("emit.checkpoints.enabled=false\nemit.heartbeats.enabled=false\nheartbeats.replication.enabled=false\n\
                   checkpoints.topic.replication.factor=2\nheartbeats.topic.replication.factor=2\n\
                   emit.checkpoints.interval.seconds=7\ngroups=billing\n")
        .unwrap();
    assert!(!built(&off).client_topics.are_written());
    for key in [
        "emit.checkpoints.interval.seconds",
        "checkpoints.topic",
        "heartbeats.topic",
        "emit.heartbeats",
        "groups",
    ] {
        assert!(said(&off, key).contains("is ignored"), "{key}: {}", said(&off, key));
    }
}

#[test]
fn heartbeats_go_where_mirror_maker_sends_them() {
    let of = |content: &str, into: &[&str]| {
        let content = format!(
            "clusters=A,B\nA.bootstrap.servers=a:1\nB.bootstrap.servers=b:2\nA->B.enabled=true\n{content}"
        );
        let into: Vec<String> = into.iter().map(|name| (*name).to_owned()).collect();
        let flows = flows(&file(&content), &into, &Made).unwrap();
        let heartbeats = built(&flows[0]).client_topics.heartbeats;
        (heartbeats.target, heartbeats.source, heartbeats.relay)
    };
    assert_eq!(of("", &[]), (true, true, true));
    assert_eq!(of("", &["A", "B"]), (true, true, true));
    assert_eq!(of("", &["B"]), (true, false, true), "nothing runs into A");
    assert_eq!(of("B->A.enabled=true\n", &[]), (true, false, true), "the other link does it");
    assert_eq!(of("B->A.emit.heartbeats.enabled=false\n", &[]), (true, false, true));
    assert_eq!(of("A->B.emit.heartbeats.enabled=false\n", &[]), (false, true, true));
    assert_eq!(of("emit.heartbeats.enabled=false\n", &[]), (false, false, true));
    assert_eq!(of("heartbeats.replication.enabled=false\n", &[]), (true, true, false));
}

#[test]
fn mirror_makers_topics_are_called_as_its_policies_call_them() {
    let topics = |content: &str| built(&one(content).unwrap()).client_topics;
    let policy = "replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n";
    for policy in ["", policy] {
        let plain = topics(policy);
        assert_eq!(plain.checkpoints_topic, "A.checkpoints.internal");
        assert_eq!(plain.relayed("heartbeats").as_deref(), Some("A.heartbeats"));
        let other = topics(&format!("{policy}replication.policy.separator=_\nsource.cluster.alias=x\n"));
        assert_eq!(other.checkpoints_topic, "x_checkpoints_internal");
        assert_eq!(other.relayed("C_heartbeats").as_deref(), Some("x_C_heartbeats"));
        let mixed =
            "replication.policy.separator=_\nreplication.policy.internal.topic.separator.enabled=false\n";
        let mixed = topics(&format!("{policy}{mixed}"));
        assert_eq!(mixed.checkpoints_topic, "A.checkpoints.internal");
        assert_eq!(mixed.relayed("heartbeats").as_deref(), Some("A_heartbeats"));
    }
    let renamed = topics("default.replication.policy.heartbeats.topic.name=beats\n");
    assert_eq!(renamed.relayed("beats").as_deref(), Some("A.beats"));
}

#[test]
fn identity_keeps_names_and_both_ways_are_both_directions() {
    let identity = "replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n";
    let alone = built(&one(identity).unwrap());
    assert_eq!((renamed(&alone, "t"), alone.both_directions.len()), ("t".into(), 0));
    assert!(!alone.exclude.iter().any(|pattern| pattern.is_match("B.orders")));
    let both = one(&format!("{identity}B->A.enabled=true\nB->A.topics=orders\n")).unwrap();
    assert_eq!(
        (typed(&built(&both).both_directions), renamed(&built(&both), "t")),
        (vec!["orders"], "t".into())
    );
    assert!(said(&both, "B->A").contains("mirror.both-directions"), "{}", said(&both, "B->A"));
    let other = "source.cluster.alias=x\n";
    assert_eq!(renamed(&built(&one(other).unwrap()), "t"), "x.t");
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do() {
    for (content, expected) in [
        (
            "topic.filter.class=com.example.Mine",
            "mm2.properties:5: topic.filter.class: Twinlog runs no Java classes; say with topics",
        ),
        ("replication.policy.class=com.example.Mine", "a Java class cannot name Twinlog's topics"),
        ("transforms=a", "say with [[transform]]"),
        (
            "B.value.converter=org.apache.kafka.connect.json.JsonConverter",
            "Twinlog runs no Java classes; leave it out",
        ),
        (
            "A.sasl.client.callback.handler.class=x",
            "mm2.properties:5: A.sasl.client.callback.handler.class: a Java class",
        ),
        ("A->B.topics=(?!x).*", "A->B.topics: `(?!x).*` is not a regular expression"),
        ("A->B.topics=(?!x).*", "name what is not meant in the list of what is left out"),
        (
            "replication.factor=many",
            "mm2.properties:5: replication.factor: `many` is not a replication factor",
        ),
        ("A->B.sync.topic.configs.enabled=yes", "expected true or false, found `yes`"),
        ("refresh.topics.interval.seconds=0", "`0` is not a number of seconds above 0"),
        ("A.consumer.auto.offset.reset=newest", "`newest` is none of earliest"),
        ("A->B.topics=${env:NONE}", "mm2.properties:5: A->B.topics: the environment has no variable NONE"),
    ] {
        let error = one(content).unwrap_err();
        assert!(error.contains(expected), "{content}: {error}");
    }
    assert_eq!(
        read("clusters=A,B\nA->B.enabled=true\nA.bootstrap.servers=a:1").unwrap_err(),
        "mm2.properties: B.bootstrap.servers is not set"
    );
    assert!(read("clusters=A,B").unwrap_err().contains("no flow is enabled; set A->B.enabled = true"));
    assert!(read("A.x=y").unwrap_err().starts_with("mm2.properties: there is no `clusters`"));
}

/// No key of the tables ends anywhere but in a setting, a line or an error.
#[test]
fn every_key_is_told_of() {
    for key in keys::FLOW.iter().chain(keys::WORKER) {
        let name = match key.name.strip_suffix('.') {
            Some(name) => format!("{name}.x"),
            None => key.name.to_owned(),
        };
        if matches!(key.name, "clusters" | "config.providers" | "config.providers.") {
            continue;
        }
        let value = match key.name {
            "enabled" => "true",
            "replication.policy.class" => keys::DEFAULT_POLICY,
            "replication.factor" => "3",
            "source.cluster.alias" | "target.cluster.alias" => "x",
            name if name.ends_with(".enabled") => "true",
            name if name.ends_with(".seconds") => "9",
            name if name.ends_with(".factor") => "3",
            name if name.ends_with(".topic.name") => "beats",
            _ => "",
        };
        match one(&format!("{name}={value}")) {
            Ok(flow) => assert!(!said(&flow, &name).is_empty(), "{name} is not told of"),
            Err(error) => assert!(error.contains(&format!("mm2.properties:5: {name}: ")), "{name}: {error}"),
        }
    }
}

/// All that `configNames()` of Kafka 4.3.1's clients, Connect's workers and MirrorMaker's connectors list.
#[test]
fn every_key_of_kafka_is_known() {
    let all = include_str!("kafka-4.3.1.keys");
    assert!(all.lines().count() > 300);
    for (of, key) in all.lines().filter_map(|line| line.split_once(' ')) {
        let is_known = match of {
            "client" => clients::find(key).is_some(),
            "flow" => keys::find(keys::FLOW, key).is_some() || clients::find(key).is_some(),
            _ => {
                keys::find(keys::WORKER, key).or(keys::find(keys::FLOW, key)).is_some()
                    || clients::find(key).is_some()
            }
        };
        assert!(is_known, "{of} {key}");
    }
}

fn mm1(
    consumer: &str,
    producer: &str,
    include: &str,
    flags: &[(&'static str, &str)],
) -> Result<Flow, String> {
    let file = |name: &str, content: &str| File {
        name: name.into(),
        path: format!("/{name}"),
        content: content.into(),
    };
    let flags = flags.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect();
    let given = MirrorMaker1 {
        consumer: file("c", consumer),
        producer: file("p", producer),
        include: Some(include.into()),
        flags,
    };
    given.flow(&Made).map_err(|error| error.0)
}

#[test]
fn mirror_maker_1_is_one_link() {
    let consumer = "bootstrap.servers=a:1\ngroup.id=mirror to west\nauto.offset.reset=earliest\nsecurity.protocol=SSL\n\
                    ssl.truststore.location=/ca.pem\nssl.truststore.password=hunter2\nssl.truststore.type=PKCS12\n\
                    fetch.max.bytes=4096\n";
    let flags = [("--num.streams", "4"), ("--abort.on.send.failure", "false")];
    let flow =
        mm1(consumer, "metadata.broker.list=b:2\nlinger.ms=5", "\"orders,clicks|x.*, y\"", &flags).unwrap();
    let mirror = built(&flow);
    assert_eq!(
        (mirror.link.as_str(), typed(&mirror.topics)),
        ("mirror-to-west", vec!["orders", "clicks|x.*", "y"])
    );
    assert_eq!(
        (mirror.from, mirror.fetch_bytes_max, renamed(&mirror, "t")),
        (StartFrom::Earliest, 4096, "t".into())
    );
    assert_eq!((flow.group.as_deref(), mirror.target.bootstrap[0].port), (Some("mirror to west"), 2));
    assert!(mirror.source.security.tls.is_some());
    assert!(flow.file().contains("${file:/c:ssl.truststore.password}") && !flow.file().contains("hunter2"));
    for (key, expected) in [
        ("partitions", "records keep their partition"),
        ("--num.streams", "`--cores`"),
        ("linger.ms", "p:2: linger.ms is ignored"),
        ("group.id", "`twinlog take-over` with the same flags"),
    ] {
        assert!(said(&flow, key).contains(expected), "{key}: {}", said(&flow, key));
    }
    let bare = mm1("bootstrap.servers=a:1", "bootstrap.servers=b:2", "x", &[]).unwrap();
    assert_eq!((built(&bare).from, built(&bare).link.as_str()), (StartFrom::Latest, "mirror"));
}

#[test]
fn mirror_maker_1s_mistakes_are_named() {
    let (a, b) = ("bootstrap.servers=a:1", "bootstrap.servers=b:2");
    for (result, expected) in [
        (mm1(a, b, "x", &[("--message.handler", "com.Mine")]), "--message.handler: it is a Java class"),
        (mm1("zookeeper.connect=z:1", b, "x", &[]), "c:1: zookeeper.connect: Twinlog speaks to brokers"),
        (mm1(a, "acks=all", "x", &[]), "p: bootstrap.servers is not set"),
        (
            mm1(a, "bootstrap.severs=b:2", "x", &[]),
            "p:1: bootstrap.severs: there is no setting `bootstrap.severs`; did you mean `bootstrap.servers`?",
        ),
        (mm1(a, b, "(?=x)", &[]), "--include: `(?=x)` is not a regular expression"),
    ] {
        let error = result.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
