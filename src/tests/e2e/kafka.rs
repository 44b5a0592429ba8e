//! A real cluster for the length of a test.

use crate::number;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Stopped and deleted when it goes out of scope.
pub struct Cluster {
    name: String,
    pub bootstrap: String,
}

/// Where the source's and the target's brokers listen.
#[derive(Clone, Copy)]
pub enum Place {
    Source,
    Target,
}

impl Cluster {
    pub fn start(place: Place, brokers: usize, settings: &[&str]) -> Self {
        let base = number("TWINLOG_E2E_PORT", 21_000);
        let (name, port) = match place {
            Place::Source => ("e2e-source", base),
            Place::Target => ("e2e-target", base + 100),
        };
        // Left over from a run that was interrupted.
        let _ = script(&["down", name]);
        let (port, brokers) = (port.to_string(), brokers.to_string());
        let mut words = vec!["up", name, "--port", &port, "--brokers", &brokers];
        words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let bootstrap = script(&words).unwrap_or_else(|error| panic!("{error}")).trim().to_owned();
        Self { name: name.to_owned(), bootstrap }
    }

    /// kill -9.
    pub fn kill(&self, broker: usize) {
        self.script("kill", broker);
    }

    /// Clean shutdown.
    pub fn stop(&self, broker: usize) {
        self.script("stop", broker);
    }

    pub fn restart(&self, broker: usize) {
        self.script("start", broker);
    }

    pub fn is_running(&self, broker: usize) -> bool {
        let listed = script(&["list"]).unwrap_or_else(|error| panic!("{error}"));
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(self.name.as_str()));
        line.is_some_and(|line| line.contains(&format!(" {broker}:up")))
    }

    fn script(&self, command: &str, broker: usize) {
        script(&[command, &self.name, &broker.to_string()]).unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = script(&["down", &self.name]);
    }
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `scripts/kafka`; what it printed, or what it complained about.
pub fn script(words: &[&str]) -> Result<String, String> {
    let output = Command::new(repository().join("scripts/kafka"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("scripts/kafka: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("scripts/kafka {}: {}{text}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
    }
}
