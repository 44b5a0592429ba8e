//! Which rights a mirror needs on both clusters, and which of them it lacks, as far as brokers tell.
//!
//! Brokers say on request what the asking user may do with a topic, a group or the cluster (KIP-430). A cluster without an
//! authorizer allows everything.

use crate::config::security::{Login, Tls};
use crate::config::{Cluster, ExactlyOnce, Mirror, Offsets, Oversize, Security};
use crate::control::finding::{About, Finding, Weight, names};
use crate::control::ledger::{STATE_TOPIC_PREFIX, state_topic, transactional_id};
use std::collections::{BTreeMap, BTreeSet};

/// Where listeners do not ask who connects, everybody is this one.
const NOBODY: &str = "User:ANONYMOUS";
/// Stands for "not told" in answers.
const NOT_TOLD: i32 = i32::MIN;

/// What an access control rule allows (Kafka's `AclOperation`); the codes are bits of what brokers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

impl Operation {
    /// As Kafka's documentation writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Alter => "ALTER",
            Self::Describe => "DESCRIBE",
            Self::ClusterAction => "CLUSTER_ACTION",
            Self::DescribeConfigs => "DESCRIBE_CONFIGS",
            Self::AlterConfigs => "ALTER_CONFIGS",
            Self::IdempotentWrite => "IDEMPOTENT_WRITE",
        }
    }
}

/// What this user may do with a topic, a group or the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations(i32);

impl Operations {
    /// The broker does not tell.
    pub const UNKNOWN: Self = Self(NOT_TOLD);
    /// Nothing; or, of the cluster, that this user may not even DESCRIBE it, in which case the rest is not told.
    pub const NONE: Self = Self(0);

    /// From the field of an answer.
    pub fn from_bits(bits: i32) -> Self {
        Self(bits)
    }

    pub fn of(allowed: &[Operation]) -> Self {
        Self(allowed.iter().fold(0, |bits, operation| bits | 1 << *operation as i32))
    }

    /// Whether the operation is known to be refused.
    fn lack(self, operation: Operation) -> bool {
        self.0 != NOT_TOLD && self.0 & 1 << operation as i32 == 0
    }
}

/// What the user may do on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub cluster: Operations,
    /// Of topics that exist and that the user may see.
    pub topics: BTreeMap<String, Operations>,
    pub groups: BTreeMap<String, Operations>,
    /// Topics that the user may not create, or not grow.
    pub uncreatable: BTreeSet<String>,
    pub ungrowable: BTreeSet<String>,
    /// Of the link's transactional ids: those that the user may not even DESCRIBE.
    pub no_transactional_ids: BTreeSet<String>,
    /// The user may not even DESCRIBE the group in which transactions commit positions.
    pub no_link_group: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            cluster: Operations::UNKNOWN,
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            uncreatable: BTreeSet::new(),
            ungrowable: BTreeSet::new(),
            no_transactional_ids: BTreeSet::new(),
            no_link_group: false,
        }
    }
}

/// Why control records may not be written, if so. It takes WriteTxnMarkers, which brokers allow each other: ALTER or
/// CLUSTER_ACTION on the cluster (Kafka's `KafkaApis.handleWriteTxnMarkersRequest`).
pub fn cannot_fill(cluster: Operations) -> Option<String> {
    let lacks = cluster.lack(Operation::Alter) && cluster.lack(Operation::ClusterAction);
    lacks.then(|| {
        "this user may not write control records there; grant it ALTER or CLUSTER_ACTION on the target cluster (kafka-acls \
         --add --cluster --operation Alter)"
            .into()
    })
}

