//! What the user meant, validated. How it was typed (flags, TOML, properties) is the business of the files beside this one.

mod changes;
mod client_topics;
mod codec;
mod draft;
mod file;
mod hours;
pub mod mirrormaker;
pub mod names;
mod nearest;
pub mod placeholder;
mod properties;
mod registry;
mod secret;
pub mod security;
pub mod share;
pub mod text;
mod topic_rates;
pub mod transforms;

pub use changes::changes;
pub use client_topics::{ClientTopics, Heartbeats};
pub use codec::Codec;
pub use draft::{ClusterName, ConfigError, Draft, LogFormat};
pub use file::keys;
pub use hours::{RateHours, rate_hours};
pub use names::TopicNames;
pub use nearest::nearest;
pub use properties::Properties;
pub use registry::{Registry, RegistryLogin};
pub use secret::Secret;
pub use security::Security;
pub use share::{Instances, Share};
pub use topic_rates::{TopicRate, rate_of, topic_rates};
pub use transforms::Transform;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `HOST:PORT` of a broker, as typed or as a cluster advertises it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// One cluster: where to find it, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub bootstrap: Vec<Address>,
    pub security: Security,
    /// What it calls the link's topics.
    pub names: TopicNames,
}

impl From<Vec<Address>> for Cluster {
    /// A cluster that is spoken to without TLS and SASL.
    fn from(bootstrap: Vec<Address>) -> Self {
        Self { bootstrap, security: Security::default(), names: TopicNames::default() }
    }
}

/// Where a lane that has never mirrored anything begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    Earliest,
    Latest,
    /// The first record whose timestamp (ms since the Unix epoch) is at or after this.
    TimestampMs(i64),
}

/// Which offsets records are to have on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offsets {
    /// Identical where the target allows it, else append.
    #[default]
    Auto,
    /// The source's offsets; gaps are filled with control records.
    Identical,
    /// One after the other, without gaps.
    Append,
}

/// Which of the source's transactional records are mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions, once they are decided.
    #[default]
    ReadCommitted,
    /// All, at once; on the target those of aborted transactions are records like any other. Only with offsets that append.
    ReadUncommitted,
}

/// What a lane does when the source has lost records that it should have mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Stops, with the cause; the others go on.
    #[default]
    Halt,
    /// Writes the offsets into the gap ledger and goes on behind them.
    RecordAndContinue,
}

/// What becomes of the target's topic when the source's is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletedTopics {
    #[default]
    Keep,
    /// It is kept, and the link is unhealthy until somebody has seen to it.
    Flag,
    Delete,
}

/// Which of the source's access rules the target gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncAcls {
    #[default]
    None,
    /// Those about mirrored topics that let somebody read, or forbid something.
    Readers,
    /// All about mirrored topics, and all about groups and transactional ids: for clients that move over.
    All,
}

/// By which names /metrics calls what it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsNames {
    #[default]
    Twinlog,
    /// Those that MirrorMaker 2's metrics usually have, of what both measure.
    MirrorMaker,
    Both,
}

impl MetricsNames {
    pub fn are_own(self) -> bool {
        self != Self::MirrorMaker
    }

    pub fn are_mirror_makers(self) -> bool {
        self != Self::Twinlog
    }
}

/// Whether small batches of a partition are put together to larger ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// While they come faster than one a request can carry them.
    #[default]
    Auto,
    Always,
    Never,
}

/// What a lane does when the target refuses a batch for its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// Sends its records in smaller ones, until a single record is too large: then it stops.
    #[default]
    Split,
    /// Has the target's topic take it, up to what the source's topic takes; where that cannot be, as `Split`.
    Raise,
    /// Stops, with the cause; the others go on.
    Halt,
}

/// What becomes of a gap in a source's offsets that is too large to be filled with control records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LargeGaps {
    /// Its partition stops, with the cause; the others go on.
    #[default]
    Halt,
    /// It is filled with empty records in transactions that are aborted: consumers of committed records do not see them, others
    /// do.
    AbortedRecords,
}

/// How records reach the target exactly once that are so old that its brokers may forget who wrote them (where offsets are
/// appended; younger records need no help, and identical offsets leave no room for the markers of transactions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExactlyOnce {
    /// Transactions while records are that old, and sequences from the live edge on.
    #[default]
    Auto,
    /// Sequences always: one batch of old records in flight per partition, and a wait after every doubt.
    Sequences,
    /// Transactions always.
    Transactions,
}

/// How a payload gets from the source socket to the target socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mover {
    /// Splice for lanes with large batches, copy for the others.
    #[default]
    Auto,
    /// Through pinned pool buffers; packs one batch of every ready lane into a request.
    Copy,
    /// splice(2) through a pipe; the payload never enters user space; one batch a request.
    Splice,
}

impl Mover {
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Copy => "copy",
            Self::Splice => "splice",
        }
    }
}

