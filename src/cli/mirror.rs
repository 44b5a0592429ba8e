//! `twinlog mirror`.

use super::client_topics::ClientTopicArgs;
use super::link::{GroupArgs, LinkArgs};
use super::mirrormaker::MirrorMakerArgs;
use super::{Cores, Patterns, TopicRates, some_of};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use twinlog::config::mirrormaker::{Flow, Line};
use twinlog::config::{
    ConfigError, DeletedTopics, Draft, ExactlyOnce, Isolation, LargeGaps, Merge, MetricsNames, Mover,
    Offsets, OnLoss, Oversize, RateHours, StartFrom, SyncAcls, rate_hours, text, topic_rates,
};
use twinlog::limits::{BUFFER_BYTES, BUFFER_BYTES_MIN};

#[derive(Clone, Debug, Args)]
#[command(after_help = MIRROR_AFTER_HELP)]
pub struct MirrorArgs {
    #[command(flatten)]
    mirror_maker: MirrorMakerArgs,

    #[command(flatten)]
    link: LinkArgs,

    /// Where a partition that was never mirrored begins: earliest, latest, a time such as 2026-01-31T08:00:00Z,
    /// or milliseconds since 1970 [default: earliest]
    #[arg(long, value_name = "START", value_parser = text::start_from, help_heading = "What to mirror")]
    from: Option<StartFrom>,

    /// Offsets on the target: identical (as on the source; gaps are filled with records that no consumer sees), append (one after
    /// the other), or auto (identical where the target allows it) [default: auto]
    #[arg(long, value_name = "OFFSETS", value_parser = text::offsets, help_heading = "What to mirror")]
    offsets: Option<Offsets>,

    /// Topics with identical offsets, whatever --offsets says
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    identical: Vec<Patterns>,

    /// Topics that are appended to, whatever --offsets says
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    append: Vec<Patterns>,

    /// Topics that clients write to on both sides: another link mirrors them in the other direction, with this flag too. Neither
    /// sends back what came from the other. Offsets are each side's own
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    both_directions: Vec<Patterns>,

    /// Topics whose topic on the target is filled by others, too: several topics become one there, each by a link of its own, all
    /// with this flag. Each link's records keep their order; offsets are the target's own
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    shared: Vec<Patterns>,

    /// How records that are so old that the target may forget who wrote them (producer.id.expiration.ms, a day by default) get
    /// there exactly once, where offsets are appended: transactions, sequences (one batch in flight per partition), or auto
    /// (transactions while records are old). With transactions consumers should read committed records only [default: auto]
    #[arg(long, value_name = "HOW", value_parser = text::exactly_once, help_heading = "What to mirror")]
    exactly_once: Option<ExactlyOnce>,

    /// Which transactional records: read-committed, or read-uncommitted (those of open and aborted transactions too, as records
    /// like any other; only with --offsets append) [default: read-committed]
    #[arg(long, value_name = "LEVEL", value_parser = text::isolation, help_heading = "What to mirror")]
    isolation: Option<Isolation>,

    /// When the source has lost records before they were mirrored (retention, an unclean leader election): halt (that partition
    /// stops, with the cause), or record-and-continue (see twinlog ledger) [default: halt]
    #[arg(long, value_name = "POLICY", value_parser = text::on_loss, help_heading = "What to mirror")]
    on_loss: Option<OnLoss>,

    /// Identical offsets: what becomes of a gap in the source's offsets above --gap-offsets-max: halt stops the partition,
    /// aborted-records fills it with empty records in aborted transactions, which consumers of uncommitted records see
    /// [default: halt]
    #[arg(long, value_name = "POLICY", value_parser = text::large_gaps, help_heading = "What to mirror")]
    large_gaps: Option<LargeGaps>,

    /// Keep settings of topics in step after they were created: what is set or taken back on the source is so on the target, but
    /// for what would make it rewrite or refuse batches, and for tiered storage. Settings that only the target has stay
    #[arg(long, help_heading = "What to mirror")]
    sync_topic_configs: bool,

    /// What becomes of a topic on the target when it is deleted on the source: keep; flag (the link is unhealthy until it is
    /// deleted there, too, or excluded); or delete, half a minute later: only what this link alone has written, never what was
    /// failed over [default: keep]
    #[arg(long, value_name = "POLICY", value_parser = text::deleted_topics, help_heading = "What to mirror")]
    deleted_topics: Option<DeletedTopics>,

    /// Access rules (ACLs) that are kept in step with the source's: none, readers (about mirrored topics: who may read, and what is
    /// forbidden), or all (who may write, too, and rules about groups and transactional ids, for clients that move over). What is
    /// taken back on the source is taken back, rules that only the target has stay. The file's table [principals] gives principals
    /// other names [default: none]
    #[arg(long, value_name = "WHICH", value_parser = text::sync_acls, help_heading = "What to mirror")]
    sync_acls: Option<SyncAcls>,

