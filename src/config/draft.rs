//! A [`Mirror`] in the making: what one place (the command line, a file) said, each part of it optional.

use super::placeholder::Machine;
use super::{
    Address, ClientTopics, Cluster, DeletedTopics, ExactlyOnce, Heartbeats, Instances, Isolation, LargeGaps,
    Merge, MetricsNames, Mirror, Mover, Offsets, OnLoss, Oversize, Properties, RateHours, Security,
    StartFrom, SyncAcls, TopicNames, TopicRate, Transform, share, text,
};
use crate::limits::{BUFFER_BYTES, BUFFER_BYTES_MIN};
use regex::Regex;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What was said, and where defaults have to step in. The command line's draft overrides the file's.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub source: Option<Vec<Address>>,
    pub target: Option<Vec<Address>>,
    pub source_properties: Properties,
    pub target_properties: Properties,
    pub topics: Option<Vec<Regex>>,
    pub exclude: Option<Vec<Regex>>,
    pub prefix: Option<String>,
    pub rename: Option<Vec<(String, String)>>,
    pub from: Option<StartFrom>,
    pub offsets: Option<Offsets>,
    pub identical: Option<Vec<Regex>>,
    pub append: Option<Vec<Regex>>,
    pub both_directions: Option<Vec<Regex>>,
    pub shared: Option<Vec<Regex>>,
    pub gap_offsets_max: Option<i64>,
    pub gap_transactions_max: Option<i64>,
    pub large_gaps: Option<LargeGaps>,
    pub seed_offsets_max: Option<i64>,
    pub exactly_once: Option<ExactlyOnce>,
    pub isolation: Option<Isolation>,
    pub on_loss: Option<OnLoss>,
    pub merge: Option<Merge>,
    pub oversize: Option<Oversize>,
    pub dead_letter: Option<String>,
    pub groups: Option<Vec<Regex>>,
    pub groups_exclude: Option<Vec<Regex>>,
    pub groups_rewind: Option<bool>,
    pub groups_interval_ms: Option<u64>,
    pub source_alias: Option<String>,
    pub target_alias: Option<String>,
    pub alias_separator: Option<String>,
    pub checkpoints: Option<Vec<Regex>>,
    pub checkpoints_exclude: Option<Vec<Regex>>,
    pub checkpoints_topic: Option<String>,
    pub checkpoints_interval_ms: Option<u64>,
    pub checkpoints_replication_factor: Option<i16>,
    pub heartbeats: Option<Heartbeats>,
    pub heartbeats_topic: Option<String>,
    pub heartbeats_interval_ms: Option<u64>,
    pub heartbeats_replication_factor: Option<i16>,
    pub until_caught_up: Option<bool>,
    pub mover: Option<Mover>,
    pub cores: Option<Vec<usize>>,
    pub link: Option<String>,
    pub buffer_bytes: Option<usize>,
    pub max_rate_bytes: Option<u64>,
    pub max_rate_hours: Option<RateHours>,
    pub max_rate_topics: Option<Vec<TopicRate>>,
    pub first: Option<Vec<regex::Regex>>,
    pub replication_factor: Option<i16>,
    pub sync_topic_configs: Option<bool>,
    pub deleted_topics: Option<DeletedTopics>,
    pub sync_acls: Option<SyncAcls>,
    pub sync_quotas: Option<bool>,
    pub topic_configs_interval_ms: Option<u64>,
    pub metadata_refresh_ms: Option<u64>,
    pub zombie_bound_ms: Option<u64>,
    pub client_id: Option<String>,
    pub fetch_bytes_max: Option<usize>,
    pub fetch_wait_ms: Option<u64>,
    pub rack: Option<String>,
    pub request_timeout_ms: Option<u64>,
    pub connections_per_broker: Option<usize>,
    pub listen: Option<SocketAddr>,
    pub metrics_names: Option<MetricsNames>,
    /// What a flow of MirrorMaker 2's file calls its clusters: aliases, where nobody chose others.
    pub flow: Option<[String; 2]>,
    pub control_token_file: Option<PathBuf>,
    pub pause: Option<Vec<Regex>>,
    /// Only a file has these.
    pub transforms: Option<Vec<Transform>>,
    pub principals: Option<BTreeMap<String, String>>,
    /// Whether instances share the link, and what they are told then.
    pub instances: Option<bool>,
    pub parts: Option<u32>,
    pub instance: Option<String>,
    pub instance_timeout_ms: Option<u64>,
    pub log_format: Option<LogFormat>,
}