/// `twinlog mirror`, validated: one link from `source` to `target`.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Names the link; its state topic on the target is `__twinlog.<link>` and its lock the transactional id `twinlog.<link>`.
    pub link: String,
    pub source: Cluster,
    pub target: Cluster,
    /// A topic is mirrored if one of these matches the whole name...
    pub topics: Vec<regex::Regex>,
    /// ...and none of these does.
    pub exclude: Vec<regex::Regex>,
    pub from: StartFrom,
    /// Which offsets records get on the target, for topics that none of the next two lists names.
    pub offsets: Offsets,
    /// Topics that get identical offsets, and those that are appended to, whatever `offsets` says.
    pub identical: Vec<regex::Regex>,
    pub append: Vec<regex::Regex>,
    /// Topics that another link mirrors in the other direction: clients write to both sides.
    pub both_directions: Vec<regex::Regex>,
    /// Topics whose topic on the target others fill, too: another link, that brings another topic into it.
    pub shared: Vec<regex::Regex>,
    /// The largest gap between two records that is filled with control records, in offsets.
    pub gap_offsets_max: i64,
    /// The same where the target does not let the link write control records: the largest gap that empty transactions fill, each
    /// of which leaves one.
    pub gap_transactions_max: i64,
    pub large_gaps: LargeGaps,
    /// Where a source partition begins at a higher offset than this, `Offsets::Auto` appends instead of seeding.
    pub seed_offsets_max: i64,
    pub exactly_once: ExactlyOnce,
    pub isolation: Isolation,
    pub on_loss: OnLoss,
    /// Whether batches are put together to larger ones.
    pub merge: Merge,
    /// What becomes of a batch that is larger than the target's topic takes.
    pub oversize: Oversize,
    /// The target's topic for what would stop its partition for good. None: it stops.
    pub dead_letter: Option<String>,
    /// Consumer groups whose committed offsets are mirrored, and which of them are not.
    pub groups: Vec<regex::Regex>,
    pub groups_exclude: Vec<regex::Regex>,
    /// Set a group's position on the target back when it is set back on the source.
    pub groups_rewind: bool,
    /// How often the groups' positions are looked at.
    pub groups_interval_ms: u64,
    /// What is written for MirrorMaker 2's client library.
    pub client_topics: ClientTopics,
    /// Once caught up, hand the topics over to the target's clients: the link writes to them no more.
    pub hand_over: bool,
    /// End with success when every lane has reached the high watermark seen after the start.
    pub until_caught_up: bool,
    pub mover: Mover,
    /// Cores to run shards on, one shard each. Empty: all that this process may use.
    pub cores: Vec<usize>,
    /// The most that is read from the source in a second, in bytes of record batches; each shard has its even share.
    pub max_rate_bytes: Option<u64>,
    /// The limit at certain hours instead.
    pub max_rate_hours: RateHours,
    /// What some topics may take of it at most.
    pub max_rate_topics: Vec<TopicRate>,
    /// Topics that go before the others.
    pub first: Vec<regex::Regex>,
    /// Memory for payloads, all shards together.
    pub buffer_bytes: usize,
    /// Replication factor of created topics. None: the source's, bounded by the number of target brokers.
    pub replication_factor: Option<i16>,
    /// Keep the settings of topics on the target in step with the source's, and how often to compare them.
    pub sync_topic_configs: bool,
    pub deleted_topics: DeletedTopics,
    pub topic_configs_interval_ms: u64,
    /// Which access rules are kept in step, too, and whose principals have other names on the target.
    pub sync_acls: SyncAcls,
    pub principals: BTreeMap<String, String>,
    /// Keep the quotas of clients in step.
    pub sync_quotas: bool,
    /// How often both clusters' metadata are read when nothing asks for it sooner.
    pub metadata_refresh_ms: u64,
    /// How long a request of a dead connection or a killed instance may still be under way at a broker. Lanes that cannot
    /// rely on the broker's producer state wait it out after every doubt.
    pub zombie_bound_ms: u64,
    /// What Twinlog calls itself in requests.
    pub client_id: String,
    /// Largest fetch answer asked for, per connection.
    pub fetch_bytes_max: usize,
    /// How long a source broker may hold a fetch that finds nothing.
    pub fetch_wait_ms: i32,
    /// Where the mirror is, as the source's brokers name places (`broker.rack`).
    pub rack: Option<String>,
    /// An unanswered request is a lost connection after this time.
    pub request_timeout_ms: u64,
    /// Connections to each target broker, per shard.
    pub connections_per_broker: usize,
    /// Where metrics and health are served over HTTP. None: nowhere.
    pub listen: Option<SocketAddr>,
    /// By which names metrics are served.
    pub metrics_names: MetricsNames,
    /// File with the token that has to be named by whoever changes the running link over HTTP. None: nobody can.
    pub control_token_file: Option<PathBuf>,
    /// Topics whose partitions are paused at first.
    pub pause: Vec<regex::Regex>,
    /// What is changed of records on their way. Of several that match a topic the first applies.
    pub transforms: Vec<Transform>,
    /// Other instances run parts of the link. None: this process alone runs the whole.
    pub instances: Option<Instances>,
    /// This is one part of a link. None: it is all of it.
    pub share: Option<Share>,
}

impl Mirror {
    /// What is changed of this topic's records. None: they pass as they are.
    pub fn transform(&self, topic: &str) -> Option<&Transform> {
        self.transforms.get(self.transform_at(topic)?)
    }

    /// Which of the transforms that is.
    pub fn transform_at(&self, topic: &str) -> Option<usize> {
        self.transforms.iter().position(|each| each.topics.iter().any(|pattern| pattern.is_match(topic)))
    }

    /// One part of this link, on these cores. Memory is the link's, so each part has its even share of it.
    pub fn part(&self, share: Share, cores: Vec<usize>) -> Self {
        let parts = share.parts.max(1);
        Self {
            link: share::link_of_part(&self.link, share.part),
            cores,
            buffer_bytes: self.buffer_bytes / parts as usize,
            instances: None,
            share: Some(share),
            ..self.clone()
        }
    }

    /// Whether the partition is to be mirrored by this part of the link.
    pub fn has_share_in(&self, topic: &str, partition: i32) -> bool {
        self.share.is_none_or(|share| share.has(topic, partition))
    }

    /// Whether this part of the link sees to what all parts have in common.
    pub fn leads(&self) -> bool {
        self.share.is_none_or(Share::leads)
    }

    /// Whether bytes of either cluster have to be decrypted or encrypted.
    pub fn has_tls(&self) -> bool {
        self.source.security.tls.is_some() || self.target.security.tls.is_some()
    }
}