    /// Keep the quotas of clients (users, client ids, IP addresses, and the defaults of each) in step with the source's. What is
    /// taken back on the source is taken back, unless it was changed on the target; quotas that only the target has stay. They
    /// hold for the mirror's own user there, too. Users go by the names that the file's table [principals] gives them
    #[arg(long, help_heading = "What to mirror")]
    sync_quotas: bool,

    #[command(flatten)]
    groups: GroupArgs,

    #[command(flatten)]
    client_topics: ClientTopicArgs,

    /// End with success when everything that was on the source at the start is on the target
    #[arg(long, help_heading = "What to mirror")]
    until_caught_up: bool,

    /// Whether small batches of a partition are put together to larger ones: auto (while they come faster than the target takes
    /// them one a request), always, never. Records and offsets stay the same [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = text::merge, help_heading = "How")]
    merge: Option<Merge>,

    /// When a batch is larger than the target's topic takes (max.message.bytes): split (its records go in smaller batches; one
    /// record alone that is too large stops its partition), raise (that setting is raised for it, never above the source's; where
    /// the target does not allow it, split), or halt (that partition stops, with the cause) [default: split]
    #[arg(long, value_name = "POLICY", value_parser = text::oversize, help_heading = "How")]
    oversize: Option<Oversize>,

    /// A topic of the target for records that would stop their partition for good: one that is larger than the target takes, one
    /// that a transform fails on, or a batch that is damaged at the source. Each goes there with headers that say where it comes
    /// from and why, and the partition goes on. Made if it is not there [default: the partition stops]
    #[arg(long, value_name = "TOPIC", value_parser = text::dead_letter, help_heading = "How")]
    dead_letter: Option<String>,

    /// How payloads travel: auto, copy (through memory), splice (inside the kernel) [default: auto]
    #[arg(long, value_name = "MOVER", value_parser = text::mover, help_heading = "How")]
    mover: Option<Mover>,

    /// Where the mirror runs, as the source's brokers call it (broker.rack): partitions are read from a replica there, if there is
    /// one, so that data need not cross zones twice. The brokers need replica.selector.class =
    /// org.apache.kafka.common.replica.RackAwareReplicaSelector (Kafka 2.4 or later) [default: client.rack of --source-config;
    /// else partitions are read from their leaders]
    #[arg(long, value_name = "RACK", value_parser = text::rack, help_heading = "How")]
    rack: Option<String>,

    /// Cores to run on, one thread each: 0,1 or 2..5 or all [default: all]
    #[arg(long, value_name = "LIST", value_parser = text::cores, help_heading = "How")]
    cores: Option<Cores>,

    /// The most to read from the source in a second, as 50MB/s; each core has its even share of it [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = text::byte_rate, help_heading = "How")]
    max_rate: Option<u64>,

    /// Another limit at certain hours of UTC: 08:00-18:00=20MB/s, or Mon-Fri 22:00-06:00=none; the first that holds counts
    /// [default: --max-rate at all hours]
    #[arg(long, value_name = "HOURS=RATE[,…]", value_parser = rate_hours, help_heading = "How")]
    max_rate_hours: Option<RateHours>,

    /// What some topics may be read with at most, all that match together; the first pattern that matches counts. Within what
    /// --max-rate lets [default: no limit]
    #[arg(long, value_name = "REGEX=RATE[,…]", value_parser = topic_rates, help_heading = "How")]
    max_rate_topics: Vec<TopicRates>,