/// How log lines and the final summary are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is wrong with what was typed; its `Display` is for the user's eyes. Always exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Draft {
    /// Everything this draft says, and what `other` says where this one is silent.
    pub fn or(self, other: Draft) -> Draft {
        Draft {
            source: self.source.or(other.source),
            target: self.target.or(other.target),
            source_properties: self.source_properties.or(other.source_properties),
            target_properties: self.target_properties.or(other.target_properties),
            topics: self.topics.or(other.topics),
            exclude: self.exclude.or(other.exclude),
            prefix: self.prefix.or(other.prefix),
            rename: self.rename.or(other.rename),
            from: self.from.or(other.from),
            offsets: self.offsets.or(other.offsets),
            identical: self.identical.or(other.identical),
            append: self.append.or(other.append),
            both_directions: self.both_directions.or(other.both_directions),
            shared: self.shared.or(other.shared),
            gap_offsets_max: self.gap_offsets_max.or(other.gap_offsets_max),
            gap_transactions_max: self.gap_transactions_max.or(other.gap_transactions_max),
            large_gaps: self.large_gaps.or(other.large_gaps),
            seed_offsets_max: self.seed_offsets_max.or(other.seed_offsets_max),
            exactly_once: self.exactly_once.or(other.exactly_once),
            isolation: self.isolation.or(other.isolation),
            on_loss: self.on_loss.or(other.on_loss),
            merge: self.merge.or(other.merge),
            oversize: self.oversize.or(other.oversize),
            dead_letter: self.dead_letter.or(other.dead_letter),
            groups: self.groups.or(other.groups),
            groups_exclude: self.groups_exclude.or(other.groups_exclude),
            groups_rewind: self.groups_rewind.or(other.groups_rewind),
            groups_interval_ms: self.groups_interval_ms.or(other.groups_interval_ms),
            source_alias: self.source_alias.or(other.source_alias),
            target_alias: self.target_alias.or(other.target_alias),
            alias_separator: self.alias_separator.or(other.alias_separator),
            checkpoints: self.checkpoints.or(other.checkpoints),
            checkpoints_exclude: self.checkpoints_exclude.or(other.checkpoints_exclude),
            checkpoints_topic: self.checkpoints_topic.or(other.checkpoints_topic),
            checkpoints_interval_ms: self.checkpoints_interval_ms.or(other.checkpoints_interval_ms),
            checkpoints_replication_factor: self
                .checkpoints_replication_factor
                .or(other.checkpoints_replication_factor),
            heartbeats: self.heartbeats.or(other.heartbeats),
            heartbeats_topic: self.heartbeats_topic.or(other.heartbeats_topic),
            heartbeats_interval_ms: self.heartbeats_interval_ms.or(other.heartbeats_interval_ms),
            heartbeats_replication_factor: self
                .heartbeats_replication_factor
                .or(other.heartbeats_replication_factor),
            until_caught_up: self.until_caught_up.or(other.until_caught_up),
            mover: self.mover.or(other.mover),
            cores: self.cores.or(other.cores),
            link: self.link.or(other.link),
            buffer_bytes: self.buffer_bytes.or(other.buffer_bytes),
            max_rate_bytes: self.max_rate_bytes.or(other.max_rate_bytes),
            max_rate_hours: self.max_rate_hours.or(other.max_rate_hours),
            max_rate_topics: self.max_rate_topics.or(other.max_rate_topics),
            first: self.first.or(other.first),
            replication_factor: self.replication_factor.or(other.replication_factor),
            sync_topic_configs: self.sync_topic_configs.or(other.sync_topic_configs),
            deleted_topics: self.deleted_topics.or(other.deleted_topics),
            sync_acls: self.sync_acls.or(other.sync_acls),
            sync_quotas: self.sync_quotas.or(other.sync_quotas),
            topic_configs_interval_ms: self.topic_configs_interval_ms.or(other.topic_configs_interval_ms),
            metadata_refresh_ms: self.metadata_refresh_ms.or(other.metadata_refresh_ms),
            zombie_bound_ms: self.zombie_bound_ms.or(other.zombie_bound_ms),
            client_id: self.client_id.or(other.client_id),
            fetch_bytes_max: self.fetch_bytes_max.or(other.fetch_bytes_max),
            fetch_wait_ms: self.fetch_wait_ms.or(other.fetch_wait_ms),
            rack: self.rack.or(other.rack),
            request_timeout_ms: self.request_timeout_ms.or(other.request_timeout_ms),
            connections_per_broker: self.connections_per_broker.or(other.connections_per_broker),
            listen: self.listen.or(other.listen),
            metrics_names: self.metrics_names.or(other.metrics_names),
            flow: self.flow.or(other.flow),
            control_token_file: self.control_token_file.or(other.control_token_file),
            pause: self.pause.or(other.pause),
            transforms: self.transforms.or(other.transforms),
            principals: self.principals.or(other.principals),
            instances: self.instances.or(other.instances),
            parts: self.parts.or(other.parts),
            instance: self.instance.or(other.instance),
            instance_timeout_ms: self.instance_timeout_ms.or(other.instance_timeout_ms),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// The whole, with defaults for what nobody said, and with the relations between the parts checked.
    pub fn build(mut self) -> Result<Mirror, ConfigError> {
        let rack = self.rack()?;
        let instances = self.instances()?;
        let client_topics = ClientTopics::of(&self)?;
        let mut exclude = self.exclude.unwrap_or_default();
        exclude.extend(client_topics.never());
        let link = self.link.unwrap_or_else(|| "mirror".into());
        let names = TopicNames::new(self.prefix, self.rename.unwrap_or_default())
            .map_err(|problem| ConfigError(format!("prefix and rename: {problem}")))?;
        let mut mirror = Mirror {
            client_id: self.client_id.unwrap_or_else(|| format!("twinlog-{link}")),
            link,
            source: cluster("source", self.source, self.source_properties)?,
            target: Cluster { names, ..cluster("target", self.target, self.target_properties)? },
            topics: required(
                self.topics,
                "topics",
                "mirror.topics",
                "--topics REGEX (every topic: --topics '.*')",
            )?,
            exclude,
            from: self.from.unwrap_or(StartFrom::Earliest),
            offsets: self.offsets.unwrap_or_default(),
            identical: self.identical.unwrap_or_default(),
            append: self.append.unwrap_or_default(),
            both_directions: self.both_directions.unwrap_or_default(),
            shared: self.shared.unwrap_or_default(),
            gap_offsets_max: self.gap_offsets_max.unwrap_or(1_000_000),
            gap_transactions_max: self.gap_transactions_max.unwrap_or(1_000),
            large_gaps: self.large_gaps.unwrap_or_default(),
            seed_offsets_max: self.seed_offsets_max.unwrap_or(10_000_000_000),
            exactly_once: self.exactly_once.unwrap_or_default(),
            isolation: self.isolation.unwrap_or_default(),
            on_loss: self.on_loss.unwrap_or_default(),
            merge: self.merge.unwrap_or_default(),
            oversize: self.oversize.unwrap_or_default(),
            dead_letter: self.dead_letter,
            groups: self.groups.unwrap_or_default(),
            groups_exclude: self.groups_exclude.unwrap_or_default(),
            groups_rewind: self.groups_rewind.unwrap_or(false),
            groups_interval_ms: self.groups_interval_ms.unwrap_or(400),
            client_topics,
            hand_over: false,
            until_caught_up: self.until_caught_up.unwrap_or(false),
            mover: self.mover.unwrap_or_default(),
            cores: self.cores.unwrap_or_default(),
            buffer_bytes: self.buffer_bytes.unwrap_or(BUFFER_BYTES),
            max_rate_bytes: self.max_rate_bytes,
            max_rate_topics: self.max_rate_topics.unwrap_or_default(),
            first: self.first.unwrap_or_default(),
            max_rate_hours: self.max_rate_hours.unwrap_or_default(),
            replication_factor: self.replication_factor,
            sync_topic_configs: self.sync_topic_configs.unwrap_or(false),
            deleted_topics: self.deleted_topics.unwrap_or_default(),
            sync_acls: self.sync_acls.unwrap_or_default(),
            principals: self.principals.unwrap_or_default(),
            sync_quotas: self.sync_quotas.unwrap_or(false),
            topic_configs_interval_ms: self.topic_configs_interval_ms.unwrap_or(60_000),
            metadata_refresh_ms: self.metadata_refresh_ms.unwrap_or(5_000),
            zombie_bound_ms: self.zombie_bound_ms.unwrap_or(30_000),
            fetch_bytes_max: self.fetch_bytes_max.unwrap_or(48 << 20),
            fetch_wait_ms: self.fetch_wait_ms.unwrap_or(500).try_into().unwrap_or(i32::MAX),
            rack,
            request_timeout_ms: self.request_timeout_ms.unwrap_or(20_000),
            connections_per_broker: self.connections_per_broker.unwrap_or(1),
            listen: self.listen,
            metrics_names: self.metrics_names.unwrap_or_default(),
            control_token_file: self.control_token_file,
            pause: self.pause.unwrap_or_default(),
            transforms: self.transforms.unwrap_or_default(),
            instances,
            share: None,
        };
        check(&mirror)?;
        if mirror.has_tls() {
            // The kernel cannot open what it would splice.
            mirror.mover = Mover::Copy;
        }
        Ok(mirror)
    }

    fn instances(&self) -> Result<Option<Instances>, ConfigError> {
        if !self.instances.unwrap_or(false) {
            let unused = [
                ("parts", self.parts.is_some()),
                ("instance", self.instance.is_some()),
                ("instance-timeout-ms", self.instance_timeout_ms.is_some()),
            ];
            return match unused.iter().find(|(_, is_said)| *is_said) {
                Some((key, _)) => Err(ConfigError(format!(
                    "{key} is for a link that several instances share; add --instances auto, or set mirror.instances in the config \
                     file"
                ))),
                None => Ok(None),
            };
        }
        Ok(Some(Instances {
            parts: self.parts.unwrap_or(share::PARTS),
            name: self.instance.clone(),
            timeout_ms: self.instance_timeout_ms.unwrap_or(10_000),
        }))
    }

    /// What a file of Kafka's client settings says about one cluster: `bootstrap.servers`, and how it is spoken to.
    pub fn from_properties(name: &str, content: &str, side: ClusterName) -> Result<Draft, ConfigError> {
        let mut properties = Properties::from_file(name, content)?;
        let bootstrap = match properties.take("bootstrap.servers") {
            Some(value) => Some(
                text::addresses(value.text.expose())
                    .map_err(|problem| ConfigError(format!("{}: {problem}", value.origin)))?,
            ),
            None => None,
        };
        Ok(match side {
            ClusterName::Source => {
                Draft { source: bootstrap, source_properties: properties, ..Draft::default() }
            }
            ClusterName::Target => {
                Draft { target: bootstrap, target_properties: properties, ..Draft::default() }
            }
        })
    }

    /// Kafka's clients have it among a cluster's settings.
    fn rack(&mut self) -> Result<Option<String>, ConfigError> {
        let theirs = self.source_properties.take("client.rack");
        if self.rack.is_some() {
            return Ok(self.rack.take());
        }
        let rack = theirs.filter(|value| !value.text.expose().is_empty()).map(|value| {
            text::rack(value.text.expose())
                .map_err(|problem| ConfigError(format!("{}: {problem}", value.origin)))
        });
        rack.transpose()
    }

    /// The source alone, for commands that need nothing else.
    pub fn source_cluster(&self) -> Result<Cluster, ConfigError> {
        cluster("source", self.source.clone(), self.source_properties.clone())
    }

    /// The target alone, for commands that need nothing else.
    pub fn target_cluster(&self) -> Result<Cluster, ConfigError> {
        cluster("target", self.target.clone(), self.target_properties.clone())
    }
}

/// Which of the two clusters settings are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterName {
    Source,
    Target,
}

