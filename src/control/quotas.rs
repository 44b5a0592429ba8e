//! Quotas of clients that stand on the source (KIP-546): what they are on the target, and what has to change there.

use super::finding::{About, Finding, Weight, names};
use crate::config::Mirror;
use crate::error;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Kafka's name of the kind of entity that principals are.
pub const USER: &str = "user";
const USER_PRINCIPAL: &str = "User:";
/// Quotas that a plan lists one by one.
const QUOTAS_SHOWN: usize = 50;

/// Whom a quota is for: a name, or None for all that have no quota of their own, by kind (`user`, `client-id`, `ip`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entity(pub BTreeMap<String, Option<String>>);

/// What is limited of whom: `producer_byte_rate` of user alice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    pub entity: Entity,
    pub key: String,
}

pub type Quotas = BTreeMap<Limit, f64>;

/// What is to be changed on the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub set: Quotas,
    pub remove: BTreeSet<Limit>,
}

/// A change that the target refused: whose quotas they are, the error code, and the broker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub entity: Entity,
    pub code: i16,
    pub said: String,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// The quotas that the target should have, by those of the source.
pub fn wanted(config: &Mirror, source: &Quotas) -> Quotas {
    let mut wanted = Quotas::new();
    // What is no number would never be equal to what the target has.
    for (limit, value) in source.iter().filter(|(_, value)| value.is_finite()) {
        let mut entity = limit.entity.clone();
        if let Some(Some(name)) = entity.0.get_mut(USER) {
            *name = user_on_target(config, name);
        }
        // Of two users that are one on the target the first counts, at every look.
        wanted.entry(Limit { entity, key: limit.key.clone() }).or_insert(*value);
    }
    wanted
}

/// Quotas and passwords are a user's, and know no other principals.
pub fn user_on_target(config: &Mirror, name: &str) -> String {
    let principal = config.principals.get(&format!("{USER_PRINCIPAL}{name}"));
    principal.and_then(|principal| principal.strip_prefix(USER_PRINCIPAL)).unwrap_or(name).to_owned()
}

/// What has to change. `before` is what was wanted at the last look and stood on the target: what is wanted no more is taken
/// back, unless somebody has changed it there. Quotas that only the target has stay.
pub fn changes(before: Option<&Quotas>, wanted: &Quotas, target: &Quotas) -> Changes {
    let set = wanted.iter().filter(|(limit, value)| target.get(limit) != Some(value));
    let taken_back = before
        .into_iter()
        .flatten()
        .filter(|(limit, value)| !wanted.contains_key(limit) && target.get(limit) == Some(value));
    Changes {
        set: set.map(|(limit, value)| (limit.clone(), *value)).collect(),
        remove: taken_back.map(|(limit, _)| limit.clone()).collect(),
    }
}

/// What is on the target once the changes are made, as far as it is ours: what is wanted, and what could not be taken back.
pub fn kept(mut wanted: Quotas, before: Option<&Quotas>, changes: &Changes, refused: &[Refused]) -> Quotas {
    let refused: BTreeSet<&Entity> = refused.iter().map(|refused| &refused.entity).collect();
    let is_refused = |limit: &Limit| refused.contains(&limit.entity);
    wanted.retain(|limit, _| !(changes.set.contains_key(limit) && is_refused(limit)));
    let still_there =
        before.into_iter().flatten().filter(|(limit, _)| changes.remove.contains(limit) && is_refused(limit));
    wanted.extend(still_there.map(|(limit, value)| (limit.clone(), *value)));
    wanted
}

/// What a mirror that keeps quotas in step would change at its start.
pub fn planned(changes: &Changes, target: &Quotas) -> Option<Finding> {
    let one = |(limit, value): (&Limit, &f64)| match target.get(limit) {
        Some(now) => format!("{limit}={value} (now {now})"),
        None => format!("{limit}={value}"),
    };
    let shown = changes.set.iter().take(QUOTAS_SHOWN).map(one).collect::<Vec<_>>().join("; ");
    let more = match changes.set.len().saturating_sub(QUOTAS_SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let text = || format!("quotas on the target would be set: {shown}{more}");
    (!changes.set.is_empty()).then(|| Finding::new(Weight::Note, About::Target, text()))
}

/// What the target does not let us change, a sentence for each cause.
pub fn refusals(refused: &[Refused]) -> Vec<String> {
    let mut causes: BTreeMap<(i16, &str), Vec<&Entity>> = BTreeMap::new();
    for Refused { entity, code, said } in refused {
        causes.entry((*code, said)).or_default().push(entity);
    }
    let sentence = |((code, said), entities): ((i16, &str), Vec<&Entity>)| {
        let (name, advice) = (error::name(code), advice(code));
        let said = if said.is_empty() { String::new() } else { format!(" (it says: {said})") };
        // Names have commas in between, and entities within.
        let entities: Vec<String> = entities.iter().map(|entity| format!("`{entity}`")).collect();
        format!("the target does not let its quotas be changed: {}: {name}: {advice}{said}", names(entities))
    };
    causes.into_iter().map(sentence).collect()
}

fn advice(code: i16) -> &'static str {
    match code {
        31 => "grant the mirror's principal ALTER_CONFIGS on the target cluster",
        42 => "the target does not know such a quota; those of ip addresses came with Kafka 2.7",
        _ => error::advice(code),
    }
}

