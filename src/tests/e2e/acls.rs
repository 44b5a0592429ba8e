//! Access rules are kept in step.

use crate::await_until;
use crate::kafka::script;
use crate::pair::Pair;
use std::time::Duration;

const AUTHORIZER: [&str; 2] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
];

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn access_rules_are_kept_in_step() {
    let mut pair = Pair::start((1, 1), &AUTHORIZER, &AUTHORIZER);
    pair.on_source("create", "orders 1 1");
    pair.on_source("create", "other 1 1");
    pair.on_source("produce", "orders 1 100000");
    let source = pair.source.name().to_owned();
    let rule = |words: &[&str]| {
        let mut all = vec!["tool", &source, "acls"];
        all.extend(words);
        script(&all).unwrap_or_else(|error| panic!("{error}"));
    };
    rule(&["--add", "--allow-principal", "User:reader", "--operation", "Read", "--topic", "orders"]);
    rule(&["--add", "--allow-principal", "User:writer", "--operation", "Write", "--topic", "orders"]);
    rule(&["--add", "--deny-principal", "User:mallory", "--operation", "All", "--topic", "orders"]);
    rule(&["--add", "--allow-principal", "User:reader", "--operation", "Read", "--topic", "other"]);
    let mut file = tempfile::NamedTempFile::with_suffix(".toml").expect("a temporary file");
    std::io::Write::write_all(&mut file, b"[principals]\n'User:reader' = 'User:lector'\n").expect("written");
    let path = file.path().display().to_string();
    let flags = ["--topics", "orders", "--prefix", "east.", "--config", &path, "--sync-acls"];
    let command = |pair: &Pair, words: &[&str], which: &str| pair.twinlog(words).with(&flags).with(&[which]);

    let would =
        "would be added: User:lector may READ topic east.orders; User:mallory may not ALL topic east.orders";
    command(&pair, &["plan"], "readers").run().ended_with(0, &[would]);
    assert_eq!(rules(&pair), "", "a plan changes nothing");
    let mirror = command(&pair, &["mirror", "--topic-configs-interval-ms", "500"], "readers");
    let mut running = mirror.start();
    await_until("the rules are there", Duration::from_secs(30), || rules(&pair).contains("User:mallory"));
    let found = rules(&pair);
    assert!(
        found.contains("User:lector") && !found.contains("writer") && !found.contains("other"),
        "{found}"
    );
    rule(&[
        "--remove",
        "--force",
        "--allow-principal",
        "User:reader",
        "--operation",
        "Read",
        "--topic",
        "orders",
    ]);
    await_until("what was taken back is gone", Duration::from_secs(30), || !rules(&pair).contains("lector"));
    running.interrupt();
    running.end().ended_with(130, &["new access rule on the target", "access rule taken back on the target"]);
    assert!(rules(&pair).contains("User:mallory"));

    let all = command(&pair, &["mirror", "--topic-configs-interval-ms", "500"], "all");
    let _running = all.start();
    await_until("who may write is there", Duration::from_secs(30), || rules(&pair).contains("User:writer"));
}

/// What `kafka-acls --list` prints of the target.
fn rules(pair: &Pair) -> String {
    script(&["tool", pair.target.name(), "acls", "--list"]).unwrap_or_else(|error| panic!("{error}"))
}
