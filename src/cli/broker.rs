//! `twinlog broker`.

use clap::Args;
use twinlog::broker::SyntheticCluster;
use twinlog::config::{Address, text};

#[derive(Debug, Args)]
#[command(after_help = BROKER_AFTER_HELP)]
pub struct BrokerArgs {
    /// Port of the first broker on 127.0.0.1; the others follow
    #[arg(long, value_name = "PORT", default_value_t = 9092, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Number of brokers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    brokers: u16,

    /// Topic to begin with, and its number of partitions; may be given again
    #[arg(long, value_name = "NAME[:PARTITIONS]", value_parser = topic)]
    topic: Vec<(String, i32)>,

    /// Memory for all topics together; the oldest batches are dropped, except those of compacted topics
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, default_value = "1GiB")]
    retention_bytes: usize,
}

impl BrokerArgs {
    /// # Errors
    /// The last broker's port would lie above 65535.
    pub fn settings(self) -> Result<SyntheticCluster, String> {
        let last = u32::from(self.port) + u32::from(self.brokers) - 1;
        if last > u32::from(u16::MAX) {
            return Err(format!(
                "{} brokers from port {} on need ports up to {last}",
                self.brokers, self.port
            ));
        }
        let address = |at: u16| Address { host: "127.0.0.1".into(), port: self.port + at };
        let topics = self.topic.into_iter();
        Ok(SyntheticCluster {
            // Mirrors tell clusters apart by their ids.
            cluster_id: format!("synthetic-{}", self.port),
            brokers: (0..self.brokers).map(|at| (i32::from(at) + 1, address(at))).collect(),
            topics: topics
                .map(|(name, partitions)| (name, usize::try_from(partitions).unwrap_or(1)))
                .collect(),
            retention_bytes: self.retention_bytes,
            ..SyntheticCluster::default()
        })
    }
}

const BROKER_AFTER_HELP: &str = "\
Two clusters and a mirror, each in a terminal of its own:
  twinlog broker --port 9092 --topic orders:4
  twinlog broker --port 9192
  twinlog mirror --source localhost:9092 --target localhost:9192 --topics orders";

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.split_once(':').unwrap_or((text, "1"));
    match partitions.parse::<i32>() {
        Ok(partitions) if (1..=10_000).contains(&partitions) && !name.is_empty() => {
            Ok((name.into(), partitions))
        }
        _ => Err(format!("`{text}` is not a topic; expected, for example, orders or orders:4")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read() {
        assert_eq!(topic("orders:4"), Ok(("orders".into(), 4)));
        assert_eq!(topic("orders"), Ok(("orders".into(), 1)));
        assert!(topic("orders:0").is_err() && topic(":1").is_err());
    }
}