fn cluster(
    name: &str,
    bootstrap: Option<Vec<Address>>,
    properties: Properties,
) -> Result<Cluster, ConfigError> {
    let bootstrap = required(bootstrap, name, &format!("{name}.bootstrap"), &format!("--{name} HOST:PORT"))?;
    let security = Security::read(properties, &Machine)
        .map_err(|error| ConfigError(format!("security of the {name}: {error}")))?;
    Ok(Cluster { bootstrap, security, names: TopicNames::default() })
}

fn required<T>(said: Option<T>, what: &str, key: &str, flag: &str) -> Result<T, ConfigError> {
    said.ok_or_else(|| ConfigError(format!("no {what} given; add {flag}, or set {key} in the config file")))
}

fn check(mirror: &Mirror) -> Result<(), ConfigError> {
    let refuse = |message: String| Err(ConfigError(message));
    if let Some(both) =
        mirror.source.bootstrap.iter().find(|address| mirror.target.bootstrap.contains(address))
    {
        return refuse(format!("source and target are the same cluster ({both}); a mirror needs two"));
    }
    if mirror.mover == Mover::Splice && mirror.has_tls() {
        return refuse(
            "mover splice moves payloads inside the kernel, where TLS cannot be taken off or put on: with TLS on either side use \
             mover copy, or leave the choice to auto"
                .into(),
        );
    }
    if mirror.buffer_bytes < BUFFER_BYTES_MIN {
        return refuse(format!(
            "buffer-bytes is {}; the least is {BUFFER_BYTES_MIN} (4MiB)",
            mirror.buffer_bytes
        ));
    }
    if mirror.deleted_topics == DeletedTopics::Delete
        && (mirror.instances.is_some() || mirror.share.is_some())
    {
        // Its first part does not know what the others have handed over.
        return refuse(
            "deleted-topics delete is for links that one instance mirrors; with several use flag".into(),
        );
    }
    if let Some(instances) = &mirror.instances {
        check_instances(mirror, instances)?;
    }
    if mirror.fetch_bytes_max < 1 << 10 || mirror.fetch_bytes_max > crate::limits::FETCH_ANSWER_BYTES_MAX / 2
    {
        return refuse(format!("fetch-bytes-max is {}; it must be 1KiB to 512MiB", mirror.fetch_bytes_max));
    }
    if !(1..=64).contains(&mirror.connections_per_broker) {
        return refuse(format!(
            "connections-per-broker is {}; it must be 1 to 64",
            mirror.connections_per_broker
        ));
    }
    if mirror.request_timeout_ms <= mirror.fetch_wait_ms as u64 {
        return refuse(format!(
            "request-timeout-ms ({}) must be more than fetch-wait-ms ({}), or every quiet fetch would time out",
            mirror.request_timeout_ms, mirror.fetch_wait_ms
        ));
    }
    let wants_identical = mirror.offsets == Offsets::Identical || !mirror.identical.is_empty();
    if mirror.isolation == Isolation::ReadUncommitted && wants_identical {
        return refuse(
            "isolation read-uncommitted mirrors records whose fate is open, so their offsets cannot be identical; use it with \
             offsets append"
                .into(),
        );
    }
    if mirror.exactly_once == ExactlyOnce::Transactions && wants_identical {
        return refuse(
            "exactly-once transactions takes offsets of the target for the transactions' markers, so offsets cannot be identical; \
             use it with offsets append"
                .into(),
        );
    }
    if let Some(dead_letter) = &mirror.dead_letter
        && let Some(topic) = mirror.target.names.in_link(dead_letter)
        && (topic != dead_letter
            || mirror.topics.iter().any(|pattern| text::typed(pattern).replace('\\', "") == topic))
        && mirror.topics.iter().any(|pattern| pattern.is_match(topic))
        && !mirror.exclude.iter().any(|pattern| pattern.is_match(topic))
    {
        return refuse(format!(
            "dead-letter {dead_letter} is what the mirrored topic {topic} is called on the target; dead letters need a topic of \
             their own"
        ));
    }
    if !mirror.both_directions.is_empty() && !mirror.target.names.is_identity() {
        return refuse(
            "both-directions is for topics that have one name on both sides; leave out prefix and rename, or it".into(),
        );
    }
    if mirror.control_token_file.is_some() && mirror.listen.is_none() {
        return refuse(
            "control-token-file is for those who change the running link over HTTP, and nothing listens; add --listen PORT".into(),
        );
    }
    if mirror.metrics_names.are_mirror_makers() && mirror.listen.is_none() {
        return refuse(
            "metrics-names says by which names /metrics calls its series, and nothing listens; add --listen PORT".into(),
        );
    }
    if mirror.zombie_bound_ms == 0 || mirror.metadata_refresh_ms == 0 || mirror.groups_interval_ms == 0 {
        return refuse(
            "zombie-bound-ms, metadata-refresh-ms and groups-interval-ms must be more than 0".into(),
        );
    }
    Ok(())
}

