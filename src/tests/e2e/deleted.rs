//! A topic that is deleted on the source is kept, flagged or deleted on the target, as it is wished.

use crate::await_until;
use crate::kafka::script;
use crate::pair::Pair;
use crate::synthetic::{base_port, get};
use std::time::Duration;

/// A topic counts as deleted after half a minute; and where a look at the clusters takes long, the next one is not taken soon.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn topics_that_are_deleted_on_the_source() {
    let open = [
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
    ];
    let mut pair = Pair::start((1, 1), &open, &[]);
    for topic in ["gone", "hidden", "over", "stays"] {
        pair.on_source("create", &format!("{topic} 2 1"));
        pair.on_source("produce", &format!("{topic} 1 100000"));
    }
    let flags = ["--topics", ".*", "--metadata-refresh-ms", "1000"];
    let mirror = pair.twinlog(&["mirror"]).with(&flags);
    mirror.clone().until_caught_up().run().succeeded();
    let failover = pair.twinlog(&["failover", "--topics", "over"]);
    failover.run().succeeded();

    // What is deleted, what this user may not see any more, what is failed over, and what only other links know of.
    pair.on_source("delete", "gone");
    pair.on_source("delete", "over");
    let deny =
        ["--add", "--deny-principal", "User:ANONYMOUS", "--operation", "Describe", "--topic", "hidden"];
    script(&[&["tool", pair.source.name(), "acls"], &deny[..]].concat())
        .unwrap_or_else(|error| panic!("{error}"));
    pair.on_target("create", "other 1 1");
    let plan = pair.twinlog(&["plan", "--deleted-topics", "delete"]).with(&flags).run();
    assert!(plan.text.contains("no topic gone any more: it would be deleted on the target"), "{}", plan.text);
    assert!(!plan.text.contains("no topic over any more"), "{}", plan.text);
    let mut running = mirror.clone().with(&["--deleted-topics", "delete"]).start();
    await_until("what was deleted is deleted", PATIENCE, || {
        running.text().contains("is now on the target, too")
    });
    await_until("what is hidden is kept", PATIENCE, || {
        running.text().contains("or this user may not see it")
    });
    let left = pair.on_target("topics", "");
    let has = |topic: &str| left.iter().any(|line| line.split(' ').next() == Some(topic));
    assert!(!has("gone") && ["hidden", "over", "stays", "other"].iter().all(|topic| has(topic)), "{left:?}");

    // The name may be used again.
    pair.on_source("create", "gone 1 1");
    pair.on_source("produce", "gone 2 100000");
    let end = |lines: Vec<String>| -> i64 {
        lines.iter().filter_map(|line| line.split(' ').next_back()?.parse::<i64>().ok()).sum()
    };
    let written = end(pair.on_source("ends", "gone"));
    assert!(written > 0);
    await_until("it is mirrored anew", PATIENCE, || pair.target_end("gone") == written);
    running.interrupt();
    running.end().ended_with(130, &[]);
    pair.same("gone");

    let port = (base_port() + 340).to_string();
    let flagging = mirror.with(&["--deleted-topics", "flag", "--listen", &port]).start();
    await_until("all is well", PATIENCE, || {
        get(&port, "/health").is_ok_and(|health| health.contains("200 OK"))
    });
    pair.on_source("delete", "stays");
    await_until("somebody is to see to it", PATIENCE, || {
        get(&port, "/health")
            .is_ok_and(|health| health.contains("503") && health.contains("delete it on the target"))
    });
    pair.on_target("delete", "stays");
    await_until("somebody has", PATIENCE, || {
        get(&port, "/health").is_ok_and(|health| health.contains("200 OK"))
    });
    flagging.kill();
}
