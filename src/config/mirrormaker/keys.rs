//! MirrorMaker 2's keys, but for those of Kafka's clients, and what becomes of each. Names and defaults are those of Kafka's
//! `MirrorConnectorConfig`, its children, and Kafka Connect's `WorkerConfig` and `ConnectorConfig`.

/// One key, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// A name that ends in a dot stands for all that begin with it.
    pub name: &'static str,
    /// None: it has none, or one that says nothing here.
    pub default: Option<&'static str>,
    pub fate: Fate,
    /// What it becomes, or why nothing.
    pub text: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It becomes a setting, or part of one.
    Used,
    /// Nothing is lost with it.
    Unused,
    /// What it asks for is not done here.
    NotDone,
    /// A Java class, which is refused unless it is one of these.
    Class(&'static [&'static str]),
    /// Refused unless it is empty.
    Refused,
}

pub const DEFAULT_POLICY: &str = "org.apache.kafka.connect.mirror.DefaultReplicationPolicy";
pub const IDENTITY_POLICIES: [&str; 2] = [
    "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
    "io.strimzi.kafka.connect.mirror.IdentityReplicationPolicy",
];
const BYTES: &[&str] = &["org.apache.kafka.connect.converters.ByteArrayConverter"];

const fn used(name: &'static str, default: &'static str, text: &'static str) -> Key {
    Key { name, default: Some(default), fate: Fate::Used, text }
}

const fn unused(name: &'static str, text: &'static str) -> Key {
    Key { name, default: None, fate: Fate::Unused, text }
}

const fn not_done(name: &'static str, default: &'static str, text: &'static str) -> Key {
    Key { name, default: Some(default), fate: Fate::NotDone, text }
}

