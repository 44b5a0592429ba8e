//! The configs that the synthetic cluster knows, for topics and for brokers, with Kafka's defaults where it has them.

use std::collections::BTreeMap;

/// A topic's configs: what was set, over the defaults.
#[derive(Clone, Debug, Default)]
pub struct TopicConfig {
    set: BTreeMap<String, String>,
}

/// Kafka's `ConfigDef.Type` as DescribeConfigs numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// (name, default, type) of every topic config that is known; more are stored than have an effect, as a mirror copies them.
pub const TOPIC_CONFIGS: &[(&str, &str, Kind)] = &[
    ("cleanup.policy", "delete", Kind::List),
    ("compression.type", "producer", Kind::String),
    ("delete.retention.ms", "86400000", Kind::Long),
    ("file.delete.delay.ms", "60000", Kind::Long),
    ("flush.messages", "9223372036854775807", Kind::Long),
    ("flush.ms", "9223372036854775807", Kind::Long),
    ("index.interval.bytes", "4096", Kind::Int),
    ("max.compaction.lag.ms", "9223372036854775807", Kind::Long),
    ("max.message.bytes", "1048588", Kind::Int),
    ("message.timestamp.after.max.ms", "3600000", Kind::Long),
    ("message.timestamp.before.max.ms", "9223372036854775807", Kind::Long),
    ("message.timestamp.type", "CreateTime", Kind::String),
    ("min.cleanable.dirty.ratio", "0.5", Kind::Double),
    ("min.compaction.lag.ms", "0", Kind::Long),
    ("min.insync.replicas", "1", Kind::Int),
    ("preallocate", "false", Kind::Boolean),
    ("retention.bytes", "-1", Kind::Long),
    ("retention.ms", "-1", Kind::Long),
    ("segment.bytes", "1073741824", Kind::Int),
    ("segment.index.bytes", "10485760", Kind::Int),
    ("segment.jitter.ms", "0", Kind::Long),
    ("segment.ms", "604800000", Kind::Long),
    ("unclean.leader.election.enable", "false", Kind::Boolean),
];

impl TopicConfig {
    /// Sets one config.
    ///
    /// # Errors
    /// A sentence for the user: the config is unknown, or the value is not one it can have.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some(&(_, _, kind)) = TOPIC_CONFIGS.iter().find(|(known, _, _)| *known == name) else {
            return Err(format!("Unknown topic config name: {name}"));
        };
        let fits = match (name, kind) {
            ("cleanup.policy", _) => {
                value.split(',').all(|policy| matches!(policy.trim(), "delete" | "compact"))
            }
            ("compression.type", _) => value == "producer",
            ("message.timestamp.type", _) => matches!(value, "CreateTime" | "LogAppendTime"),
            (_, Kind::Boolean) => value.parse::<bool>().is_ok(),
            (_, Kind::Int) => value.parse::<i32>().is_ok(),
            (_, Kind::Long) => value.parse::<i64>().is_ok(),
            (_, Kind::Double) => value.parse::<f64>().is_ok(),
            (_, Kind::String | Kind::List) => true,
        };
        if !fits {
            let hint = if name == "compression.type" {
                ": a synthetic cluster stores batches as they were produced, so only `producer` will do"
            } else {
                ""
            };
            return Err(format!("Invalid value {value} for configuration {name}{hint}"));
        }
        self.set.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Goes back to the default.
    pub fn unset(&mut self, name: &str) {
        self.set.remove(name);
    }

    /// The value in force, empty for an unknown config.
    pub fn get(&self, name: &str) -> &str {
        self.set.get(name).map_or_else(|| default_of(name), String::as_str)
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    pub fn max_message_bytes(&self) -> usize {
        usize::try_from(self.number("max.message.bytes")).unwrap_or(0)
    }

    /// Whether a batch whose records carry these timestamps may be stored at `wall_ms` (`LogValidator.validateTimestamp`,
    /// judged by the batch's bounds).
    pub fn accepts_timestamps(&self, base_ms: i64, max_ms: i64, wall_ms: i64) -> bool {
        if max_ms < 0 {
            return true;
        }
        let before_max_ms = self.number("message.timestamp.before.max.ms");
        let after_max_ms = self.number("message.timestamp.after.max.ms");
        wall_ms.saturating_sub(base_ms.min(max_ms)) <= before_max_ms
            && max_ms.saturating_sub(wall_ms) <= after_max_ms
    }

    pub fn stamps_append_time(&self) -> bool {
        self.get("message.timestamp.type") == "LogAppendTime"
    }

    /// Whether old records must stay, as the newest of each key is what the topic is for.
    pub fn is_compacted(&self) -> bool {
        self.get("cleanup.policy").split(',').any(|policy| policy.trim() == "compact")
    }

    /// None: no bound.
    pub fn retention_bytes(&self) -> Option<usize> {
        usize::try_from(self.number("retention.bytes")).ok()
    }

    /// None: no bound.
    pub fn retention_ms(&self) -> Option<i64> {
        Some(self.number("retention.ms")).filter(|&ms| ms >= 0)
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or(-1)
    }
}

fn default_of(name: &str) -> &'static str {
    TOPIC_CONFIGS.iter().find(|(known, _, _)| *known == name).map_or("", |&(_, default, _)| default)
}