/// What the mirror needs and does not have, each with the rule to add and with what happens without it. `transacts`: some of its
/// records would go in transactions.
pub fn missing(config: &Mirror, source: &Rights, target: &Rights, transacts: bool) -> Vec<Finding> {
    let source = Side { about: About::Source, name: "source", cluster: &config.source, rights: source };
    let target = Side { about: About::Target, name: "target", cluster: &config.target, rights: target };
    let on_topics = source_topics(&source).into_iter().chain(target_topics(config, &target));
    let on_the_rest = target_cluster(config, &target).into_iter().chain(groups(&source, &target));
    let on_the_rest = on_the_rest.chain(quotas(config, &source, &target));
    let for_transactions = if transacts { transactions(config, &target) } else { Vec::new() };
    on_topics.chain(on_the_rest).chain(for_transactions).flatten().collect()
}

fn source_topics(source: &Side<'_>) -> Vec<Option<Finding>> {
    let is_state = |topic: &str| topic.starts_with(STATE_TOPIC_PREFIX);
    let is_mirrored = |topic: &str| !is_state(topic);
    vec![
        source.topics(&is_mirrored, Operation::Read, Weight::Stops, "the partitions stop"),
        source.topics(
            &is_mirrored,
            Operation::DescribeConfigs,
            Weight::Warning,
            "settings are not compared with the target's, and what the target does not have is left out",
        ),
        source.topics(
            &is_state,
            Operation::Read,
            Weight::Stops,
            "the mirror does not start, as it cannot tell what other links write to the source",
        ),
    ]
}

fn target_topics(config: &Mirror, target: &Side<'_>) -> Vec<Option<Finding>> {
    let state = state_topic(&config.link);
    let is_state = |topic: &str| topic == state;
    let is_mirrored = |topic: &str| topic != state;
    let no_progress = "the mirror does not start: the link keeps its progress there";
    vec![
        target.topics(&is_mirrored, Operation::Read, Weight::Stops, "the partitions stop"),
        target.topics(&is_mirrored, Operation::Write, Weight::Stops, "the partitions stop"),
        target.topics(&is_state, Operation::Read, Weight::Stops, no_progress),
        target.topics(&is_state, Operation::Write, Weight::Stops, no_progress),
        target.topics(
            &is_mirrored,
            Operation::DescribeConfigs,
            Weight::Warning,
            "settings that stand in the way are noticed only when records arrive",
        ),
        target.topics(
            &|topic| is_mirrored(topic) && !target.rights.ungrowable.contains(topic),
            Operation::Alter,
            Weight::Warning,
            "partitions that the source gets later are left out",
        ),
        target.topics(
            &|topic| config.sync_topic_configs && is_mirrored(topic),
            Operation::AlterConfigs,
            Weight::Warning,
            "settings that change on the source stay as they are on the target",
        ),
        target.topics(
            &|topic| config.oversize == Oversize::Raise && is_mirrored(topic),
            Operation::AlterConfigs,
            Weight::Warning,
            "batches that the target finds too large are split instead of its max.message.bytes being raised",
        ),
        target.topics(
            &is_mirrored,
            Operation::Delete,
            Weight::Warning,
            "with identical offsets the target keeps what the source deletes, seeds included",
        ),
        target.named_topics(
            &target.rights.uncreatable,
            Operation::Create,
            Weight::Stops,
            "what does not exist there is left out",
        ),
        target.named_topics(
            &target.rights.ungrowable,
            Operation::Alter,
            Weight::Stops,
            "partitions that the target does not have are left out",
        ),
    ]
}

