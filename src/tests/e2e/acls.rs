//! Access rules and quotas are kept in step, and users without passwords on the target are listed.

use crate::await_until;
use crate::kafka::script;
use crate::pair::Pair;
use std::time::Duration;

const AUTHORIZER: [&str; 2] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
];

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn access_rules_quotas_and_users_are_kept_in_step() {
    let mut pair = Pair::start((1, 1), &AUTHORIZER, &AUTHORIZER);
    access_rules(&mut pair);
    quotas(&mut pair);
    users(&mut pair);
}

fn access_rules(pair: &mut Pair) {
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
    let file = principals();
    let path = file.path().display().to_string();
    let flags = ["--topics", "orders", "--prefix", "east.", "--config", &path, "--sync-acls"];
    let command = |pair: &Pair, words: &[&str], which: &str| pair.twinlog(words).with(&flags).with(&[which]);

    let would =
        "would be added: User:lector may READ topic east.orders; User:mallory may not ALL topic east.orders";
    command(pair, &["plan"], "readers").run().ended_with(0, &[would]);
    assert_eq!(rules(pair), "", "a plan changes nothing");
    let mirror = command(pair, &["mirror", "--topic-configs-interval-ms", "500"], "readers");
    let mut running = mirror.start();
    await_until("the rules are there", PATIENCE, || rules(pair).contains("User:mallory"));
    let found = rules(pair);
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
    await_until("what was taken back is gone", PATIENCE, || !rules(pair).contains("lector"));
    running.interrupt();
    running.end().ended_with(130, &["new access rule on the target", "access rule taken back on the target"]);
    assert!(rules(pair).contains("User:mallory"));

    let all = command(pair, &["mirror", "--topic-configs-interval-ms", "500"], "all");
    let _running = all.start();
    await_until("who may write is there", PATIENCE, || rules(pair).contains("User:writer"));
}

/// What `kafka-acls --list` prints of the target.
fn rules(pair: &Pair) -> String {
    script(&["tool", pair.target.name(), "acls", "--list"]).unwrap_or_else(|error| panic!("{error}"))
}

/// What only a configuration file can say.
fn principals() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::with_suffix(".toml").expect("a temporary file");
    std::io::Write::write_all(&mut file, b"[principals]\n'User:reader' = 'User:lector'\n").expect("written");
    file
}

fn quotas(pair: &mut Pair) {
    let file = principals();
    let path = file.path().display().to_string();
    pair.on_source("quota", "user=reader producer_byte_rate=1048576 consumer_byte_rate=2097152");
    pair.on_source("quota", "user=,client-id=app request_percentage=50");
    pair.on_source("quota", "client-id= controller_mutation_rate=90.5");
    pair.on_source("quota", "ip=10.0.0.1 connection_creation_rate=10");
    pair.on_target("quota", "user=own producer_byte_rate=77");
    pair.on_target("quota", "user=lector producer_byte_rate=5");
    let before = pair.on_target("quotas", "");
    let flags = ["--topics", "orders", "--prefix", "east.", "--config", &path, "--sync-quotas"];
    let command = |pair: &Pair, words: &[&str]| pair.twinlog(words).with(&flags);
    let would = "quotas on the target would be set: ";
    let changed = "user lector: producer_byte_rate=1048576 (now 5)";
    command(pair, &["plan"])
        .run()
        .ended_with(0, &[would, changed, "user default, client-id app: request_perc"]);
    assert_eq!(pair.on_target("quotas", ""), before, "a plan changes nothing");

    let mut running = command(pair, &["mirror", "--topic-configs-interval-ms", "300"]).start();
    let mut expected = vec![
        "client-id= controller_mutation_rate 90.5",
        "client-id=app,user= request_percentage 50.0",
        "ip=10.0.0.1 connection_creation_rate 10.0",
        "user=lector consumer_byte_rate 2097152.0",
        "user=lector producer_byte_rate 1048576.0",
        "user=own producer_byte_rate 77.0",
    ];
    await_until("the quotas are there", PATIENCE, || pair.on_target("quotas", "") == expected);
    // Wanted no more on the source, and set anew on the target.
    pair.on_source("quota", "user=reader producer_byte_rate=");
    pair.on_source("quota", "ip=10.0.0.1 connection_creation_rate=");
    pair.on_target("quota", "client-id= controller_mutation_rate=1");
    expected.retain(|line| !line.contains("lector producer") && !line.contains("10.0.0.1"));
    await_until("they are the source's again", PATIENCE, || pair.on_target("quotas", "") == expected);
    running.interrupt();
    running.end().ended_with(
        130,
        &[
            "quota changed on the target: user lector: producer_byte_rate=1048576 (it was 5)",
            "new quota on the target: ip 10.0.0.1: connection_creation_rate=10",
            "quota taken back on the target: user lector: producer_byte_rate",
        ],
    );
}

fn users(pair: &mut Pair) {
    let file = principals();
    let path = file.path().display().to_string();
    pair.on_source("scram", "reader SCRAM-SHA-512 8192 secret-1");
    pair.on_source("scram", "both SCRAM-SHA-256 4096 secret-2");
    pair.on_source("scram", "same SCRAM-SHA-512 4096 secret-3");
    pair.on_target("scram", "both SCRAM-SHA-512 4096 secret-4");
    pair.on_target("scram", "same SCRAM-SHA-512 4096 secret-5");
    let flags = ["--topics", "orders", "--prefix", "east.", "--config", &path, "--scram-users"];
    let plan = |pair: &Pair| pair.twinlog(&["plan"]).with(&flags);
    let ended = plan(pair).run().ended_with(
        0,
        &[
            "  both: SCRAM-SHA-256 with 4096 iterations on the source; SCRAM-SHA-512 with 4096 iterations on the target\n",
            "  reader, lector on the target: SCRAM-SHA-512 with 8192 iterations on the source; nothing on the target\n",
        ],
    );
    assert!(!ended.text.contains("same:") && !ended.text.contains("secret-"), "{}", ended.text);
    // The commands as they stand there, but for the password and for how this test starts Kafka's tools.
    let commands: Vec<&str> =
        ended.text.lines().filter_map(|line| line.strip_prefix("    kafka-configs ")).collect();
    assert_eq!(commands.len(), 2, "{}", ended.text);
    let prefix = format!("--bootstrap-server {} ", pair.target.bootstrap);
    for command in commands {
        let words = command.strip_prefix(&prefix).expect("where to type it");
        let words = words.replace("${PASSWORD:?}", "secret-6").replace('"', "");
        let words: Vec<&str> =
            ["tool", pair.target.name(), "configs"].into_iter().chain(words.split(' ')).collect();
        script(&words).unwrap_or_else(|error| panic!("{error}"));
    }
    let ended = plan(pair).with(&["--json"]).run().ended_with(0, &["\"scram_users\":[]"]);
    assert!(!ended.text.contains("secret-"), "{}", ended.text);
}
