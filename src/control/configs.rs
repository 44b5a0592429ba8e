//! Topic settings: what is copied to the target, and what on the target stands in the way.
//!
//! The target's topic gets what is set on the source's topic, unchanged but for settings that would make the target rewrite or
//! refuse batches that pass through, or that only make sense where they are. Each deviation is said ([`Copied::notes`]).
//!
//! Nothing is set that the source does not have, so that a comparison finds the two topics alike. In particular
//! `message.timestamp.after.max.ms`, by default 1 h on Kafka 4 and unbounded before, stays as it is: records that far in the
//! future are rare, and a lane that meets one says what to set.

use super::finding::{Finding, Weight};
use crate::config::Oversize;
use kafka_protocol::messages::DescribeConfigsResponse;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use std::collections::BTreeMap;

/// Kafka's `ConfigSource.TOPIC_CONFIG`: set on the topic itself.
const SET_ON_TOPIC: i8 = 1;
/// Kafka's `ConfigSource.DEFAULT_CONFIG`: set nowhere.
const SET_NOWHERE: i8 = 5;
/// Kafka's `ConfigSource.STATIC_BROKER_CONFIG`: from a broker's properties file.
const SET_IN_FILE: i8 = 4;
/// Kafka's resource type of topics, and of brokers.
pub const TOPIC_RESOURCE: i8 = 2;
pub const BROKER_RESOURCE: i8 = 4;

const COMPRESSION: &str = "compression.type";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub const MESSAGE_BYTES: &str = "max.message.bytes";
const OLDEST: &str = "message.timestamp.before.max.ms";
const YOUNGEST: &str = "message.timestamp.after.max.ms";
const CLEANUP: &str = "cleanup.policy";
const IN_SYNC: &str = "min.insync.replicas";
const EXPIRATION: &str = "producer.id.expiration.ms";
/// Who says which replica a consumer reads (KIP-392).
pub const REPLICA_SELECTOR: &str = "replica.selector.class";

/// A topic's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfigs {
    /// Set on the topic itself.
    pub own: BTreeMap<String, String>,
    /// All that are in force there, whoever set them.
    pub effective: BTreeMap<String, String>,
    /// Of `effective`: those that somebody set, on the topic or for a broker.
    pub chosen: BTreeMap<String, String>,
}

impl TopicConfigs {
    /// Reads a DescribeConfigs answer: by topic, its settings or the error code with its message.
    pub fn read(answer: &DescribeConfigsResponse) -> BTreeMap<String, Result<Self, (i16, String)>> {
        let topics = answer.results.iter().filter(|result| result.resource_type == TOPIC_RESOURCE);
        topics.map(|result| (result.resource_name.to_string(), Self::read_one(result))).collect()
    }

    /// Reads what CreateTopics says a topic has now, or would have. None: the brokers do not tell (before Kafka 2.4, or without
    /// DESCRIBE_CONFIGS).
    pub fn of_created(created: &CreatableTopicResult) -> Option<Self> {
        let entries = created.configs.as_ref().filter(|_| created.topic_config_error_code == 0)?;
        let mut configs = Self::default();
        for config in entries.iter().filter(|config| !config.is_sensitive) {
            let Some(value) = &config.value else { continue };
            configs.add(&config.name, value, config.config_source);
        }
        (!configs.effective.is_empty()).then_some(configs)
    }

    /// What is in force of a setting that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.effective.get(name)?.parse().ok()
    }

    fn add(&mut self, name: &str, value: &str, config_source: i8) {
        let (name, value) = (name.to_owned(), value.to_owned());
        if config_source == SET_ON_TOPIC {
            self.own.insert(name.clone(), value.clone());
        }
        if config_source != SET_NOWHERE {
            self.chosen.insert(name.clone(), value.clone());
        }
        self.effective.insert(name, value);
    }

    fn read_one(result: &DescribeConfigsResult) -> Result<Self, (i16, String)> {
        if result.error_code != 0 {
            let message = result.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err((result.error_code, message));
        }
        let mut configs = Self::default();
        for config in result.configs.iter().filter(|config| !config.is_sensitive) {
            let Some(value) = &config.value else { continue };
            configs.add(&config.name, value, config.config_source);
        }
        Ok(configs)
    }
}

/// Settings for a topic to be created, and sentences on where they differ from the source's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub configs: BTreeMap<String, String>,
    pub notes: Vec<String>,
}

