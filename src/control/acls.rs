//! Access rules that stand on the source: which of them belong on the target, and as what.
//!
//! Rules about mirrored topics let the readers of one cluster read on the other. Those that let somebody write are another matter:
//! a client that writes to a mirrored topic stops its partition, so they wait for a migration ([`SyncAcls::All`]).

use super::finding::{About, Finding, Weight};
use crate::config::{Mirror, SyncAcls};
use std::collections::BTreeSet;
use std::fmt;

// Kafka's numbers: `ResourceType`, `PatternType`, `AclOperation`, `AclPermissionType`.
pub const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const TRANSACTIONAL_ID: i8 = 5;
pub const LITERAL: i8 = 3;
pub const PREFIXED: i8 = 4;
const ALL: i8 = 2;
const READ: i8 = 3;
const DESCRIBE: i8 = 8;
const DESCRIBE_CONFIGS: i8 = 10;
const DENY: i8 = 2;
const ALLOW: i8 = 3;
const EVERYTHING: &str = "*";
/// Rules that a plan lists one by one.
const RULES_SHOWN: usize = 50;

/// One rule, as `kafka-acls --list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    pub resource_type: i8,
    pub resource_name: String,
    pub pattern_type: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission: i8,
}

/// What is to be changed on the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub create: BTreeSet<Acl>,
    pub delete: BTreeSet<Acl>,
}

/// The rules that the target should have, by those of the source; `topics` are the mirrored ones, by the link's names.
pub fn wanted(config: &Mirror, source: &BTreeSet<Acl>, topics: &BTreeSet<String>) -> BTreeSet<Acl> {
    source.iter().filter_map(|acl| on_target(config, acl, topics)).collect()
}

/// What has to change. `before` is what was wanted at the last look: what is wanted no more is taken back, if it is there. Rules
/// that only the target has stay.
pub fn changes(before: Option<&BTreeSet<Acl>>, wanted: &BTreeSet<Acl>, target: &BTreeSet<Acl>) -> Changes {
    let taken_back = before.into_iter().flatten().filter(|acl| !wanted.contains(acl) && target.contains(acl));
    Changes { create: wanted.difference(target).cloned().collect(), delete: taken_back.cloned().collect() }
}

/// What a mirror that keeps rules in step would change at its start.
pub fn planned(changes: &Changes) -> Option<Finding> {
    let shown =
        changes.create.iter().take(RULES_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let more = changes.create.len().saturating_sub(RULES_SHOWN);
    let text = || match more {
        0 => format!("access rules on the target would be added: {shown}"),
        _ => format!("access rules on the target would be added: {shown}; and {more} more"),
    };
    (!changes.create.is_empty()).then(|| Finding::new(Weight::Note, About::Target, text()))
}

fn on_target(config: &Mirror, acl: &Acl, topics: &BTreeSet<String>) -> Option<Acl> {
    let kinds: &[i8] = match config.sync_acls {
        SyncAcls::None => &[],
        SyncAcls::Readers => &[TOPIC],
        SyncAcls::All => &[TOPIC, GROUP, TRANSACTIONAL_ID],
    };
    if !kinds.contains(&acl.resource_type) {
        return None;
    }
    let operation = match (config.sync_acls, acl.permission) {
        (SyncAcls::All, _) | (_, DENY) => acl.operation,
        // Whoever may do everything on the source may read on the target.
        (_, ALLOW) if acl.operation == ALL => READ,
        (_, ALLOW) if [READ, DESCRIBE, DESCRIBE_CONFIGS].contains(&acl.operation) => acl.operation,
        _ => return None,
    };
    let resource_name = match acl.resource_type {
        TOPIC => topic_on_target(config, acl, topics)?,
        _ => acl.resource_name.clone(),
    };
    let is_everything = acl.resource_name == EVERYTHING && acl.pattern_type == LITERAL;
    let pattern_type = if is_everything && resource_name != EVERYTHING { PREFIXED } else { acl.pattern_type };
    let principal = config.principals.get(&acl.principal).unwrap_or(&acl.principal).clone();
    Some(Acl { resource_name, pattern_type, principal, operation, ..acl.clone() })
}

/// The name or the pattern that a rule about topics has on the target, if it is about mirrored ones.
fn topic_on_target(config: &Mirror, acl: &Acl, topics: &BTreeSet<String>) -> Option<String> {
    let names = &config.target.names;
    let name = acl.resource_name.as_str();
    match acl.pattern_type {
        LITERAL if name == EVERYTHING => match names.prefix() {
            // The target's own topics would be included.
            "" => (config.sync_acls == SyncAcls::All).then(|| EVERYTHING.to_owned()),
            prefix => Some(prefix.to_owned()),
        },
        LITERAL => topics.contains(name).then(|| names.on_cluster(name).into_owned()),
        PREFIXED => {
            let mut mirrored = topics.range(name.to_owned()..).take_while(|topic| topic.starts_with(name));
            mirrored.next().map(|_| format!("{}{name}", names.prefix()))
        }
        _ => None,
    }
}

impl fmt::Display for Acl {
    /// "User:a may READ topic t", with what is out of the ordinary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let may = if self.permission == DENY { "may not" } else { "may" };
        let resource = match self.resource_type {
            TOPIC => "topic",
            GROUP => "group",
            TRANSACTIONAL_ID => "transactional id",
            _ => "resource",
        };
        let pattern = if self.pattern_type == PREFIXED { "..." } else { "" };
        write!(
            f,
            "{} {may} {} {resource} {}{pattern}",
            self.principal,
            operation(self.operation),
            self.resource_name
        )?;
        if self.host != EVERYTHING {
            write!(f, " from {}", self.host)?;
        }
        Ok(())
    }
}

