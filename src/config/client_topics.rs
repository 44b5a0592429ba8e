//! The topics that MirrorMaker 2's client library reads (`connect-mirror-client`: `RemoteClusterUtils`, `MirrorClient`):
//! checkpoints of consumer groups, and heartbeats. Names are those of Kafka's `DefaultReplicationPolicy`, and of its
//! `IdentityReplicationPolicy`, which are the same here.

use super::names::check_topic_name;
use super::{ConfigError, Draft, MetricsNames, text};
use regex::Regex;

const SEPARATOR: &str = ".";
const HEARTBEATS: &str = "heartbeats";

/// Whether somebody set a key, and the key.
type Setting = (bool, &'static str);

/// Which heartbeats there are. Each is a record with both aliases and the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeats {
    /// The link's, from source to target, into the target's topic of heartbeats.
    pub target: bool,
    /// Those of the way back, which may have no link, into the source's.
    pub source: bool,
    /// What the source's topics of heartbeats get goes to topics of the target that have the source's alias in front, which is
    /// where `RemoteClusterUtils.upstreamClusters` finds the clusters.
    pub relay: bool,
}

impl Heartbeats {
    pub const ALL: Self = Self { target: true, source: true, relay: true };

    pub fn are_any(self) -> bool {
        self != Self::default()
    }
}

/// What is written for MirrorMaker 2's clients.
#[derive(Clone, Debug)]
pub struct ClientTopics {
    /// What clients call the two clusters; empty where nothing is written.
    pub source_alias: String,
    pub target_alias: String,
    /// What stands between an alias and the name of a topic of heartbeats.
    pub separator: String,
    /// Groups of the source whose positions are written, and which of them are not. The groups themselves stay as they are.
    pub checkpoints: Vec<Regex>,
    pub checkpoints_exclude: Vec<Regex>,
    pub checkpoints_topic: String,
    pub checkpoints_interval_ms: u64,
    /// Of the topic, if it is created. None: three, or as many as there are brokers.
    pub checkpoints_replication_factor: Option<i16>,
    pub heartbeats: Heartbeats,
    pub heartbeats_topic: String,
    pub heartbeats_interval_ms: u64,
    /// As for checkpoints, on either cluster.
    pub heartbeats_replication_factor: Option<i16>,
}

/// MirrorMaker's metrics are to be served, which name the clusters, too.
fn wants_metrics(draft: &Draft) -> bool {
    draft.metrics_names.is_some_and(MetricsNames::are_mirror_makers)
}

impl ClientTopics {
    /// What a draft says of them, with defaults.
    ///
    /// # Errors
    /// What is missing, or cannot be the name of a topic.
    pub(super) fn of(draft: &Draft) -> Result<Self, ConfigError> {
        let separator = draft.alias_separator.clone().unwrap_or_else(|| SEPARATOR.into());
        // Of a flow that writes nothing for clients only metrics say them.
        let wants_metrics = wants_metrics(draft);
        let flow = draft.flow.clone().filter(|_| wants_metrics);
        let [from, to] = flow.unwrap_or_default();
        let source_alias = draft.source_alias.clone().unwrap_or(from);
        let topics = Self {
            checkpoints_topic: draft
                .checkpoints_topic
                .clone()
                .unwrap_or_else(|| format!("{source_alias}{separator}checkpoints{separator}internal")),
            source_alias,
            target_alias: draft.target_alias.clone().unwrap_or(to),
            separator,
            checkpoints: draft.checkpoints.clone().unwrap_or_default(),
            checkpoints_exclude: draft.checkpoints_exclude.clone().unwrap_or_default(),
            checkpoints_interval_ms: draft.checkpoints_interval_ms.unwrap_or(5_000),
            checkpoints_replication_factor: draft.checkpoints_replication_factor,
            heartbeats: draft.heartbeats.unwrap_or_default(),
            heartbeats_topic: draft.heartbeats_topic.clone().unwrap_or_else(|| HEARTBEATS.into()),
            heartbeats_interval_ms: draft.heartbeats_interval_ms.unwrap_or(1_000),
            heartbeats_replication_factor: draft.heartbeats_replication_factor,
        };
        topics.check(draft).map_err(ConfigError)?;
        Ok(topics)
    }

