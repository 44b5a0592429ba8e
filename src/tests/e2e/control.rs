//! A running mirror, changed and watched by Twinlog's own commands.

use crate::await_until;
use crate::mirror::Twinlog;
use crate::synthetic::{base_port, clean_end, get, serve};
use std::time::Duration;

#[test]
#[ignore = "belongs to scripts/test e2e"]
fn a_running_mirror_is_paused_resumed_and_throttled() {
    let (source, from) = serve(base_port(), &[]);
    let (target, to) = serve(base_port() + 10, &[]);
    for topic in ["early", "late"] {
        let load = ["load", "--target", &from, "--create", "--partitions", "2", "--rate", "1000000"];
        let load = Twinlog::new(&load).with(&["--records", "20000", "--topic", topic]);
        load.run().succeeded();
    }
    let token = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(token.path(), "0123456789abcdef\n").expect("a temporary file");
    let token = token.path().display().to_string();
    let port = (base_port() + 20).to_string();
    let place = ["--at", port.as_str(), "--token-file", token.as_str()];
    let mut mirror = Twinlog::mirror(&from, &to, "early|late")
        .with(&["--listen", &port, "--control-token-file", &token, "--pause", "late"])
        .until_caught_up()
        .start();

    let patience = Duration::from_secs(30);
    await_until("nothing but what is paused is left", patience, || {
        mirror.text().contains("ends when they are resumed")
    });
    let status = get(&port, "/status").expect("status");
    assert_eq!(status.matches("\"state\":\"paused\"").count(), 2, "{status}");
    assert!(get(&port, "/health").expect("health").contains("2 partitions are paused"));
    assert!(get(&port, "/ready").expect("ready").contains("200 OK"));
    let top = Twinlog::new(&["top", "--at", &port]).run().succeeded();
    assert!(top.text.contains("late-1") && top.text.contains("2 paused"), "{}", top.text);

    await_until("what piles up on the source is told", patience, || {
        let lanes = get(&port, "/lanes").expect("lanes");
        lanes.contains("\"topic\":\"late\"") && !lanes.contains("\"source_end\":null")
    });
    let change = |arguments: &[&str]| Twinlog::new(&["control"]).with(arguments).with(&place).run();
    change(&["throttle", "--max-rate", "50MB/s"]).ended_with(0, &["50000000"]);
    change(&["resume", "--topics", "late", "--partitions", "1"]).ended_with(0, &["\"matching\":1"]);
    await_until("one partition is mirrored", patience, || {
        get(&port, "/lanes?order=name").expect("lanes").matches("\"lag_records\":0").count() == 3
    });
    assert!(!mirror.has_ended(), "it waits for the other");
    change(&["resume", "--topics", "la.*"]).succeeded();
    mirror.end().ended_with(0, &["resumed over HTTP"]);
    change(&["resume", "--topics", ".*"]).ended_with(1, &["--at is where the mirror listens"]);
    Twinlog::new(&["verify", "--source", &from, "--target", &to, "--topics", "early|late"]).run().succeeded();
    clean_end(source);
    clean_end(target);
}

/// What is wrong changes nothing; what is right is in force without a restart of the process.
#[test]
#[ignore = "belongs to scripts/test e2e"]
fn a_configuration_is_read_again_while_the_mirror_runs() {
    let (source, from) = serve(base_port(), &[]);
    let (target, to) = serve(base_port() + 10, &[]);
    for topic in ["one", "two"] {
        let load = [
            "load",
            "--target",
            &from,
            "--create",
            "--rate",
            "1000000",
            "--records",
            "20000",
            "--topic",
            topic,
        ];
        Twinlog::new(&load).run().succeeded();
    }
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    let write = |mirror: &str| {
        let text =
            format!("[source]\nbootstrap = '{from}'\n[target]\nbootstrap = '{to}'\n[mirror]\n{mirror}\n");
        std::fs::write(file.path(), text).expect("a temporary file");
    };
    let path = file.path().display().to_string();
    let port = (base_port() + 20).to_string();
    write("topics = 'one'");
    let mut mirror = Twinlog::new(&["mirror", "--config", &path, "--listen", &port]).start();
    let patience = Duration::from_secs(30);
    let is_mirrored = |topic: &str| {
        let lanes = get(&port, "/lanes?order=name").unwrap_or_default();
        lanes.contains(&format!("\"topic\":\"{topic}\"")) && lanes.contains("\"lag_records\":0")
    };
    await_until("the first topic is mirrored", patience, || is_mirrored("one"));

    for (wrong, said) in [
        ("topics = 'one'\ntopcis = 'two'", "did you mean `topics`?"),
        ("topics = '('", "`(` is not a regular expression"),
    ] {
        write(wrong);
        mirror.hang_up();
        await_until("it is said what is wrong", patience, || mirror.text().contains(said));
    }
    assert!(!mirror.has_ended() && is_mirrored("one"), "{}", mirror.text());
    write("topics = 'one'");
    mirror.hang_up();
    await_until("nothing is new", patience, || mirror.text().contains("the configuration is as it was"));
    write("topics = ['one', 'two']\nmax-rate = '50MB/s'");
    mirror.hang_up();
    await_until("the second topic is mirrored", patience, || is_mirrored("two"));
    mirror.interrupt();
    mirror.end().ended_with(
        130,
        &["configuration: mirror.topics: one -> one,two", "configuration: mirror.max-rate: 50MB/s, new"],
    );
    Twinlog::new(&["verify", "--source", &from, "--target", &to, "--topics", "one|two"]).run().succeeded();
    clean_end(source);
    clean_end(target);
}
