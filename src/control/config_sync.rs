//! Settings of topics that stand on both sides: what must change on the target for it to have what the source has.
//!
//! What is copied and what never is, [`configs::for_target`] decides, as when a topic is created. A setting that is taken back on
//! the source is taken back on the target, if that happens while somebody looks; settings that only the target has stay.

use super::configs::{self, TopicConfigs};
use super::finding::{Finding, Weight};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be changed of one topic's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub set: BTreeMap<String, String>,
    /// Back to what the target's brokers have.
    pub delete: BTreeSet<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }

    /// "retention.ms=5 (now 7), flush.ms removed".
    fn words(&self, target: &TopicConfigs) -> String {
        let set = self.set.iter().map(|(name, value)| match target.effective.get(name) {
            Some(now) => format!("{name}={value} (now {now})"),
            None => format!("{name}={value}"),
        });
        let removed = self.delete.iter().map(|name| format!("{name} removed"));
        set.chain(removed).collect::<Vec<_>>().join(", ")
    }
}

/// What has to change on the target. `before` is what the source had at the last look.
pub fn changes(
    before: Option<&TopicConfigs>,
    source: &TopicConfigs,
    target: &TopicConfigs,
    replication_factor: i16,
) -> Changes {
    let wanted = configs::for_target(source, replication_factor).configs;
    let is_there = |name: &String, value: &String| target.effective.get(name) == Some(value);
    let taken_back = before
        .map(|before| configs::for_target(before, replication_factor).configs)
        .unwrap_or_default()
        .into_keys()
        .filter(|name| !wanted.contains_key(name) && target.own.contains_key(name));
    Changes {
        delete: taken_back.collect(),
        set: wanted.into_iter().filter(|(name, value)| !is_there(name, value)).collect(),
    }
}

/// What a mirror that keeps settings in step would change at its start.
pub fn planned(
    topic: &str,
    source: &TopicConfigs,
    target: &TopicConfigs,
    replication_factor: i16,
) -> Option<Finding> {
    let changes = changes(None, source, target, replication_factor);
    let text = || format!("settings on the target would become the source's: {}", changes.words(target));
    (!changes.is_empty()).then(|| Finding::of_topic(Weight::Note, topic, text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(own: &[(&str, &str)]) -> TopicConfigs {
        let own: BTreeMap<String, String> =
            own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicConfigs { effective: own.clone(), chosen: own.clone(), own }
    }

    fn set(changes: &Changes) -> Vec<(&str, &str)> {
        changes.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn what_differs_is_set_and_what_is_alike_is_left() {
        let source = configs(&[("retention.ms", "5"), ("flush.ms", "7"), ("compression.type", "zstd")]);
        let target = configs(&[("retention.ms", "9"), ("flush.ms", "7"), ("segment.ms", "1")]);
        let found = changes(None, &source, &target, 3);
        assert_eq!(set(&found), [("compression.type", "producer"), ("retention.ms", "5")]);
        assert_eq!(found.delete, BTreeSet::new(), "what only the target has stays");
        let after = configs(&[("retention.ms", "5"), ("flush.ms", "7"), ("compression.type", "producer")]);
        assert!(changes(None, &source, &after, 3).is_empty());
    }

    #[test]
    fn a_default_of_the_brokers_that_says_the_same_is_enough() {
        let target = TopicConfigs { own: BTreeMap::new(), ..configs(&[("retention.ms", "5")]) };
        assert!(changes(None, &configs(&[("retention.ms", "5")]), &target, 1).is_empty());
    }

    #[test]
    fn what_the_source_takes_back_is_taken_back() {
        let (before, now) =
            (configs(&[("retention.ms", "5"), ("flush.ms", "7")]), configs(&[("flush.ms", "7")]));
        let target = configs(&[("retention.ms", "5"), ("flush.ms", "7"), ("segment.ms", "1")]);
        let found = changes(Some(&before), &now, &target, 1);
        assert_eq!((found.set.len(), found.delete), (0, BTreeSet::from(["retention.ms".to_owned()])));
        let gone_there_too = configs(&[("flush.ms", "7")]);
        assert!(changes(Some(&before), &now, &gone_there_too, 1).is_empty());
    }

    #[test]
    fn a_plan_says_what_would_change_and_from_what() {
        let (source, target) = (configs(&[("retention.ms", "5")]), configs(&[("retention.ms", "9")]));
        let finding = planned("t", &source, &target, 1).unwrap();
        assert!(finding.text.ends_with("retention.ms=5 (now 9)"), "{}", finding.text);
        assert_eq!(planned("t", &source, &source, 1), None);
    }
}