/// What to create a topic on the target with.
pub fn for_target(source: &TopicConfigs, replication_factor: i16) -> Copied {
    let mut copied = Copied::default();
    for (name, value) in &source.own {
        let value = match name.as_str() {
            // Names brokers of the source, while replicas are being moved.
            "leader.replication.throttled.replicas" | "follower.replication.throttled.replicas" => continue,
            name if is_tiering(name) => {
                copied
                    .notes
                    .push(format!("{name} is not copied: tiered storage is each cluster's own business"));
                continue;
            }
            // Kafka 4 refuses to create a topic with one of these (KIP-724).
            "message.format.version" | "message.downconversion.enable" => {
                copied.notes.push(format!("{name} is not copied: newer clusters do not have it"));
                continue;
            }
            // The source judged a record when it was new; by the time it is mirrored it may be older than that. (A bound on
            // timestamps in the future is copied: time only makes it easier to meet.) The second one is the older name for
            // both bounds (KIP-937).
            OLDEST | "message.timestamp.difference.max.ms" => {
                copied.notes.push(format!(
                    "{name} is not copied: it would refuse records that grew old before they were mirrored"
                ));
                continue;
            }
            COMPRESSION if value != "producer" => {
                copied.notes.push(format!(
                    "{COMPRESSION} is producer instead of {value}: batches arrive as the source compressed them, and the \
                     target must not compress them anew"
                ));
                "producer".to_owned()
            }
            TIMESTAMP_TYPE if value != "CreateTime" => {
                copied.notes.push(format!(
                    "{TIMESTAMP_TYPE} is CreateTime instead of {value}: records keep the timestamps they have on the source"
                ));
                "CreateTime".to_owned()
            }
            IN_SYNC if value.parse::<i16>().is_ok_and(|least| least > replication_factor) => {
                copied.notes.push(format!(
                    "{IN_SYNC} is {replication_factor} instead of {value}: the topic has no more replicas here"
                ));
                replication_factor.to_string()
            }
            _ => value.clone(),
        };
        copied.configs.insert(name.clone(), value);
    }
    // The brokers' message.max.bytes is no setting of the topic, but the target must take what the source took.
    if let (None, Some(value)) = (source.own.get(MESSAGE_BYTES), source.chosen.get(MESSAGE_BYTES)) {
        copied.notes.push(format!("{MESSAGE_BYTES} is {value}, as the source's brokers are configured"));
        copied.configs.insert(MESSAGE_BYTES.to_owned(), value.clone());
    }
    copied
}

fn is_tiering(name: &str) -> bool {
    name.starts_with("remote.") || name.starts_with("local.retention.")
}

/// What of a target topic's settings stands in the way of a faithful copy. Worth asking for new topics too, as what is not set
/// on a topic comes from its brokers.
pub fn unfit(topic: &str, source: &TopicConfigs, target: &TopicConfigs, oversize: Oversize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |weight, text: String| findings.push(Finding::of_topic(weight, topic, text));
    let on_target = |name: &str| target.effective.get(name).map(String::as_str);
    if let Some(codec) = on_target(COMPRESSION).filter(|codec| *codec != "producer") {
        let text = format!(
            "topic {topic} on the target has {COMPRESSION}={codec}: it compresses batches anew, which costs its CPU; set it to \
             producer"
        );
        say(Weight::Warning, text);
    }
    if let Some(kind) = on_target(TIMESTAMP_TYPE).filter(|kind| *kind != "CreateTime") {
        let text = format!(
            "topic {topic} on the target has {TIMESTAMP_TYPE}={kind}: records lose the timestamps they have on the source; set \
             it to CreateTime"
        );
        say(Weight::Warning, text);
    }
    let number = TopicConfigs::number;
    if let (Some(source_bytes), Some(target_bytes)) =
        (number(source, MESSAGE_BYTES), number(target, MESSAGE_BYTES))
        && target_bytes < source_bytes
    {
        let text = format!(
            "topic {topic} on the target has {MESSAGE_BYTES}={target_bytes}, less than the source's {source_bytes}: "
        );
        let (weight, then) = match oversize {
            Oversize::Split => (
                Weight::Warning,
                "a larger batch is split (--oversize), and a larger record will stop its partition; raise it",
            ),
            Oversize::Raise => (Weight::Note, "it is raised when a larger batch comes (--oversize raise)"),
            Oversize::Halt => {
                (Weight::Warning, "a larger batch will stop its partition (--oversize halt); raise it")
            }
        };
        say(weight, text + then);
    }
    if let Some(bound_ms) = number(target, OLDEST).filter(|bound_ms| *bound_ms != i64::MAX) {
        let text = format!(
            "topic {topic} on the target has {OLDEST}={bound_ms}: a record that is older when it arrives will stop its \
             partition; set it to {}",
            i64::MAX
        );
        say(Weight::Stops, text);
    }
    // Where the source has no such setting (before Kafka 3.6), it takes any timestamp.
    let source_ms = number(source, YOUNGEST).unwrap_or(i64::MAX);
    if let Some(bound_ms) = number(target, YOUNGEST).filter(|bound_ms| *bound_ms < source_ms) {
        let text = format!(
            "topic {topic} on the target has {YOUNGEST}={bound_ms}, less than the source: a record dated further in the future \
             than that, should there be one, will stop its partition"
        );
        say(Weight::Note, text);
    }
    let is_compacted =
        |configs: &TopicConfigs| configs.effective.get(CLEANUP).is_some_and(|all| all.contains("compact"));
    if is_compacted(target) && !is_compacted(source) {
        let text = format!(
            "topic {topic} is compacted on the target and not on the source: records that share a key will vanish, and one \
             without a key will stop its partition; set {CLEANUP} to the source's"
        );
        say(Weight::Stops, text);
    }
    findings
}

