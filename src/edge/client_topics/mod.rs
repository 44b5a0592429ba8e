//! What is written for MirrorMaker 2's client library: heartbeats here, checkpoints by [`groups`](super::groups).
//!
//! Each kind has a thread of its own beside control and shards, and a topic of one partition. What cannot be written is told once
//! and tried again; the mirror goes on meanwhile.

mod heartbeats;
mod repeating;
mod topic;

pub(super) use heartbeats::Heartbeats;
pub(super) use repeating::Repeating;
pub(super) use topic::WrittenTopic;

use crate::config::{Cluster, TopicNames};

/// A cluster with its own names of topics.
pub(super) fn by_its_own_names(cluster: &Cluster) -> Cluster {
    Cluster { names: TopicNames::default(), ..cluster.clone() }
}
