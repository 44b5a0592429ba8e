//! Topics that a cluster has under other names than the link calls them by.
//!
//! The link calls a topic by the source's name everywhere: in its ledger, in settings, in what it tells. Only where bytes go to a
//! cluster and come from it does a name become that cluster's.

use crate::limits::{STATE_TOPIC_PREFIX, TOPIC_NAME_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What a cluster calls topics: some by a name of their own, all others by the link's with something in front. No two of the
/// link's topics have one name there. Links' state topics keep their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicNames {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    /// By the link's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    renamed: BTreeMap<String, String>,
}

impl TopicNames {
    /// # Errors
    /// A name that Kafka does not allow, or one for two topics.
    pub fn new(prefix: Option<String>, renamed: Vec<(String, String)>) -> Result<Self, String> {
        let prefix = prefix.unwrap_or_default();
        check_characters(&prefix)?;
        if prefix.starts_with(STATE_TOPIC_PREFIX) {
            return Err(format!(
                "{STATE_TOPIC_PREFIX} stands before the topics in which links keep their state"
            ));
        }
        let mut names = Self { prefix, renamed: BTreeMap::new() };
        let mut taken = BTreeSet::new();
        for (from, to) in renamed {
            if !taken.insert(to.clone()) {
                return Err(format!(
                    "two topics of one link cannot both become {to}; give each a link of its own, with --shared"
                ));
            }
            if let Some(other) = names.renamed.insert(from.clone(), to.clone()) {
                return Err(format!("{from} cannot become both {other} and {to}"));
            }
        }
        Ok(names)
    }

    /// What stands before names; nothing, if it is empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Every topic has the link's name.
    pub fn is_identity(&self) -> bool {
        self.prefix.is_empty() && self.renamed.is_empty()
    }

    /// What the cluster calls the link's topic.
    pub fn on_cluster<'a>(&'a self, topic: &'a str) -> Cow<'a, str> {
        match self.renamed.get(topic) {
            Some(name) => name.into(),
            None if self.prefix.is_empty() || topic.starts_with(STATE_TOPIC_PREFIX) => topic.into(),
            None => format!("{}{topic}", self.prefix).into(),
        }
    }

    /// What the link calls the cluster's topic. None: it is none of the link's.
    pub fn in_link<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if name.starts_with(STATE_TOPIC_PREFIX) {
            return Some(name);
        }
        if let Some((topic, _)) = self.renamed.iter().find(|(_, renamed)| *renamed == name) {
            return Some(topic);
        }
        name.strip_prefix(self.prefix.as_str()).filter(|topic| !self.renamed.contains_key(*topic))
    }

    /// What the cluster calls the link's topic.
    ///
    /// # Errors
    /// It cannot be called so there: Kafka does not allow it, or another topic is called so.
    pub fn checked<'a>(&'a self, topic: &'a str) -> Result<Cow<'a, str>, String> {
        let there = self.on_cluster(topic);
        check_topic_name(&there)?;
        match self.in_link(&there).filter(|back| *back != topic) {
            Some(other) => Err(format!(
                "{other} is called {there} there; give one of them another name (--rename), or, to have both become one topic, a \
                     link of its own (--shared)"
            )),
            None => Ok(there),
        }
    }
}

impl std::fmt::Display for TopicNames {
    /// The flags that say the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = (!self.prefix.is_empty()).then(|| format!("--prefix {}", self.prefix));
        let renamed = self.renamed.iter().map(|(from, to)| format!("--rename {from}={to}"));
        let flags: Vec<String> = prefix.into_iter().chain(renamed).collect();
        f.write_str(if flags.is_empty() { "neither --prefix nor --rename" } else { "" })?;
        f.write_str(&flags.join(" "))
    }
}

/// Whether Kafka allows the name (`org.apache.kafka.common.internals.Topic`).
pub fn check_topic_name(name: &str) -> Result<(), String> {
    match name {
        "" => return Err("a topic's name must not be empty".into()),
        "." | ".." => return Err(format!("no topic can be called `{name}`")),
        _ if name.len() > TOPIC_NAME_BYTES_MAX => {
            return Err(format!(
                "a topic's name may have {TOPIC_NAME_BYTES_MAX} characters, {name} has {}",
                name.len()
            ));
        }
        _ => {}
    }
    check_characters(name)
}

fn check_characters(name: &str) -> Result<(), String> {
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(bad) => Err(format!(
            "`{bad}` may not stand in a topic's name; allowed are letters, digits, `.`, `_` and `-`"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, renamed: &[(&str, &str)]) -> Result<TopicNames, String> {
        let renamed = renamed.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        TopicNames::new(Some(prefix.to_owned()), renamed.collect())
    }

    #[test]
    fn every_name_has_its_way_back() {
        let names = names("east.", &[("orders", "orders-v2"), ("a", "b")]).unwrap();
        for (topic, there) in
            [("orders", "orders-v2"), ("a", "b"), ("clicks", "east.clicks"), ("east.x", "east.east.x")]
        {
            assert_eq!(names.on_cluster(topic), there);
            assert_eq!(names.in_link(there), Some(topic));
        }
        assert_eq!(names.on_cluster("__twinlog.l"), "__twinlog.l");
        assert_eq!(names.in_link("__twinlog.l"), Some("__twinlog.l"));
    }

    #[test]
    fn what_is_none_of_the_link_s_is_not_shown() {
        let names = names("east.", &[("orders", "orders-v2")]).unwrap();
        assert_eq!(names.in_link("clicks"), None);
        assert_eq!(names.in_link("east.orders"), None, "orders is called something else there");
        let renamed = TopicNames::new(None, vec![("a".into(), "b".into())]).unwrap();
        assert_eq!(
            (renamed.in_link("a"), renamed.in_link("b"), renamed.in_link("c")),
            (None, Some("a"), Some("c"))
        );
    }

    #[test]
    fn a_name_for_two_topics_is_noticed() {
        assert!(names("", &[("a", "c"), ("b", "c")]).unwrap_err().contains("two topics"));
        assert!(names("", &[("a", "b"), ("a", "c")]).unwrap_err().contains("both b and c"));
        let swapped = names("", &[("a", "b"), ("b", "a")]).unwrap();
        assert!(["a", "b", "c"].iter().all(|topic| swapped.checked(topic).is_ok()));
        let clashing = names("", &[("a", "b")]).unwrap();
        assert!(clashing.checked("b").unwrap_err().starts_with("a is called b there"));
        assert_eq!(clashing.checked("a").unwrap(), "b");
        let prefixed = names("p.", &[("a", "p.b")]).unwrap();
        assert!(prefixed.checked("b").unwrap_err().starts_with("a is called p.b there"));
        assert!(prefixed.checked(&"x".repeat(248)).unwrap_err().contains("249"));
    }

    #[test]
    fn names_that_kafka_does_not_allow_are_refused() {
        assert!(names("a/", &[]).unwrap_err().contains("`/`"));
        assert!(names("__twinlog.", &[]).unwrap_err().contains("state"));
        for bad in ["", ".", "..", "a b", &"x".repeat(250)] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
        assert_eq!(check_topic_name("a.b_c-D9"), Ok(()));
    }

    #[test]
    fn it_is_told_as_it_is_typed() {
        assert_eq!(names("e.", &[("a", "b")]).unwrap().to_string(), "--prefix e. --rename a=b");
        assert_eq!(TopicNames::default().to_string(), "neither --prefix nor --rename");
    }
}