    /// Topics that go before the others, as live ones before those whose backlog is read: they have connections of their own and a
    /// part of the buffers, and are read though --max-rate is reached, so that the others have what is left of it
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "How")]
    first: Vec<Patterns>,

    /// Memory for payloads on their way, all cores together, at least 4MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, help_heading = "How")]
    buffer_bytes: Option<usize>,

    /// Replication factor of topics created on the target [default: the source's, at most the target's brokers]
    #[arg(long, value_name = "N", value_parser = text::replication_factor, help_heading = "How")]
    replication_factor: Option<i16>,

    /// auto: several instances, each started like this one with the same --link, share the link's partitions, and take over from
    /// each other; one: this process mirrors them all. See README, Several instances [default: one]
    #[arg(long, value_name = "HOW", value_parser = text::instances, help_heading = "Several instances")]
    instances: Option<bool>,

    /// In how many parts the link's partitions are divided; each part runs on one core of one instance. The same for all
    /// instances, and for good [default: 16]
    #[arg(long, value_name = "N", value_parser = text::parts, help_heading = "Several instances")]
    parts: Option<u32>,

    /// What this instance is called; no two running ones may have one name [default: the host's name]
    #[arg(long, value_name = "NAME", value_parser = text::instance, help_heading = "Several instances")]
    instance: Option<String>,

    /// Others run the parts of an instance that the target has not heard of for so long, ms. The brokers'
    /// group.min.session.timeout.ms is the least [default: 10000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Several instances")]
    instance_timeout_ms: Option<u64>,

    /// Serve /metrics (for Prometheus), /health, /ready and /status over HTTP: a port of this machine's loopback, or IP:PORT.
    /// Everybody who reaches it may look; what is shown are names of topics and figures. See `twinlog control`
    #[arg(long, value_name = "PORT", value_parser = text::listen, help_heading = "Watching")]
    listen: Option<SocketAddr>,

    /// By which names /metrics calls its series: twinlog, mirrormaker (those that MirrorMaker 2's metrics usually have in
    /// Prometheus, so that its dashboards go on; only what both measure; names of groups, too, where --checkpoints are written) or
    /// both [needs --source-alias and --target-alias, unless MirrorMaker's file names them] [default: twinlog]
    #[arg(long, value_name = "WHOSE", value_parser = text::metrics_names, help_heading = "Watching")]
    metrics_names: Option<MetricsNames>,

    /// File with a token. Who knows it may pause and resume partitions of the running link and change --max-rate, by `twinlog
    /// control` or over HTTP; without this nobody may [needs --listen]
    #[arg(long, value_name = "FILE", value_parser = text::file, help_heading = "Watching")]
    control_token_file: Option<PathBuf>,

    /// Topics whose partitions are not read until they are resumed by `twinlog control resume`
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "Watching")]
    pause: Vec<Patterns>,

    /// How long a request of a dead connection or a killed instance may still be under way at a broker, ms. After a kill,
    /// partitions whose records are too old for the target to remember the producer wait this long [default: 30000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    zombie_bound_ms: Option<u64>,

    /// The largest gap between two source records that is filled with control records, in offsets; see --large-gaps
    /// [default: 1000000]
    #[arg(long, value_name = "N", value_parser = text::offset_count, help_heading = "Seldom needed")]
    gap_offsets_max: Option<i64>,

    /// The same without the right to write control records: the largest gap that is filled with empty transactions, a few dozen
    /// a second [default: 1000]
    #[arg(long, value_name = "N", value_parser = text::offset_count, help_heading = "Seldom needed")]
    gap_transactions_max: Option<i64>,

    /// Where a source partition begins at a higher offset than this, --offsets auto appends [default: 10000000000]
    #[arg(long, value_name = "N", value_parser = text::offset_count, help_heading = "Seldom needed")]
    seed_offsets_max: Option<i64>,

    /// How often the groups' committed offsets are looked at, ms [default: 400]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    groups_interval_ms: Option<u64>,

    /// How often settings, access rules and quotas are compared with --sync-topic-configs, --sync-acls and --sync-quotas, ms
    /// [default: 60000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    topic_configs_interval_ms: Option<u64>,

    /// How often both clusters are asked for new topics, partitions and leaders, ms; after errors at once, and where the answer
    /// takes long, seldomer [default: 5000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    metadata_refresh_ms: Option<u64>,

    /// Largest answer asked for in one fetch. It is 8MiB at first, and more where the way to the source is long; brokers send
    /// no more than their fetch.max.bytes (55MiB) [default: 48MiB]
    #[arg(long, value_name = "SIZE", value_parser = text::memory_bytes, help_heading = "Seldom needed")]
    fetch_bytes_max: Option<usize>,

    /// How long a source broker may hold a fetch that finds nothing, ms [default: 500]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    fetch_wait_ms: Option<u64>,

    /// Connections to each target broker, per core: 1 to 64 [default: 1]
    #[arg(long, value_name = "N", value_parser = text::count, help_heading = "Seldom needed")]
    connections_per_broker: Option<usize>,
}

const MIRROR_AFTER_HELP: &str = "\
Examples:
  Follow two topics and everything under clicks., until interrupted:
    twinlog mirror --source east:9092 --target west:9092 --topics 'orders,payments,clicks\\..*'

  Copy what there is, then end (exit code 0):
    twinlog mirror --source east:9092 --target west:9092 --topics '.*' --until-caught-up

  All links of a configuration of MirrorMaker 2 that go into west:
    twinlog mirror connect-mirror-maker.properties --clusters west

  The same as the first from a file:
    twinlog mirror --config twinlog.toml

    [source]
    bootstrap = ['east1:9092', 'east2:9092']
    [target]
    bootstrap = 'west1:9092'
    [mirror]
    topics = ['orders', 'clicks\\..*']
    buffer-bytes = '512MiB'          # every flag has a key here, without the dashes in front