fn check_instances(mirror: &Mirror, instances: &Instances) -> Result<(), ConfigError> {
    let each = mirror.buffer_bytes / instances.parts as usize;
    if each < BUFFER_BYTES_MIN {
        return Err(ConfigError(format!(
            "buffer-bytes is {}, which leaves {each} to each of {} parts; the least is {BUFFER_BYTES_MIN} (4MiB) for each",
            mirror.buffer_bytes, instances.parts
        )));
    }
    if mirror.until_caught_up {
        return Err(ConfigError(
            "until-caught-up is for a mirror that ends, and instances that share a link stay for each other; leave out one of them"
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::text;

    fn enough() -> Draft {
        Draft {
            source: text::addresses("a:1").ok(),
            target: text::addresses("b:1").ok(),
            topics: text::patterns("t").ok(),
            ..Draft::default()
        }
    }

    #[test]
    fn defaults_fill_what_nobody_said_and_the_first_draft_wins() {
        let flags = Draft { link: Some("east".into()), ..Draft::default() };
        let file = Draft { link: Some("west".into()), until_caught_up: Some(true), ..enough() };
        let mirror = flags.or(file).build().unwrap();
        assert_eq!((mirror.link.as_str(), mirror.client_id.as_str()), ("east", "twinlog-east"));
        assert!(mirror.until_caught_up);
        assert_eq!(mirror.buffer_bytes, 256 << 20);
        assert_eq!(mirror.from, StartFrom::Earliest);
    }

    #[test]
    fn the_source_says_where_its_client_is() {
        let file = |rack: &str| {
            let content = format!("bootstrap.servers=c:3\nclient.rack={rack}\n");
            Draft::from_properties("f", &content, ClusterName::Source).unwrap().or(enough())
        };
        let rack = |draft: Draft| draft.build().unwrap().rack;
        assert_eq!((rack(file("eu-1a")), rack(file("")), rack(enough())), (Some("eu-1a".into()), None, None));
        let flag = Draft { rack: Some("eu-1b".into()), ..Draft::default() };
        assert_eq!(rack(flag.or(file("eu-1a"))).as_deref(), Some("eu-1b"));
        let long = file(&"x".repeat(300)).build().unwrap_err();
        assert!(long.0.contains("client.rack") && long.0.contains("broker.rack"), "{long}");
    }

    #[test]
    fn a_properties_file_tells_of_a_cluster_and_flags_win() {
        let file = "bootstrap.servers=c:3\nsecurity.protocol=SSL\nssl.truststore.location=/ca.pem\n";
        let file = Draft::from_properties("f", file, ClusterName::Source).unwrap();
        let draft = Draft { source: text::addresses("d:4").ok(), ..Draft::default() };
        let mirror = draft.or(file.clone()).or(enough()).build().unwrap();
        assert_eq!(mirror.source.bootstrap[0].to_string(), "d:4");
        assert!(mirror.source.security.tls.is_some() && mirror.target.security.tls.is_none());
        assert_eq!(mirror.mover, Mover::Copy);
        assert_eq!(file.or(enough()).build().unwrap().source.bootstrap[0].to_string(), "c:3");
        let bad = Draft::from_properties("f", "bootstrap.servers=c", ClusterName::Source).unwrap_err();
        assert!(bad.0.starts_with("f:1: bootstrap.servers: `c` has no port"), "{bad}");
    }

    #[test]
    fn what_is_missing_or_contradictory_is_named() {
        let missing = Draft { target: None, ..enough() }.build().unwrap_err();
        assert!(missing.0.contains("--target") && missing.0.contains("target.bootstrap"), "{missing}");
        let same = Draft { target: text::addresses("a:1").ok(), ..enough() }.build().unwrap_err();
        assert!(same.0.contains("a:1"), "{same}");
        let odd = |topics: &str, prefix: &str| Draft {
            topics: text::patterns(topics).ok(),
            prefix: Some(prefix.into()),
            dead_letter: Some("e.odd".into()),
            ..enough()
        };
        let mirrored = odd(r"o.*", "e.").build().unwrap_err();
        assert!(mirrored.0.contains("what the mirrored topic odd is called on the target"), "{mirrored}");
        assert!(odd(r"e\.odd", "").build().is_err() && odd("e.odd", "").build().is_err(), "named in full");
        let left_out = odd(".*", "").build().unwrap();
        assert!(left_out.dead_letter.is_some() && odd("o.*", "f.").build().is_ok());
        let small = Draft { buffer_bytes: Some(5), ..enough() }.build().unwrap_err();
        assert!(small.0.contains("buffer-bytes"), "{small}");
        let mut spliced = Draft { mover: Some(Mover::Splice), ..enough() };
        spliced.target_properties.set("security.protocol".into(), "SSL".into(), "t".into());
        assert!(spliced.build().unwrap_err().0.contains("mover splice"));
        let both = Draft { both_directions: text::patterns("t").ok(), prefix: Some("e.".into()), ..enough() };
        assert!(both.build().unwrap_err().0.contains("both-directions"));
        let prefix = Draft { prefix: Some("e/".into()), ..enough() }.build().unwrap_err();
        assert!(prefix.0.starts_with("prefix and rename: `/`"), "{prefix}");
        let deaf = Draft { control_token_file: Some("t".into()), ..enough() }.build().unwrap_err();
        assert!(deaf.0.contains("--listen"), "{deaf}");
        let alone = Draft { parts: Some(4), ..enough() }.build().unwrap_err();
        assert!(alone.0.contains("--instances auto"), "{alone}");
        let shared = Draft { instances: Some(true), ..enough() };
        assert_eq!(shared.clone().build().unwrap().instances.map(|instances| instances.parts), Some(16));
        let many = Draft { parts: Some(100), ..shared.clone() }.build().unwrap_err();
        assert!(many.0.contains("buffer-bytes"), "{many}");
        let ends = Draft { until_caught_up: Some(true), ..shared }.build().unwrap_err();
        assert!(ends.0.contains("until-caught-up"), "{ends}");
        let deletes =
            Draft { deleted_topics: Some(DeletedTopics::Delete), instances: Some(true), ..enough() };
        assert!(deletes.build().unwrap_err().0.contains("use flag"));
        let timeout = Draft { request_timeout_ms: Some(100), ..enough() }.build().unwrap_err();
        assert!(timeout.0.contains("fetch-wait-ms"), "{timeout}");
    }
}
