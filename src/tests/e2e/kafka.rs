//! A real cluster for the length of a test.

use crate::number;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The version of Kafka that both sides have unless told.
pub const NEWEST: &str = "4.3.1";

/// Stopped and deleted when it goes out of scope.
pub struct Cluster {
    name: String,
    pub bootstrap: String,
    /// Of Kafka: "4.3.1".
    pub version: String,
}

/// Where the source's and the target's brokers listen.
#[derive(Clone, Copy)]
pub enum Place {
    Source,
    Target,
}

impl Place {
    /// What the cluster is called: another name for each run that has ports of its own.
    pub fn name(self) -> String {
        let side = match self {
            Self::Source => "source",
            Self::Target => "target",
        };
        format!("e2e-{}-{side}", base_port())
    }

    /// The first of its ports.
    pub fn ports(self) -> u64 {
        match self {
            Self::Source => base_port(),
            Self::Target => base_port() + 100,
        }
    }
}

/// Clusters are within 300 ports from here, and their controllers 1,000 further.
pub fn base_port() -> u64 {
    number("TWINLOG_E2E_PORT", 21_000)
}

impl Cluster {
    pub fn start(place: Place, brokers: usize, settings: &[&str]) -> Self {
        Self::of(&version(place), place, brokers, settings)
    }

    /// A cluster of this version of Kafka.
    pub fn of(version: &str, place: Place, brokers: usize, settings: &[&str]) -> Self {
        let name = place.name();
        // Left over from a run that was interrupted.
        let _ = script(&["down", &name]);
        let port = free_ports(place.ports(), brokers);
        let (port, brokers) = (port.to_string(), brokers.to_string());
        let mut words = vec!["up", &name, "--port", &port, "--brokers", &brokers, "--version", version];
        words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let bootstrap = script(&words).unwrap_or_else(|error| panic!("{error}")).trim().to_owned();
        Self { name, bootstrap, version: version.to_owned() }
    }

    /// Whether consumers may join with the group protocol of KIP-848; clusters older than Kafka 4 have it switched off.
    pub fn has_consumer_protocol(&self) -> bool {
        !["0.", "1.", "2.", "3."].iter().any(|old| self.version.starts_with(old))
    }

    /// As `scripts/kafka` knows it.
    /// The file with what a broker has of a partition, if that is not much.
    pub fn log_file(&self, broker: usize, topic: &str, partition: i32) -> PathBuf {
        // As for scripts/kafka, what is empty is not said.
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = variable("TWINLOG_CACHE").unwrap_or_else(|| {
            let caches = variable("XDG_CACHE_HOME");
            let home = || variable("HOME").expect("HOME").join(".cache");
            caches.unwrap_or_else(home).join("twinlog")
        });
        let broker = cache.join("clusters").join(&self.name).join(broker.to_string());
        broker.join("data").join(format!("{topic}-{partition}")).join("00000000000000000000.log")
    }

    pub fn name(&self) -> &str {
        &self.name
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

    /// The only broker is stopped and started again as this version of Kafka, on the same data.
    pub fn upgrade(&mut self, version: &str) {
        self.stop(0);
        self.version = version.to_owned();
        script(&["version", &self.name, version]).unwrap_or_else(|error| panic!("{error}"));
        self.restart(0);
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

/// The version of Kafka on this side: TWINLOG_E2E_VERSIONS is that of both, or SOURCE:TARGET.
fn version(place: Place) -> String {
    let versions = std::env::var("TWINLOG_E2E_VERSIONS").unwrap_or_else(|_| NEWEST.to_owned());
    let (source, target) = versions.split_once(':').unwrap_or((&versions, &versions));
    match place {
        Place::Source => source.to_owned(),
        Place::Target => target.to_owned(),
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = script(&["down", &self.name]);
    }
}

/// The first of so many ports in a row, from `base` on, that nobody listens on; nor on those of the controllers.
fn free_ports(base: u64, brokers: usize) -> u64 {
    let is_free = |port: u64| TcpListener::bind(("127.0.0.1", port as u16)).is_ok();
    let are_free =
        |port: &u64| (*port..port + brokers as u64).all(|port| is_free(port) && is_free(port + 1_000));
    let mut places = (base..base + 100).step_by(10);
    places.find(are_free).unwrap_or_else(|| panic!("no free ports between {base} and {}", base + 100))
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