The source may be Kafka 0.8.2 or later, the target 2.2 or later. `twinlog plan` says what an old one cannot do.

The first Ctrl-C (or SIGTERM) stops cleanly: nothing more is fetched, what is under way is settled, progress is saved.
The second ends the process at once; that is safe too, the next start only has more to ask.
RUST_LOG=twinlog=debug shows more.";

/// A link that was asked for.
#[derive(Debug)]
pub struct AskedLink {
    pub draft: Draft,
    /// What became of each key, where MirrorMaker's were given.
    pub lines: Vec<Line>,
}

impl MirrorArgs {
    /// The links that were asked for: one, or those of MirrorMaker's configuration, with the flags over it. Reads the files.
    pub fn links(mut self) -> Result<Vec<AskedLink>, ConfigError> {
        let named = self.link.names_cluster();
        let Some(flows) = std::mem::take(&mut self.mirror_maker).flows_beside(named)? else {
            return Ok(vec![AskedLink { draft: self.draft()?, lines: Vec::new() }]);
        };
        let flags = self.draft()?;
        if flags.link.is_some() && flows.len() > 1 {
            return Err(ConfigError("--link names one link, and there are several; leave it out".into()));
        }
        Ok(share(&flags, flows))
    }

    /// The files that all this is read from.
    pub fn files(&self) -> Vec<PathBuf> {
        self.link.files().chain(self.mirror_maker.files()).cloned().collect()
    }

    /// The flags over the config file. Reads the file.
    pub fn draft(self) -> Result<Draft, ConfigError> {
        let flags = Draft {
            from: self.from,
            offsets: self.offsets,
            identical: some_of(self.identical),
            append: some_of(self.append),
            both_directions: some_of(self.both_directions),
            shared: some_of(self.shared),
            gap_offsets_max: self.gap_offsets_max,
            gap_transactions_max: self.gap_transactions_max,
            large_gaps: self.large_gaps,
            seed_offsets_max: self.seed_offsets_max,
            exactly_once: self.exactly_once,
            isolation: self.isolation,
            on_loss: self.on_loss,
            merge: self.merge,
            oversize: self.oversize,
            dead_letter: self.dead_letter,
            groups_interval_ms: self.groups_interval_ms,
            until_caught_up: self.until_caught_up.then_some(true),
            mover: self.mover,
            cores: self.cores,
            buffer_bytes: self.buffer_bytes,
            max_rate_bytes: self.max_rate,
            max_rate_hours: self.max_rate_hours,
            max_rate_topics: some_of(self.max_rate_topics),
            first: some_of(self.first),
            replication_factor: self.replication_factor,
            sync_topic_configs: self.sync_topic_configs.then_some(true),
            deleted_topics: self.deleted_topics,
            sync_acls: self.sync_acls,
            sync_quotas: self.sync_quotas.then_some(true),
            topic_configs_interval_ms: self.topic_configs_interval_ms,
            metadata_refresh_ms: self.metadata_refresh_ms,
            zombie_bound_ms: self.zombie_bound_ms,
            fetch_bytes_max: self.fetch_bytes_max,
            fetch_wait_ms: self.fetch_wait_ms,
            rack: self.rack,
            connections_per_broker: self.connections_per_broker,
            listen: self.listen,
            metrics_names: self.metrics_names,
            control_token_file: self.control_token_file,
            pause: some_of(self.pause),
            instances: self.instances,
            parts: self.parts,
            instance: self.instance,
            instance_timeout_ms: self.instance_timeout_ms,
            ..Draft::default()
        };
        Ok(self.groups.draft().or(self.client_topics.draft()).or(flags).or(self.link.draft()?))
    }
}

/// Each flow's link, and what it has of what is there once: memory, and ports to listen on.
fn share(flags: &Draft, flows: Vec<Flow>) -> Vec<AskedLink> {
    let count = flows.len();
    let links = flows.into_iter().enumerate().map(|(index, flow)| {
        let mut draft = flags.clone().or(flow.draft);
        if count > 1 {
            let bytes = draft.buffer_bytes.unwrap_or(BUFFER_BYTES) / count;
            draft.buffer_bytes = Some(bytes.max(BUFFER_BYTES_MIN));
            draft.listen = draft.listen.map(|address| {
                SocketAddr::new(
                    address.ip(),
                    address.port().saturating_add(u16::try_from(index).unwrap_or(u16::MAX)),
                )
            });
        }
        AskedLink { draft, lines: flow.lines }
    });
    links.collect()
}