const fn class(name: &'static str, known: &'static [&'static str], text: &'static str) -> Key {
    Key { name, default: None, fate: Fate::Class(known), text }
}

const fn refused(name: &'static str, text: &'static str) -> Key {
    Key { name, default: None, fate: Fate::Refused, text }
}

/// Those that stand without a scope or in that of a flow, `A->B.`.
pub const FLOW: &[Key] = &[
    used("enabled", "false", "a flow that is enabled is a link; several run side by side in one process"),
    used("topics", ".*", "mirror.topics"),
    used(
        "topics.exclude",
        ".*[\\-\\.]internal, .*\\.replica, __.*",
        "mirror.exclude, together with what MirrorMaker never mirrors: internal topics, its own heartbeats, and with prefixes what \
         came from the target",
    ),
    used("topics.blacklist", "", "the name that topics.exclude had before Kafka 2.7"),
    used(
        "groups",
        ".*",
        "mirror.checkpoints, if emit.checkpoints.enabled is true, and mirror.groups, if sync.group.offsets.enabled is",
    ),
    used(
        "groups.exclude",
        "console-consumer-.*, connect-.*, __.*",
        "mirror.checkpoints-exclude and mirror.groups-exclude, as with groups",
    ),
    used("groups.blacklist", "", "the name that groups.exclude had before Kafka 2.7"),
    used("replication.factor", "2", "mirror.replication-factor; unless it is set, topics get the source's"),
    used(
        "replication.policy.class",
        "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
        "mirror.prefix: with DefaultReplicationPolicy ALIAS and separator, with IdentityReplicationPolicy none",
    ),
    used(
        "replication.policy.separator",
        ".",
        "what stands behind the alias in mirror.prefix; mirror.alias-separator",
    ),
    used(
        "replication.policy.internal.topic.separator.enabled",
        "true",
        "whether topics that end in separator and `internal` are left out, too; the name of mirror.checkpoints-topic",
    ),
    used(
        "source.cluster.alias",
        "the source's name",
        "what mirror.prefix begins with, and mirror.source-alias",
    ),
    used(
        "target.cluster.alias",
        "the target's name",
        "topics with this prefix came from the target and are left out; mirror.target-alias",
    ),
    used("sync.topic.configs.enabled", "true", "mirror.sync-topic-configs"),
    used("sync.topic.configs.interval.seconds", "600", "mirror.topic-configs-interval-ms"),
    used(
        "sync.group.offsets.enabled",
        "false",
        "mirror.groups and mirror.groups-exclude; positions are exact, not samples",
    ),
    used("sync.group.offsets.interval.seconds", "60", "mirror.groups-interval-ms"),
    used("refresh.topics.interval.seconds", "600", "mirror.metadata-refresh-ms"),
    used(
        "config.properties.exclude",
        "follower\\.replication\\.throttled\\.replicas, leader\\.replication\\.throttled\\.replicas, \
         message\\.timestamp\\.difference\\.max\\.ms, message\\.timestamp\\.type, unclean\\.leader\\.election\\.enable, \
         min\\.insync\\.replicas",
        "mirror.sync-topic-configs = false: Twinlog chooses by itself which settings fit the target, and with a list of your own \
         it sets them only when it creates a topic",
    ),
    used("config.properties.blacklist", "", "the name that config.properties.exclude had before Kafka 2.7"),
    not_done("refresh.topics.enabled", "true", "new topics and partitions are always followed"),
    used(
        "sync.topic.acls.enabled",
        "true",
        "mirror.sync-acls = readers: who may read a topic may read its twin",
    ),
    used(
        "sync.topic.acls.interval.seconds",
        "600",
        "mirror.topic-configs-interval-ms, unless sync.topic.configs.interval.seconds says otherwise",
    ),
    unused("refresh.groups.enabled", "groups are looked for in every round of mirror.groups-interval-ms"),
    unused(
        "refresh.groups.interval.seconds",
        "groups are looked for in every round of mirror.groups-interval-ms",
    ),
    used(
        "emit.checkpoints.enabled",
        "true",
        "mirror.checkpoints and mirror.checkpoints-exclude: the groups' positions for RemoteClusterUtils, exact, not samples",
    ),
    used(
        "emit.checkpoints.interval.seconds",
        "60",
        "mirror.checkpoints-interval-ms; unless it is set, 5 seconds",
    ),
    used("checkpoints.topic.replication.factor", "3", "mirror.checkpoints-replication-factor"),
    used(
        "emit.heartbeats.enabled",
        "true",
        "mirror.heartbeats: `target`; of the way back, where no flow is enabled, `source`",
    ),
    used("emit.heartbeats.interval.seconds", "1", "mirror.heartbeats-interval-ms"),
    used("heartbeats.topic.replication.factor", "3", "mirror.heartbeats-replication-factor"),
    used(
        "heartbeats.replication.enabled",
        "true",
        "mirror.heartbeats: `relay`, to topics with the source's alias in front",
    ),
    used("default.replication.policy.heartbeats.topic.name", "heartbeats", "mirror.heartbeats-topic"),
    unused(
        "emit.offset-syncs.enabled",
        "offsets are the same or mapped exactly, so there are no offset syncs",
    ),
    unused("offset-syncs.", "offsets are the same or mapped exactly, so there are no offset syncs"),
    unused("offset.lag.max", "offsets are the same or mapped exactly, so there are no offset syncs"),
    not_done(
        "use.defaults.from",
        "target",
        "as with `target`: settings that the source does not have stay the target's",
    ),
    unused("use.incremental.alter.configs", "settings are changed one by one (IncrementalAlterConfigs)"),
    unused("consumer.poll.timeout.ms", "nothing is polled"),
    unused("admin.timeout.ms", "mirror.request-timeout-ms bounds every request"),
    unused("add.source.alias.to.metrics", "metrics are Prometheus': see `--listen`"),
    class(
        "topic.filter.class",
        &["org.apache.kafka.connect.mirror.DefaultTopicFilter"],
        "say with topics and topics.exclude what it chooses",
    ),
    class(
        "group.filter.class",
        &["org.apache.kafka.connect.mirror.DefaultGroupFilter"],
        "say with groups and groups.exclude what it chooses",
    ),
    class(
        "config.property.filter.class",
        &["org.apache.kafka.connect.mirror.DefaultConfigPropertyFilter"],
        "leave it out, and set sync.topic.configs.enabled=false if settings are not to be kept in step",
    ),
    class(
        "forwarding.admin.class",
        &["org.apache.kafka.clients.admin.ForwardingAdmin"],
        "leave it out; topics that must be created elsewhere can be there before the mirror starts",
    ),
    // Kafka Connect's, of any connector.
    unused("name", "there is no Connect"),
    unused("connector.class", "there is no Connect"),
    unused("connector.plugin.version", "there is no Connect"),
    unused("metric.names.formats", "metrics are Prometheus': see `--listen`"),
    unused("tasks.max", "a link runs on all cores, one thread each: `--cores` takes a list"),
    unused("tasks.max.enforce", "a link runs on all cores, one thread each"),
    unused("task.", "there is no Connect"),
    unused("exactly.once.support", "every record arrives exactly once, always"),
    unused(
        "transaction.boundary",
        "every record arrives exactly once; transactions are used where they are needed",
    ),
    unused(
        "transaction.boundary.interval.ms",
        "transactions are used where they are needed, for about a second each",
    ),
    unused("offsets.storage.topic", "progress is kept in the topic __twinlog.LINK on the target"),
    class("key.converter", BYTES, "leave it out; bytes pass as they are"),
    class("value.converter", BYTES, "leave it out; bytes pass as they are"),
    class("header.converter", BYTES, "leave it out; bytes pass as they are"),
    unused("key.converter.", "bytes pass as they are"),
    unused("value.converter.", "bytes pass as they are"),
    unused("header.converter.", "bytes pass as they are"),
    refused(
        "transforms",
        "Connect's transforms are Java; say with [[transform]] what is to be changed: README, Changing records",
    ),
    unused("transforms.", "it belongs to `transforms`"),
    refused(
        "predicates",
        "Connect's predicates are Java; say with [[transform]] what is to be changed: README, Changing records",
    ),
    unused("predicates.", "it belongs to `predicates`"),
    unused(
        "errors.",
        "a partition that cannot go on stops, with the reason, and the others go on; see mirror.dead-letter",
    ),
    unused("config.action.reload", "placeholders are filled in once, at the start"),
    not_done("topic.creation.", "", "topics are created with the source's partitions and settings"),
];

/// Those of the process and of Connect's workers, without a scope or in that of a cluster, `B.`.
pub const WORKER: &[Key] = &[
    used("clusters", "", "the names that other keys begin with"),
    used("config.providers", "", "names of what fills ${NAME:…} in: files, directories, the environment"),
    used(
        "config.providers.",
        "",
        "the class of a provider: FileConfigProvider, DirectoryConfigProvider, EnvVarConfigProvider",
    ),
    unused(
        "exactly.once.source.support",
        "every record arrives exactly once, always: README, How exactness works, and when",
    ),
    unused("offset.storage.", "progress is kept in the topic __twinlog.LINK on the target"),
    unused("offset.flush.", "progress is kept in the topic __twinlog.LINK on the target, when it is needed"),
    unused("config.storage.", "there is no Connect"),
    unused("status.storage.", "there is no Connect"),
    unused(
        "dedicated.mode.enable.internal.rest",
        "there is no Connect; `--listen` serves metrics and health",
    ),
    unused("listeners", "there is no Connect; `--listen` serves metrics and health"),
    unused("listeners.", "there is no Connect; `--listen` serves metrics and health"),
    unused("admin.listeners", "there is no Connect; `--listen` serves metrics and health"),
    unused("admin.listeners.", "there is no Connect; `--listen` serves metrics and health"),
    unused("rest.", "there is no Connect; `--listen` serves metrics and health"),
    unused("response.http.headers.config", "there is no Connect"),
    unused("access.control.allow.", "there is no Connect"),
    unused("connect.protocol", "there is no Connect"),
    unused("connector.client.config.override.policy", "there is no Connect"),
    unused("inter.worker.", "there is no Connect"),
    unused("plugin.", "there is no Connect, and there are no plug-ins"),
    unused("rebalance.timeout.ms", "there is no Connect; a second instance takes the link over"),
    unused("scheduled.rebalance.max.delay.ms", "there is no Connect; a second instance takes the link over"),
    unused("task.shutdown.graceful.timeout.ms", "there is no Connect"),
    unused("topic.creation.enable", "topics are created with the source's partitions and settings"),
    unused("topic.tracking.", "there is no Connect"),
    unused("worker.", "there is no Connect"),
    unused("internal.key.converter", "there is no Connect"),
    unused("internal.value.converter", "there is no Connect"),
];

/// The key of this name. Exact names count before those that stand for many.
pub fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    let exact = keys.iter().find(|key| key.name == name);
    exact.or_else(|| keys.iter().find(|key| key.name.ends_with('.') && name.starts_with(key.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_once() {
        for keys in [FLOW, WORKER] {
            for (index, key) in keys.iter().enumerate() {
                assert_eq!(find(keys, key.name).map(|found| found.text), Some(key.text), "{}", key.name);
                assert!(keys[..index].iter().all(|other| other.name != key.name), "{} twice", key.name);
            }
        }
        assert_eq!(find(FLOW, "offset-syncs.topic.location").unwrap().name, "offset-syncs.");
        assert_eq!(find(WORKER, "topic.creation.enable").unwrap().name, "topic.creation.enable");
        assert!(find(FLOW, "topcis").is_none());
    }
}