fn target_cluster(config: &Mirror, target: &Side<'_>) -> Vec<Option<Finding>> {
    let cluster = target.rights.cluster;
    if cluster == Operations::NONE {
        let text = "the target does not tell what this user may do with the cluster (that takes DESCRIBE on it, which ALTER \
                    implies); without proof that it may write control records, `auto` appends";
        let command = target.command("--cluster", Operation::Describe);
        return vec![
            Some(Finding { command: Some(command), ..Finding::new(Weight::Warning, About::Target, text) }),
            target.lock(config),
        ];
    }
    let wants_identical = config.offsets == Offsets::Identical || !config.identical.is_empty();
    let (fill_weight, without_fill) = match wants_identical {
        true => (
            Weight::Warning,
            "gaps in the offsets are filled with transactions where identical offsets are demanded; else `auto` appends",
        ),
        false => {
            (Weight::Warning, "gaps in the offsets cannot be filled with control records, so `auto` appends")
        }
    };
    // Whoever may write to a topic gets a producer id, too (KIP-679).
    let may_write = target.rights.topics.values().any(|topic| !topic.lack(Operation::Write));
    let lacks = |operation| cluster.lack(operation);
    let say = |operation, weight, without: &str| {
        Some(target.finding("the target cluster", "--cluster", operation, weight, without))
    };
    vec![
        cannot_fill(cluster).and_then(|_| say(Operation::Alter, fill_weight, without_fill)),
        (lacks(Operation::IdempotentWrite) && !may_write)
            .then(|| {
                say(
                    Operation::IdempotentWrite,
                    Weight::Stops,
                    "the mirror gets no producer id and does not start",
                )
            })
            .flatten(),
        lacks(Operation::DescribeConfigs)
            .then(|| {
                let without =
                    "producer.id.expiration.ms is not known, so that every partition has one batch in flight";
                say(Operation::DescribeConfigs, Weight::Warning, without)
            })
            .flatten(),
        target.lock(config),
    ]
}

fn transactions(config: &Mirror, target: &Side<'_>) -> Vec<Option<Finding>> {
    let (weight, without) = match config.exactly_once {
        ExactlyOnce::Transactions => (Weight::Stops, "partitions that are appended to stop"),
        _ => (
            Weight::Warning,
            "old records go with one batch in flight per partition instead of in transactions",
        ),
    };
    // The shards' ids begin with the lock's.
    let id = transactional_id(&config.link);
    let ids = target.rights.no_transactional_ids.iter().any(|refused| *refused != id).then(|| {
        let flags = format!("--transactional-id {id} --resource-pattern-type prefixed");
        target.finding(
            &format!("the transactional ids {id}.* of the target"),
            &flags,
            Operation::Write,
            weight,
            without,
        )
    });
    let group = target.rights.no_link_group.then(|| {
        // The group is called as the lock is.
        let group = transactional_id(&config.link);
        let flags = format!("--group {group}");
        target.finding(&format!("group {group} of the target"), &flags, Operation::Read, weight, without)
    });
    vec![ids, group]
}

fn groups(source: &Side<'_>, target: &Side<'_>) -> Vec<Option<Finding>> {
    let without = "no positions are mirrored";
    vec![source.groups(Operation::Describe, without), target.groups(Operation::Read, without)]
}

fn quotas(config: &Mirror, source: &Side<'_>, target: &Side<'_>) -> Vec<Option<Finding>> {
    let without = "quotas are not kept in step";
    let say = |side: &Side<'_>, operation| {
        // Who may not even ask has been told of that.
        let lacks = side.rights.cluster != Operations::NONE && side.rights.cluster.lack(operation);
        let what = format!("the {} cluster", side.name);
        lacks.then(|| side.finding(&what, "--cluster", operation, Weight::Warning, without))
    };
    match config.sync_quotas {
        true => vec![say(source, Operation::DescribeConfigs), say(target, Operation::AlterConfigs)],
        false => Vec::new(),
    }
}

/// One cluster, for sentences and commands about it.
struct Side<'a> {
    about: About,
    name: &'static str,
    cluster: &'a Cluster,
    rights: &'a Rights,
}

