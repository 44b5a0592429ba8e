//! A steady load and a fault every few seconds, with everything compared in the end.

use crate::kafka::repository;
use crate::mirror::binary;
use crate::size;
use std::process::Command;

/// The soak in short: what is a fault there, and what counts as wrong, its own help says.
#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn faults_under_a_steady_load() {
    let seconds = size("TWINLOG_E2E_SOAK_SECONDS", 90, 1_800);
    let minutes = (seconds as f64 / 60.0).to_string();
    // A short one has about as many as fit.
    let every_s = (seconds / 6).min(60).to_string();
    let ran = Command::new(repository().join("scripts/soak"))
        .args(["--minutes", &minutes, "--fault-s", &every_s, "--rate", "1MB/s", "--seed", "7"])
        .env("TWINLOG_BIN", binary())
        .output()
        .expect("python3 runs it");
    let printed = String::from_utf8_lossy(&ran.stdout);
    println!("{printed}");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(printed.contains("the same on both sides") && printed.contains("all is well"), "{printed}");
}
