//! Wrong usage and servers that are no Kafka: an exit code, and a message that says what is wrong.

use crate::mirror::Twinlog;
use std::io::{Read, Write};
use std::net::TcpListener;

/// Nobody listens on these ports.
const NOBODY: &str = "127.0.0.1:9";
const NOBODY_EITHER: &str = "127.0.0.1:10";

fn config_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("a temporary file");
    file
}

fn run_config(text: &str) -> crate::mirror::Ended {
    let file = config_file(text);
    Twinlog::new(&["mirror", "--config", file.path().to_str().expect("UTF-8")]).patience(10).run()
}

#[test]
fn wrong_usage_exits_with_2() {
    Twinlog::new(&["mirror"]).patience(10).run().ended_with(2, &["source"]);
    Twinlog::new(&["mirorr"]).patience(10).run().ended_with(2, &["mirror"]);
    Twinlog::mirror(NOBODY, NOBODY, "x").patience(10).run().ended_with(2, &["same cluster"]);
    Twinlog::mirror(NOBODY, "no-port", "x").patience(10).run().ended_with(2, &["no-port"]);
    Twinlog::mirror(NOBODY, NOBODY_EITHER, "(").patience(10).run().ended_with(2, &["("]);
    Twinlog::mirror(NOBODY, NOBODY_EITHER, "x")
        .with(&["--mover", "teleport"])
        .patience(10)
        .run()
        .ended_with(2, &["teleport"]);
    Twinlog::mirror(NOBODY, NOBODY_EITHER, "x")
        .with(&["--from", "tuesday"])
        .patience(10)
        .run()
        .ended_with(2, &["tuesday"]);
    Twinlog::mirror(NOBODY, NOBODY_EITHER, "x")
        .with(&["--link", "a/b"])
        .patience(10)
        .run()
        .ended_with(2, &["a/b"]);
}

#[test]
fn a_wrong_configuration_names_the_file_the_line_and_the_key() {
    let missing = Twinlog::new(&["mirror", "--config", "no-such-file.toml"]).patience(10).run();
    missing.ended_with(2, &["no-such-file.toml"]);
    let whole = "[source]\nbootstrap = \"127.0.0.1:9\"\n[target]\nbootstrap = \"127.0.0.1:10\"\n";
    // An unknown key is answered with the nearest one.
    run_config(&format!("{whole}[mirror]\ntopcis = \"x\"\n")).ended_with(2, &["topcis", "topics", ":6"]);
    run_config(&format!("{whole}[mirror]\ntopics = true\n")).ended_with(2, &["topics", ":6"]);
    run_config("this is no TOML").ended_with(2, &[".toml"]);
}

#[test]
fn a_broker_that_cannot_be_reached_is_named() {
    Twinlog::mirror(NOBODY, NOBODY_EITHER, "x").until_caught_up().patience(60).run().ended_with(1, &[NOBODY]);
    let nowhere = "no-such-host.invalid:9092";
    Twinlog::mirror(nowhere, NOBODY, "x")
        .until_caught_up()
        .patience(60)
        .run()
        .ended_with(1, &["no-such-host.invalid"]);
}

#[test]
fn what_is_no_kafka_broker_is_told_apart() {
    // TLS answers plaintext with an alert: fatal, unexpected_message.
    against(&[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a], "TLS");
    against(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP");
    // A frame of 2 GiB.
    against(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], "127.0.0.1");
    // A negative size.
    against(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], "127.0.0.1");
    // A frame of the right size, full of noise.
    against(&[0, 0, 0, 8, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4], "127.0.0.1");
    // Closes without a word.
    against(b"", "127.0.0.1");
}

/// Runs a mirror against a server that answers everything with these bytes, and looks for the word.
#[track_caller]
fn against(answer: &'static [u8], word: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    // Ends with the test process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    Twinlog::mirror(&address, NOBODY, "x")
        .until_caught_up()
        .patience(60)
        .run()
        .ended_with(1, &[&address, word]);
}

#[test]
fn too_little_lockable_memory_is_explained() {
    let limited = std::process::Command::new("bash")
        .args(["-c", "ulimit -l 64 2>/dev/null || exit 77; exec \"$@\"", "bash"])
        .arg(crate::mirror::binary())
        .args(["mirror", "--source", NOBODY, "--target", NOBODY_EITHER, "--topics", "x", "--until-caught-up"])
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&limited.stderr).into_owned();
    assert!(!text.contains("panicked at"), "{text}");
    // Either it manages, and complains of the brokers, or it says what it needs.
    assert_eq!(limited.status.code(), Some(1), "{text}");
    assert!(text.contains("memlock") || text.contains(NOBODY), "{text}");
}
