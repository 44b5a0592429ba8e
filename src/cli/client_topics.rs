//! Flags about what is written for MirrorMaker 2's client library.

use super::{Patterns, some_of};
use clap::Args;
use twinlog::config::{Draft, Heartbeats, text};

const HEADING: &str = "For MirrorMaker 2's clients (RemoteClusterUtils)";

#[derive(Clone, Debug, Args)]
pub struct ClientTopicArgs {
    /// Consumer groups of the source whose positions are written to the target as MirrorMaker 2's checkpoints, for
    /// RemoteClusterUtils.translateOffsets; the groups themselves stay as they are [default: none]
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = HEADING)]
    checkpoints: Vec<Patterns>,

    /// Groups that have no checkpoints, though --checkpoints matches them
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = HEADING)]
    checkpoints_exclude: Vec<Patterns>,

    /// MirrorMaker 2's heartbeats: none, all, or some of target (into its topic `heartbeats`), source (into the source's) and
    /// relay (what the source's topics of heartbeats get goes to ALIAS.heartbeats on the target, which is where
    /// RemoteClusterUtils.upstreamClusters looks) [default: none]
    #[arg(long, value_name = "WHICH[,…]", value_parser = text::heartbeats, help_heading = HEADING)]
    heartbeats: Option<Heartbeats>,

    /// What the clients call the source, and MirrorMaker's metrics; the topic of checkpoints is <ALIAS>.checkpoints.internal
    #[arg(long, value_name = "ALIAS", value_parser = text::alias, help_heading = HEADING)]
    source_alias: Option<String>,

    /// What the clients call the target
    #[arg(long, value_name = "ALIAS", value_parser = text::alias, help_heading = HEADING)]
    target_alias: Option<String>,

    /// What stands between alias and name, as replication.policy.separator [default: .]
    #[arg(long, value_name = "TEXT", value_parser = text::prefix, help_heading = HEADING)]
    alias_separator: Option<String>,

    /// The topic of checkpoints [default: <ALIAS>.checkpoints.internal]
    #[arg(long, value_name = "TOPIC", value_parser = text::topic_name, help_heading = HEADING)]
    checkpoints_topic: Option<String>,

    /// How often the groups' positions are looked at; what moved is written, ms [default: 5000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = HEADING)]
    checkpoints_interval_ms: Option<u64>,

    /// Replication factor of the topic of checkpoints, if it is created [default: 3, at most the target's brokers]
    #[arg(long, value_name = "N", value_parser = text::replication_factor, help_heading = HEADING)]
    checkpoints_replication_factor: Option<i16>,

    /// The topic of heartbeats on either cluster [default: heartbeats]
    #[arg(long, value_name = "TOPIC", value_parser = text::topic_name, help_heading = HEADING)]
    heartbeats_topic: Option<String>,

    /// How often heartbeats are sent, ms [default: 1000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = HEADING)]
    heartbeats_interval_ms: Option<u64>,

    /// Replication factor of topics of heartbeats that are created [default: 3, at most the cluster's brokers]
    #[arg(long, value_name = "N", value_parser = text::replication_factor, help_heading = HEADING)]
    heartbeats_replication_factor: Option<i16>,
}

impl ClientTopicArgs {
    pub fn draft(self) -> Draft {
        Draft {
            checkpoints: some_of(self.checkpoints),
            checkpoints_exclude: some_of(self.checkpoints_exclude),
            heartbeats: self.heartbeats,
            source_alias: self.source_alias,
            target_alias: self.target_alias,
            alias_separator: self.alias_separator,
            checkpoints_topic: self.checkpoints_topic,
            checkpoints_interval_ms: self.checkpoints_interval_ms,
            checkpoints_replication_factor: self.checkpoints_replication_factor,
            heartbeats_topic: self.heartbeats_topic,
            heartbeats_interval_ms: self.heartbeats_interval_ms,
            heartbeats_replication_factor: self.heartbeats_replication_factor,
            ..Draft::default()
        }
    }
}