impl Side<'_> {
    fn topics(
        &self,
        is_meant: &dyn Fn(&str) -> bool,
        operation: Operation,
        weight: Weight,
        without: &str,
    ) -> Option<Finding> {
        let lacking = self.rights.topics.iter().filter(|(_, allowed)| allowed.lack(operation));
        let names = lacking.map(|(name, _)| name.clone()).filter(|name| is_meant(name)).collect();
        self.named_topics(&names, operation, weight, without)
    }

    fn named_topics(
        &self,
        topics: &BTreeSet<String>,
        operation: Operation,
        weight: Weight,
        without: &str,
    ) -> Option<Finding> {
        let there = |topic: &String| self.cluster.names.on_cluster(topic).into_owned();
        self.resources("topic", &topics.iter().map(there).collect(), operation, weight, without)
    }

    fn groups(&self, operation: Operation, without: &str) -> Option<Finding> {
        let lacking = self.rights.groups.iter().filter(|(_, allowed)| allowed.lack(operation));
        let names = lacking.map(|(name, _)| name.clone()).collect();
        self.resources("group", &names, operation, Weight::Stops, without)
    }

    fn resources(
        &self,
        kind: &str,
        all: &BTreeSet<String>,
        operation: Operation,
        weight: Weight,
        without: &str,
    ) -> Option<Finding> {
        let flags: Vec<String> = all.iter().map(|name| format!("--{kind} {}", quoted(name))).collect();
        let what = match all.len() {
            0 => return None,
            1 => format!("{kind} {} of the {}", names(all), self.name),
            _ => format!("{kind}s {} of the {}", names(all), self.name),
        };
        Some(self.finding(&what, &flags.join(" "), operation, weight, without))
    }

    fn lock(&self, config: &Mirror) -> Option<Finding> {
        let id = transactional_id(&config.link);
        let without = "the link cannot take its lock, so the mirror does not start";
        let (what, flag) =
            (format!("transactional id {id} of the target"), format!("--transactional-id {id}"));
        let say = || self.finding(&what, &flag, Operation::Write, Weight::Stops, without);
        self.rights.no_transactional_ids.contains(&id).then(say)
    }

    fn finding(
        &self,
        what: &str,
        flags: &str,
        operation: Operation,
        weight: Weight,
        without: &str,
    ) -> Finding {
        let text = format!("missing right {} on {what}: {without}", operation.name());
        Finding {
            command: Some(self.command(flags, operation)),
            ..Finding::new(weight, self.about.clone(), text)
        }
    }

    /// What grants the right. (A rule that denies it would have to go instead; brokers do not say which it is.)
    fn command(&self, flags: &str, operation: Operation) -> String {
        let bootstrap = self.cluster.bootstrap.first().map(ToString::to_string).unwrap_or_default();
        format!(
            "kafka-acls --bootstrap-server {bootstrap} --add --allow-principal {} --operation {operation:?} {flags}",
            principal(&self.cluster.security)
        )
    }
}

/// Who the mirror is for the cluster, as far as it can know that itself: brokers may map names (`KafkaPrincipalBuilder`), and say
/// to nobody what came of it.
fn principal(security: &Security) -> String {
    let login = security.sasl.as_ref().map(|sasl| &sasl.login);
    match (login, &security.tls) {
        (Some(Login::Password { username, .. }), _) => quoted_principal(&format!("User:{username}")),
        (Some(Login::Token { .. }), _) => "'User:<the subject of the token>'".to_owned(),
        (Some(Login::Kerberos(kerberos)), _) => match kerberos.principal() {
            Some(principal) => quoted_principal(&format!("User:{}", short(principal))),
            None => "'User:<the principal of the tickets, up to its first / or @>'".to_owned(),
        },
        (None, Some(Tls { identity: Some(_), .. })) => {
            "'User:<the subject of the client certificate>'".to_owned()
        }
        (None, _) => NOBODY.to_owned(),
    }
}

/// What brokers make of a Kerberos principal (`mirror/host@REALM`) if `sasl.kerberos.principal.to.local.rules` says nothing else.
fn short(principal: &str) -> &str {
    principal.split(['/', '@']).next().unwrap_or(principal)
}