/// A broker's `replica.selector.class`, empty where it has none. None when the answer does not tell.
pub fn replica_selector(answer: &DescribeConfigsResponse) -> Option<String> {
    let broker = answer.results.iter().find(|result| result.resource_type == BROKER_RESOURCE)?;
    let config = broker.configs.iter().find(|config| &*config.name == REPLICA_SELECTOR)?;
    Some(config.value.as_ref().map(ToString::to_string).unwrap_or_default())
}

/// A broker's `producer.id.expiration.ms` that is in force while it loads its logs: the one from its properties file, or the
/// default, whatever was set later (exactly once rests on it). None when the answer does not tell.
pub fn producer_id_expiration_ms(answer: &DescribeConfigsResponse) -> Option<i64> {
    let broker = answer.results.iter().find(|result| result.resource_type == BROKER_RESOURCE)?;
    let config = broker.configs.iter().find(|config| &*config.name == EXPIRATION)?;
    let is_static = |source: i8| matches!(source, SET_IN_FILE | SET_NOWHERE);
    // Synonyms come in the order in which they win: the file's before the default.
    let synonym =
        config.synonyms.iter().find(|synonym| is_static(synonym.source)).map(|synonym| &synonym.value);
    let value = synonym.or_else(|| is_static(config.config_source).then_some(&config.value))?;
    value.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsSynonym,
    };
    use kafka_protocol::protocol::StrBytes;

    fn entry(name: &'static str, value: &'static str, source: i8) -> DescribeConfigsResourceResult {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_static_str(value)))
            .with_config_source(source)
    }

    fn answer(resource_type: i8, configs: Vec<DescribeConfigsResourceResult>) -> DescribeConfigsResponse {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource_type)
            .with_resource_name(StrBytes::from_static_str("t"))
            .with_configs(configs);
        DescribeConfigsResponse::default().with_results(vec![result])
    }

    fn configs(entries: Vec<DescribeConfigsResourceResult>) -> TopicConfigs {
        TopicConfigs::read(&answer(TOPIC_RESOURCE, entries)).remove("t").unwrap().unwrap()
    }

    fn pairs(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_set_on_the_topic_is_copied_and_nothing_else() {
        let source = configs(vec![
            entry("retention.ms", "1000", 1),
            entry("cleanup.policy", "compact", 1),
            entry("segment.bytes", "1073741824", 5),
            entry("flush.ms", "7", 4),
            entry("leader.replication.throttled.replicas", "0:1", 1),
        ]);
        let copied = for_target(&source, 3);
        assert_eq!(copied.configs, pairs(&[("retention.ms", "1000"), ("cleanup.policy", "compact")]));
        assert_eq!(copied.notes, Vec::<String>::new());
    }

    #[test]
    fn what_would_rewrite_or_refuse_batches_is_changed_and_said() {
        let source = configs(vec![
            entry("compression.type", "zstd", 1),
            entry("message.timestamp.type", "LogAppendTime", 1),
            entry("min.insync.replicas", "2", 1),
            entry("remote.storage.enable", "true", 1),
            entry("max.message.bytes", "9000000", 4),
        ]);
        let copied = for_target(&source, 1);
        let expected = [
            ("compression.type", "producer"),
            ("message.timestamp.type", "CreateTime"),
            ("min.insync.replicas", "1"),
            ("max.message.bytes", "9000000"),
        ];
        assert_eq!(copied.configs, pairs(&expected));
        assert_eq!(copied.notes.len(), 5);
        assert_eq!(for_target(&source, 2).configs["min.insync.replicas"], "2");
    }

    #[test]
    fn an_existing_topic_that_does_not_fit_is_told() {
        let target = configs(vec![
            entry("compression.type", "gzip", 1),
            entry("message.timestamp.type", "CreateTime", 5),
            entry("max.message.bytes", "1000", 5),
        ]);
        let source = configs(vec![entry("max.message.bytes", "2000", 5)]);
        let sentences = unfit("t", &source, &target, Oversize::Split);
        assert_eq!(sentences.len(), 2, "{sentences:?}");
        assert_eq!((sentences[0].weight, sentences[1].weight), (Weight::Warning, Weight::Warning));
        assert!(sentences[1].text.contains("max.message.bytes=1000, less than the source's 2000"));
        let raised = &unfit("t", &source, &target, Oversize::Raise)[1];
        assert!(raised.weight == Weight::Note && raised.text.contains("it is raised when"), "{raised:?}");
        assert!(unfit("t", &target, &source, Oversize::Raise).is_empty());
    }

    #[test]
    fn what_refuses_old_records_or_is_gone_from_newer_clusters_stays_behind() {
        let source = configs(vec![
            entry("message.timestamp.before.max.ms", "3600000", 1),
            entry("message.timestamp.after.max.ms", "60000", 1),
            entry("message.timestamp.difference.max.ms", "3600000", 1),
            entry("message.format.version", "2.8-IV1", 1),
            entry("message.downconversion.enable", "false", 1),
        ]);
        let copied = for_target(&source, 1);
        assert_eq!(copied.configs, pairs(&[("message.timestamp.after.max.ms", "60000")]));
        assert_eq!(copied.notes.len(), 4);
    }

    #[test]
    fn a_target_that_loses_or_refuses_records_is_told() {
        let source = configs(vec![
            entry("cleanup.policy", "delete", 5),
            entry("message.timestamp.before.max.ms", "9223372036854775807", 5),
        ]);
        let target = configs(vec![
            entry("cleanup.policy", "compact,delete", 1),
            entry("message.timestamp.before.max.ms", "5", 4),
            entry("message.timestamp.after.max.ms", "3600000", 5),
        ]);
        let weights: Vec<Weight> =
            unfit("t", &source, &target, Oversize::Split).iter().map(|finding| finding.weight).collect();
        assert_eq!(weights, [Weight::Stops, Weight::Note, Weight::Stops]);
        assert!(unfit("t", &target, &source, Oversize::Split).is_empty());
        assert!(unfit("t", &source, &source, Oversize::Split).is_empty());
    }

    #[test]
    fn a_topic_that_may_not_be_described_is_an_error_of_its_own() {
        let mut refused = answer(TOPIC_RESOURCE, vec![]);
        refused.results[0].error_code = 29;
        assert_eq!(TopicConfigs::read(&refused)["t"], Err((29, String::new())));
    }

    #[test]
    fn the_static_expiration_counts_not_the_one_set_later() {
        let synonym = |value: &'static str, source: i8| {
            DescribeConfigsSynonym::default()
                .with_value(Some(StrBytes::from_static_str(value)))
                .with_source(source)
        };
        let later = entry(EXPIRATION, "2147483647", 2).with_synonyms(vec![
            synonym("2147483647", 2),
            synonym("60000", 4),
            synonym("86400000", 5),
        ]);
        assert_eq!(producer_id_expiration_ms(&answer(BROKER_RESOURCE, vec![later])), Some(60_000));
        let plain = entry(EXPIRATION, "86400000", 5);
        assert_eq!(producer_id_expiration_ms(&answer(BROKER_RESOURCE, vec![plain])), Some(86_400_000));
        let unclear = entry(EXPIRATION, "5", 2);
        assert_eq!(producer_id_expiration_ms(&answer(BROKER_RESOURCE, vec![unclear])), None);
        assert_eq!(producer_id_expiration_ms(&answer(BROKER_RESOURCE, vec![])), None);
    }
}