impl fmt::Display for Entity {
    /// "user alice, client-id default"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As Kafka's tools do, the user first.
        for (at, (kind, name)) in self.0.iter().rev().enumerate() {
            let between = if at == 0 { "" } else { ", " };
            write!(f, "{between}{kind} {}", name.as_deref().unwrap_or("default"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entity, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::topics::tests::config;
    use super::*;

    fn entity(parts: &[(&str, Option<&str>)]) -> Entity {
        Entity(parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect())
    }

    fn user(name: &str) -> Limit {
        Limit { entity: entity(&[(USER, Some(name))]), key: "producer_byte_rate".into() }
    }

    fn quotas(all: &[(&str, f64)]) -> Quotas {
        all.iter().map(|(name, value)| (user(name), *value)).collect()
    }

    #[test]
    fn every_entity_is_wanted_under_its_name_on_the_target() {
        let mut config = config(&["t"], &[]);
        config.principals = [("User:b", "User:bee"), ("User:g", "Group:g")]
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .into();
        let key = "request_percentage".to_owned();
        let with = |parts: &[(&str, Option<&str>)]| Limit { entity: entity(parts), key: key.clone() };
        let source: Quotas = [
            (with(&[("user", Some("b")), ("client-id", None)]), 5.0),
            (with(&[("user", None)]), 6.0),
            (with(&[("user", Some("g"))]), 7.0),
            (with(&[("ip", Some("10.0.0.1"))]), 8.0),
            (with(&[("client-id", Some("b"))]), f64::NAN),
        ]
        .into();
        let told = wanted(&config, &source);
        let told: Vec<String> = told.iter().map(|(limit, value)| format!("{limit}={value}")).collect();
        assert_eq!(
            told,
            [
                "user bee, client-id default: request_percentage=5",
                "ip 10.0.0.1: request_percentage=8",
                "user default: request_percentage=6",
                "user g: request_percentage=7",
            ]
        );
    }

    #[test]
    fn two_users_that_become_one_have_the_same_quota_at_every_look() {
        let mut config = config(&["t"], &[]);
        config.principals = [("User:a".to_owned(), "User:b".to_owned())].into();
        let source = quotas(&[("a", 1.0), ("b", 2.0)]);
        assert_eq!(wanted(&config, &source), quotas(&[("b", 1.0)]));
    }

    #[test]
    fn what_is_taken_back_on_the_source_is_taken_back_where_nobody_else_has_set_it() {
        let before = quotas(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("gone", 4.0)]);
        let wanted = quotas(&[("a", 1.5), ("new", 5.0)]);
        let target = quotas(&[("a", 1.0), ("b", 2.0), ("c", 3.5), ("own", 6.0)]);
        let found = changes(Some(&before), &wanted, &target);
        let expected = Changes { set: quotas(&[("a", 1.5), ("new", 5.0)]), remove: [user("b")].into() };
        assert_eq!(found, expected);
        assert!(changes(None, &wanted, &target).remove.is_empty(), "nobody knows whose it is");
        assert!(changes(Some(&wanted), &wanted, &wanted).is_empty());
    }

    #[test]
    fn what_was_refused_is_tried_again() {
        let (before, wanted) = (quotas(&[("a", 1.0), ("b", 2.0)]), quotas(&[("c", 3.0), ("d", 4.0)]));
        let target = before.clone();
        let changes = changes(Some(&before), &wanted, &target);
        let refused = |name: &str| Refused { entity: user(name).entity, code: 31, said: String::new() };
        let kept = kept(wanted.clone(), Some(&before), &changes, &[refused("b"), refused("d")]);
        assert_eq!(kept, quotas(&[("b", 2.0), ("c", 3.0)]));
        let next = super::changes(Some(&kept), &wanted, &quotas(&[("b", 2.0), ("c", 3.0)]));
        assert_eq!(next, Changes { set: quotas(&[("d", 4.0)]), remove: [user("b")].into() });
    }

    #[test]
    fn a_plan_tells_what_would_be_set_and_what_it_is_now() {
        let target = quotas(&[("a", 1.0), ("own", 2.0)]);
        let found = changes(None, &quotas(&[("a", 2.5), ("b", 3.0)]), &target);
        assert_eq!(
            planned(&found, &target).unwrap().text,
            "quotas on the target would be set: user a: producer_byte_rate=2.5 (now 1); user b: producer_byte_rate=3"
        );
        assert_eq!(planned(&Changes::default(), &target), None);
        let many: Quotas = (0..60).map(|n| (user(&format!("u{n}")), 1.0)).collect();
        let text = planned(&changes(None, &many, &target), &target).unwrap().text;
        assert!(text.ends_with("; and 10 more"), "{text}");
    }

    #[test]
    fn one_cause_is_told_in_one_sentence() {
        let refused = |name: &str, code| Refused { entity: user(name).entity, code, said: "no".into() };
        let told = refusals(&[refused("a", 31), refused("b", 31), refused("c", 42)]);
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("`user a`, `user b`: CLUSTER_AUTHORIZATION_FAILED: grant"), "{told:?}");
        assert!(told[1].ends_with("(it says: no)") && told[1].contains("INVALID_REQUEST"), "{told:?}");
    }
}