    /// A setting of something that nobody said is to be written, or is not.
    fn idle(draft: &Draft) -> Option<(&'static str, &'static str)> {
        let wants_metrics = wants_metrics(draft);
        const ANY: &str = "--checkpoints REGEX or --heartbeats all";
        let of_any = [
            (draft.source_alias.is_some() && !wants_metrics, "source-alias"),
            (draft.target_alias.is_some() && !wants_metrics, "target-alias"),
            (draft.alias_separator.is_some(), "alias-separator"),
        ];
        let of_checkpoints = [
            (draft.checkpoints_exclude.is_some(), "checkpoints-exclude"),
            (draft.checkpoints_topic.is_some(), "checkpoints-topic"),
            (draft.checkpoints_interval_ms.is_some(), "checkpoints-interval-ms"),
            (draft.checkpoints_replication_factor.is_some(), "checkpoints-replication-factor"),
        ];
        let of_heartbeats = [
            (draft.heartbeats_topic.is_some(), "heartbeats-topic"),
            (draft.heartbeats_interval_ms.is_some(), "heartbeats-interval-ms"),
            (draft.heartbeats_replication_factor.is_some(), "heartbeats-replication-factor"),
        ];
        let all: [(bool, &[Setting], &'static str); 3] = [
            (draft.checkpoints.is_none() && draft.heartbeats.is_none(), &of_any, ANY),
            (draft.checkpoints.is_none(), &of_checkpoints, "--checkpoints REGEX"),
            (draft.heartbeats.is_none(), &of_heartbeats, "--heartbeats all"),
        ];
        let idle = all.into_iter().filter(|(is_unsaid, ..)| *is_unsaid);
        idle.flat_map(|(_, settings, flags)| settings.iter().map(move |setting| (setting, flags)))
            .find_map(|((is_set, key), flags)| is_set.then_some((*key, flags)))
    }

    fn check(&self, draft: &Draft) -> Result<(), String> {
        if let Some((key, flags)) = Self::idle(draft) {
            return Err(format!(
                "{key} is for what MirrorMaker 2's clients look for, and that is not written; add {flags}"
            ));
        }
        let wants_metrics = wants_metrics(draft);
        if !self.are_written() && !wants_metrics {
            return Ok(());
        }
        for (alias, flag) in [(&self.source_alias, "source-alias"), (&self.target_alias, "target-alias")] {
            if alias.is_empty() {
                return Err(format!(
                    "checkpoints, heartbeats and MirrorMaker's metrics name the clusters by aliases; add --{flag} NAME, the one \
                     that MirrorMaker 2's clients ask for"
                ));
            }
        }
        if self.source_alias == self.target_alias {
            return Err(format!("source-alias and target-alias are both {}", self.source_alias));
        }
        if !self.are_written() {
            return Ok(());
        }
        if self.checkpoints_interval_ms == 0 || self.heartbeats_interval_ms == 0 {
            return Err("checkpoints-interval-ms and heartbeats-interval-ms must be more than 0".into());
        }
        let relayed = format!("{}{}{}", self.source_alias, self.separator, self.heartbeats_topic);
        for name in [&self.checkpoints_topic, &self.heartbeats_topic, &relayed] {
            check_topic_name(name)?;
        }
        Ok(())
    }

    /// The same with nothing written.
    pub fn silent(&self) -> Self {
        Self { checkpoints: Vec::new(), heartbeats: Heartbeats::default(), ..self.clone() }
    }

    /// Whether anything is written at all.
    pub fn are_written(&self) -> bool {
        !self.checkpoints.is_empty() || self.heartbeats.are_any()
    }

    /// Whether the group's positions are written.
    pub fn has_checkpoints_of(&self, group: &str) -> bool {
        let is_in = |list: &[Regex]| list.iter().any(|pattern| pattern.is_match(group));
        is_in(&self.checkpoints) && !is_in(&self.checkpoints_exclude)
    }

    /// What the target calls a topic of heartbeats of the source (`ReplicationPolicy.formatRemoteTopic`). None: it is no such topic
    /// (`isHeartbeatsTopic`), or its heartbeats came from the target (`MirrorSourceConnector.isCycle`).
    pub fn relayed(&self, topic: &str) -> Option<String> {
        let Self { separator, heartbeats_topic, source_alias, target_alias, .. } = self;
        let before = topic.strip_suffix(heartbeats_topic.as_str())?;
        let is_heartbeats = before.is_empty() || before.ends_with(separator.as_str());
        let is_kept_back = topic.starts_with("__") || topic.starts_with('.');
        let is_cycle =
            format!("{separator}{before}").contains(&format!("{separator}{target_alias}{separator}"));
        (is_heartbeats && !is_kept_back && !is_cycle).then(|| format!("{source_alias}{separator}{topic}"))
    }

    /// Patterns of topics that are never mirrored with records beside them, since each cluster has its own: heartbeats, which are
    /// relayed if at all, checkpoints, and MirrorMaker's offset syncs.
    pub(super) fn never(&self) -> Vec<Regex> {
        if !self.are_written() {
            return Vec::new();
        }
        let heartbeats =
            format!("(?:.*{})?{}", regex::escape(&self.separator), regex::escape(&self.heartbeats_topic));
        let checkpoints = match self.checkpoints_topic.strip_prefix(&self.source_alias) {
            Some(suffix) => format!(".*{}", regex::escape(suffix)),
            None => regex::escape(&self.checkpoints_topic),
        };
        let patterns = [heartbeats, checkpoints, r"mm2-offset-syncs\..*\.internal".to_owned()];
        // Each is made of quoted names.
        patterns.iter().filter_map(|pattern| text::pattern(pattern).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            source: text::addresses("a:1").ok(),
            target: text::addresses("b:1").ok(),
            topics: text::patterns(".*").ok(),
            checkpoints: text::patterns("g.*").ok(),
            heartbeats: Some(Heartbeats::ALL),
            source_alias: Some("east".into()),
            target_alias: Some("west".into()),
            ..Draft::default()
        }
    }

    fn topics(draft: &Draft) -> ClientTopics {
        ClientTopics::of(draft).unwrap()
    }

    #[test]
    fn names_are_those_of_mirror_makers_policies() {
        let default = topics(&draft());
        assert_eq!(default.checkpoints_topic, "east.checkpoints.internal");
        assert_eq!(default.relayed("heartbeats").as_deref(), Some("east.heartbeats"));
        assert_eq!(default.relayed("north.heartbeats").as_deref(), Some("east.north.heartbeats"));
        for none in [
            "west.heartbeats",
            "north.west.heartbeats",
            "west.north.heartbeats",
            "xheartbeats",
            "orders",
            ".heartbeats",
        ] {
            assert_eq!(default.relayed(none), None, "{none}");
        }
        assert_eq!(default.relayed("northwest.heartbeats").as_deref(), Some("east.northwest.heartbeats"));
        let other = topics(&Draft { alias_separator: Some("_".into()), ..draft() });
        assert_eq!(other.checkpoints_topic, "east_checkpoints_internal");
        assert_eq!(other.relayed("north_heartbeats").as_deref(), Some("east_north_heartbeats"));
        assert_eq!(other.relayed("north.heartbeats"), None);
    }

    #[test]
    fn what_each_cluster_has_of_its_own_is_not_mirrored() {
        let mirror = draft().build().unwrap();
        let is_out = |name: &str| mirror.exclude.iter().any(|pattern| pattern.is_match(name));
        for name in [
            "heartbeats",
            "north.heartbeats",
            "east.checkpoints.internal",
            "north.checkpoints.internal",
            "mm2-offset-syncs.west.internal",
        ] {
            assert!(is_out(name), "{name}");
        }
        assert!(!is_out("orders") && !is_out("device-heartbeats") && !is_out("checkpoints"));
        let off =
            Draft { checkpoints: None, heartbeats: None, source_alias: None, target_alias: None, ..draft() };
        assert!(off.build().unwrap().exclude.is_empty());
    }

    #[test]
    fn groups_are_chosen_by_name() {
        let topics = topics(&Draft { checkpoints_exclude: text::patterns("gx").ok(), ..draft() });
        assert!(topics.has_checkpoints_of("g1") && topics.are_written());
        assert!(!topics.has_checkpoints_of("gx") && !topics.has_checkpoints_of("h"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |draft: Draft| draft.build().unwrap_err().0;
        assert!(refused(Draft { source_alias: None, ..draft() }).contains("--source-alias"));
        assert!(refused(Draft { target_alias: None, ..draft() }).contains("--target-alias"));
        assert!(refused(Draft { target_alias: Some("east".into()), ..draft() }).contains("are both east"));
        assert!(refused(Draft { heartbeats_interval_ms: Some(0), ..draft() }).contains("more than 0"));
        let long = "x".repeat(300);
        assert!(refused(Draft { heartbeats_topic: Some(long), ..draft() }).contains("249"));
        let idle = Draft { checkpoints: None, checkpoints_interval_ms: Some(5), ..draft() };
        assert!(refused(idle).contains("checkpoints-interval-ms is for"));
        let metrics = Draft {
            metrics_names: Some(MetricsNames::Both),
            listen: "127.0.0.1:1".parse().ok(),
            checkpoints: None,
            heartbeats: None,
            ..draft()
        };
        let built = metrics.clone().build().unwrap();
        assert_eq!((built.client_topics.are_written(), built.exclude.len()), (false, 0));
        assert!(refused(Draft { listen: None, ..metrics.clone() }).contains("--listen"));
        let nameless = Draft { source_alias: None, target_alias: None, ..metrics };
        assert!(refused(nameless.clone()).contains("--source-alias"));
        let flow = Draft { flow: Some(["a".into(), "b".into()]), ..nameless };
        assert_eq!(flow.build().unwrap().client_topics.target_alias, "b");
        let idle = Draft { checkpoints: None, heartbeats: None, ..draft() };
        assert!(refused(idle).starts_with("source-alias is for what MirrorMaker 2's clients look for"));
    }
}