fn quoted_principal(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '@');
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// For a shell. Topics' names need no quotes, groups' and users' may.
pub(in crate::control) fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !name.is_empty() && name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::security::{Mechanism, Sasl};
    use crate::control::topics::tests::config;

    const TOPIC: &[Operation] = &[
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Delete,
        Operation::Alter,
        Operation::Describe,
        Operation::DescribeConfigs,
    ];
    const CLUSTER: &[Operation] = &[
        Operation::Create,
        Operation::Alter,
        Operation::Describe,
        Operation::DescribeConfigs,
        Operation::IdempotentWrite,
    ];

    fn but(all: &[Operation], not: &[Operation]) -> Operations {
        let left: Vec<Operation> = all.iter().copied().filter(|one| !not.contains(one)).collect();
        Operations::of(&left)
    }

    fn rights(topics: &[(&str, Operations)], cluster: Operations) -> Rights {
        let topics = topics.iter().map(|(name, allowed)| ((*name).to_owned(), *allowed)).collect();
        Rights { cluster, topics, ..Rights::default() }
    }

    fn all() -> Rights {
        let everything = Operations::of(TOPIC);
        rights(&[("t", everything), ("__twinlog.mirror", everything)], Operations::of(CLUSTER))
    }

    #[test]
    fn the_one_that_gets_a_right_is_who_logs_in() {
        let password = |username: &str| Security {
            sasl: Some(Sasl {
                mechanism: Mechanism::Plain,
                login: Login::Password { username: username.to_owned(), password: "p".into() },
            }),
            ..Security::default()
        };
        assert_eq!(principal(&Security::default()), "User:ANONYMOUS");
        assert_eq!(principal(&password("mirror")), "User:mirror");
        assert_eq!(principal(&password("o'brien")), "'User:o'\\''brien'");
        assert_eq!(short("mirror/east.example@EAST.EXAMPLE"), "mirror");
    }

    #[test]
    fn who_may_do_everything_and_who_is_told_nothing_lacks_nothing() {
        let config = config(&["t"], &[]);
        assert_eq!(missing(&config, &all(), &all(), false), []);
        assert_eq!(missing(&config, &Rights::default(), &Rights::default(), false), []);
        assert_eq!(cannot_fill(Operations::UNKNOWN), None);
    }

    #[test]
    fn topics_that_lack_the_same_right_share_a_command() {
        let reader = but(TOPIC, &[Operation::Write]);
        let target =
            rights(&[("a", reader), ("b", reader), ("c", Operations::of(TOPIC))], Operations::of(CLUSTER));
        let found = missing(&config(&["t"], &[]), &all(), &target, false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].text, "missing right WRITE on topics a, b of the target: the partitions stop");
        assert_eq!(
            found[0].command.as_deref(),
            Some(
                "kafka-acls --bootstrap-server b:1 --add --allow-principal User:ANONYMOUS --operation Write --topic a --topic b"
            )
        );
        assert_eq!((found[0].weight, &found[0].about), (Weight::Stops, &About::Target));
    }

    #[test]
    fn state_topics_are_more_than_topics() {
        let (reader, writer) = (but(TOPIC, &[Operation::Write]), but(TOPIC, &[Operation::Read]));
        let source = rights(&[("__twinlog.back", writer)], Operations::of(CLUSTER));
        let target = rights(&[("__twinlog.mirror", reader)], Operations::of(CLUSTER));
        let found = missing(&config(&["t"], &[]), &source, &target, false);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|finding| finding.text.contains("the mirror does not start")));
    }

    #[test]
    fn control_records_take_alter_or_cluster_action() {
        let plain = but(CLUSTER, &[Operation::Alter]);
        assert!(cannot_fill(plain).is_some());
        assert_eq!(cannot_fill(Operations::of(&[Operation::ClusterAction])), None);
        let lacking = Rights { cluster: plain, ..all() };
        let found = missing(&config(&["t"], &[]), &all(), &lacking, false);
        assert!(
            matches!(&found[..], [finding] if finding.weight == Weight::Warning
            && finding.command.as_ref().unwrap().ends_with("--operation Alter --cluster")),
            "{found:?}"
        );
        let demanding = Mirror { offsets: Offsets::Identical, ..config(&["t"], &[]) };
        assert!(missing(&demanding, &all(), &lacking, false)[0].text.contains("filled with transactions"));
    }

    #[test]
    fn a_cluster_that_may_not_be_described_is_one_finding() {
        let found =
            missing(&config(&["t"], &[]), &all(), &Rights { cluster: Operations::NONE, ..all() }, false);
        assert!(matches!(&found[..], [finding] if finding.text.contains("does not tell")), "{found:?}");
    }

    #[test]
    fn quotas_take_rights_on_both_clusters_where_they_are_kept_in_step() {
        let cluster = but(CLUSTER, &[Operation::DescribeConfigs]);
        let source = Rights { cluster, ..all() };
        assert_eq!(missing(&config(&["t"], &[]), &source, &all(), false), []);
        let in_step = Mirror { sync_quotas: true, ..config(&["t"], &[]) };
        let found = missing(&in_step, &source, &all(), false);
        let texts: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "missing right DESCRIBE_CONFIGS on the source cluster: quotas are not kept in step",
                "missing right ALTER_CONFIGS on the target cluster: quotas are not kept in step"
            ]
        );
        let command = found[1].command.as_deref().unwrap();
        assert!(command.ends_with("--operation AlterConfigs --cluster"), "{command}");
        let untold = Rights { cluster: Operations::NONE, ..all() };
        assert_eq!(missing(&in_step, &untold, &untold, false).len(), 1, "that the target does not tell");
    }

    #[test]
    fn a_producer_id_takes_a_right_on_the_cluster_or_some_topic() {
        let cluster = but(CLUSTER, &[Operation::IdempotentWrite]);
        let texts = |target: &Rights| missing(&config(&["t"], &[]), &all(), target, false);
        assert_eq!(texts(&Rights { cluster, ..all() }), []);
        let found = texts(&rights(&[], cluster));
        assert!(found[0].text.contains("IDEMPOTENT_WRITE on the target cluster"), "{found:?}");
    }

    #[test]
    fn what_may_not_be_created_locked_or_moved_is_named() {
        let mut target = all();
        target.uncreatable = ["new".to_owned()].into();
        target.ungrowable = ["t".to_owned()].into();
        target.no_transactional_ids = ["twinlog.mirror".to_owned()].into();
        target.groups = [("it's".to_owned(), Operations::NONE)].into();
        let found = missing(&config(&["t"], &[]), &all(), &target, false);
        let commands: Vec<&str> = found.iter().filter_map(|finding| finding.command.as_deref()).collect();
        assert_eq!(commands.len(), 4, "{found:?}");
        assert!(commands[0].ends_with("--operation Create --topic new"));
        assert!(commands[1].ends_with("--operation Alter --topic t"));
        assert!(commands[2].ends_with("--operation Write --transactional-id twinlog.mirror"));
        assert!(commands[3].ends_with(r"--operation Read --group 'it'\''s'"));
    }

    #[test]
    fn transactions_take_ids_and_a_group_where_there_are_any() {
        let target = Rights {
            no_transactional_ids: ["twinlog.mirror.0".to_owned()].into(),
            no_link_group: true,
            ..all()
        };
        let auto = config(&["t"], &[]);
        assert_eq!(missing(&auto, &all(), &target, false), []);
        let found = missing(&auto, &all(), &target, true);
        assert!(found.iter().all(|finding| finding.weight == Weight::Warning), "{found:?}");
        let commands: Vec<&str> = found.iter().filter_map(|finding| finding.command.as_deref()).collect();
        assert!(
            commands[0].ends_with("Write --transactional-id twinlog.mirror --resource-pattern-type prefixed")
        );
        assert!(commands[1].ends_with("--operation Read --group twinlog.mirror"));
        let always = Mirror { exactly_once: ExactlyOnce::Transactions, ..auto };
        assert_eq!(missing(&always, &all(), &target, true)[0].weight, Weight::Stops);
    }
}
