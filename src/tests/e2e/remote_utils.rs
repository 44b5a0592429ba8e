//! MirrorMaker 2's own client library, `RemoteClusterUtils`, finds in what Twinlog writes what it needs.

use crate::await_until;
use crate::mirror::Twinlog;
use crate::pair::{Pair, run_cases};
use std::time::Duration;

const AUTHORIZER: [&str; 2] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
];
const IDENTITY: &str = "replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy";
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn clients_of_mirror_maker_find_their_way() {
    let mut pair = Pair::start((1, 1), &[], &AUTHORIZER);
    run_cases(
        &mut pair,
        &[
            ("prefixes, appended", prefixes_appended),
            ("names stay, identical offsets", names_stay),
            ("what may not be written is told once", what_may_not_be_written_is_told_once),
        ],
    );
}

/// A file of MirrorMaker 2 for one topic, with these lines besides.
fn file(pair: &Pair, topic: &str, more: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::with_suffix(".properties").expect("a temporary file");
    let content = format!(
        "clusters = east, west\neast.bootstrap.servers = {}\nwest.bootstrap.servers = {}\neast->west.enabled = true\n\
         topics = {topic}\ngroups = readers-of-{topic}\nemit.checkpoints.interval.seconds = 1\n\
         checkpoints.topic.replication.factor = 1\nrefresh.topics.interval.seconds = 1\n{more}\n",
        pair.source.bootstrap, pair.target.bootstrap
    );
    std::io::Write::write_all(&mut file, content.as_bytes()).expect("written");
    let path = file.path().display().to_string();
    (file, path)
}

/// A group reads some of the topic on the source; from there on it finds the rest on the target, once and again. `settings` are
/// those of MirrorMaker's client, and `found` is what it is to find.
fn goes_on(pair: &mut Pair, topic: &str, mirror: &Twinlog, settings: &str, found: &[&str]) {
    pair.on_source("create", &format!("{topic} 2 1"));
    pair.on_source("transact", &format!("{topic} 1 30"));
    let all = digests(&pair.on_source("list", topic));
    let mut read = digests(&pair.on_source("consume", &format!("{topic} readers-of-{topic} 30")));
    mirror.clone().until_caught_up().run().succeeded();
    let translated = format!("east readers-of-{topic} {settings}");
    let whole = |pair: &mut Pair, read: &[String]| {
        let mut whole = [read, digests(&pair.on_target("translated", &translated)).as_slice()].concat();
        whole.sort_unstable();
        whole
    };
    assert_eq!(whole(pair, &read), all, "each record once");
    assert!(read.len() < all.len(), "the group was to stop in the middle");

    let mut running = mirror.start();
    read.extend(digests(&pair.on_source("consume", &format!("{topic} readers-of-{topic} 20"))));
    await_until("the checkpoint follows the group", PATIENCE, || whole(pair, &read) == all);
    await_until("the client finds the clusters", PATIENCE, || {
        pair.on_target("remote", &format!("east {settings}")) == found
    });
    running.interrupt();
    running.end().ended_with(130, &[]);
}

fn prefixes_appended(pair: &mut Pair) {
    let (_kept, path) = file(pair, "orders", "");
    let mirror = Twinlog::new(&["mirror", &path, "--offsets", "append", "--zombie-bound-ms", "2000"]);
    let found = [
        "upstream east",
        "checkpoints east.checkpoints.internal",
        "heartbeats east.heartbeats,heartbeats",
        "hops 1",
    ];
    goes_on(pair, "orders", &mirror, "", &found);
    assert_eq!(pair.on_target("heartbeats", "heartbeats"), ["east west"]);
    assert_eq!(pair.on_source("heartbeats", "heartbeats"), ["west east"]);
    await_until("the source's heartbeats have come over", PATIENCE, || {
        pair.on_target("heartbeats", "east.heartbeats") == ["west east"]
    });
    for topic in ["heartbeats", "east.heartbeats", "east.checkpoints.internal"] {
        assert_eq!(pair.on_target("configs", topic), ["cleanup.policy=compact"], "{topic}");
        assert_eq!(pair.on_target("ends", topic).len(), 1, "partitions of {topic}");
    }
    let topics = pair.on_target("topics", "");
    let extra = topics.iter().find(|topic| topic.starts_with("east.") && topic.contains("east.east"));
    assert_eq!(extra, None, "what is MirrorMaker's is not mirrored like records");
}

fn names_stay(pair: &mut Pair) {
    let separator = "replication.policy.separator=-";
    let (_kept, path) = file(pair, "plain", &format!("{IDENTITY}\n{separator}"));
    let mirror = Twinlog::new(&["mirror", &path, "--link", "plain", "--zombie-bound-ms", "2000"]);
    let found = [
        "upstream east",
        "checkpoints east-checkpoints-internal",
        "heartbeats east-heartbeats,heartbeats",
        "hops 1",
    ];
    goes_on(pair, "plain", &mirror, &format!("{IDENTITY} {separator} source.cluster.alias=east"), &found);
    let positions = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line.rsplit_once(' ').map_or(line.clone(), |(at, _)| at.to_owned())).collect()
    };
    let here = pair.on_source("list", "plain");
    assert_eq!(positions(here), positions(pair.on_target("list", "plain")), "offsets are identical");
}

/// A right that is missing on the target does not keep records from flowing.
fn what_may_not_be_written_is_told_once(pair: &mut Pair) {
    pair.on_source("create", "denied 1 1");
    pair.on_source("produce", "denied 1 100000");
    pair.on_source("commit", "denied readers-of-denied 0 3");
    pair.on_target("create", "no.checkpoints.internal 1 1 cleanup.policy=compact");
    pair.on_target("deny", "no.checkpoints.internal write");
    let flags = ["--checkpoints", "readers-.*", "--source-alias", "no", "--target-alias", "west"];
    let mirror = pair.twinlog(&["mirror", "--topics", "denied", "--link", "denied"]).with(&flags);
    let mut running = mirror.with(&["--checkpoints-interval-ms", "100"]).start();
    let words = "writing checkpoints of consumer groups to topic no.checkpoints.internal does not go well";
    await_until("it is told", PATIENCE, || running.text().contains(words));
    pair.on_source("produce", "denied 2 100000");
    await_until("records flow all the same", PATIENCE, || {
        pair.on_source("ends", "denied") == pair.on_target("ends", "denied")
    });
    running.interrupt();
    let ended =
        running.end().ended_with(130, &["that takes WRITE on it", "trying again; the mirror goes on"]);
    assert_eq!(ended.text.matches(words).count(), 1, "{}", ended.text);
}

/// The records of a list, whatever their order over partitions.
fn digests(lines: &[String]) -> Vec<String> {
    let mut digests: Vec<String> =
        lines.iter().filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect();
    digests.sort_unstable();
    digests
}