fn operation(operation: i8) -> &'static str {
    const NAMES: [&str; 15] = [
        "UNKNOWN",
        "ANY",
        "ALL",
        "READ",
        "WRITE",
        "CREATE",
        "DELETE",
        "ALTER",
        "DESCRIBE",
        "CLUSTER_ACTION",
        "DESCRIBE_CONFIGS",
        "ALTER_CONFIGS",
        "IDEMPOTENT_WRITE",
        "CREATE_TOKENS",
        "DESCRIBE_TOKENS",
    ];
    usize::try_from(operation).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::super::topics::tests::config;
    use super::*;
    use crate::config::TopicNames;

    const WRITE: i8 = 4;

    fn acl(resource_type: i8, name: &str, pattern_type: i8, operation: i8, permission: i8) -> Acl {
        Acl {
            resource_type,
            resource_name: name.into(),
            pattern_type,
            principal: "User:a".into(),
            host: "*".into(),
            operation,
            permission,
        }
    }

    /// What becomes of the rules where `orders` and `clicks.eu` are mirrored, in words.
    fn told(sync_acls: SyncAcls, prefix: &str, source: &[Acl]) -> Vec<String> {
        let mut config = config(&[".*"], &[]);
        config.sync_acls = sync_acls;
        config.target.names = TopicNames::new(Some(prefix.into()), Vec::new()).unwrap();
        config.principals = [("User:b".to_owned(), "User:bee".to_owned())].into();
        let topics = ["orders".to_owned(), "clicks.eu".to_owned()].into();
        wanted(&config, &source.iter().cloned().collect(), &topics).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn readers_may_read_and_nobody_may_write() {
        let rules = [
            acl(TOPIC, "orders", LITERAL, ALL, ALLOW),
            acl(TOPIC, "clicks.eu", LITERAL, WRITE, ALLOW),
            acl(TOPIC, "clicks.eu", LITERAL, WRITE, DENY),
            acl(TOPIC, "clicks.eu", LITERAL, DESCRIBE, ALLOW),
            acl(TOPIC, "other", LITERAL, READ, ALLOW),
            acl(TOPIC, "*", LITERAL, READ, ALLOW),
            acl(GROUP, "g", LITERAL, READ, ALLOW),
        ];
        assert_eq!(
            told(SyncAcls::Readers, "", &rules),
            [
                "User:a may not WRITE topic clicks.eu",
                "User:a may DESCRIBE topic clicks.eu",
                "User:a may READ topic orders"
            ]
        );
        assert_eq!(told(SyncAcls::None, "", &rules), Vec::<String>::new());
        assert_eq!(
            told(SyncAcls::All, "", &rules).len(),
            6,
            "all but the one about a topic that is not mirrored"
        );
    }

    #[test]
    fn names_and_principals_are_the_target_s() {
        let rules = [
            Acl { principal: "User:b".into(), ..acl(TOPIC, "orders", LITERAL, READ, ALLOW) },
            Acl { host: "10.0.0.1".into(), ..acl(TOPIC, "cl", PREFIXED, READ, ALLOW) },
            acl(TOPIC, "x", PREFIXED, READ, ALLOW),
            acl(TOPIC, "*", LITERAL, READ, ALLOW),
        ];
        assert_eq!(
            told(SyncAcls::Readers, "east.", &rules),
            [
                "User:a may READ topic east....",
                "User:a may READ topic east.cl... from 10.0.0.1",
                "User:bee may READ topic east.orders",
            ]
        );
    }

    #[test]
    fn what_is_taken_back_on_the_source_is_taken_back_on_the_target() {
        let set = |names: &[&str]| -> BTreeSet<Acl> {
            names.iter().map(|name| acl(TOPIC, name, LITERAL, READ, ALLOW)).collect()
        };
        let (before, wanted, target) = (set(&["a", "b", "gone"]), set(&["a", "c"]), set(&["a", "b", "own"]));
        let found = changes(Some(&before), &wanted, &target);
        assert_eq!(found, Changes { create: set(&["c"]), delete: set(&["b"]) });
        assert_eq!(changes(None, &wanted, &target).delete, set(&[]), "nobody knows whose it is");
    }
}
