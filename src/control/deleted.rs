//! Topics of the target whose source topic was deleted, and what becomes of them.

use super::finding::{Finding, Weight};
use super::ledger::Ledger;
use super::metadata::Observed;
use super::topics;
use crate::config::{DeletedTopics, Mirror};
use crate::time::Now;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A topic counts as deleted when the source has not listed it for so long: brokers hear of topics late, too.
const GONE_MS: u64 = 30_000;

/// A topic that only the target has, all of which the link wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub topic: String,
    /// What identifies it on the target, whatever else is called so.
    pub target_topic_id: Uuid,
}

/// Those that the configuration asks for and the link has written, that the target still has, and the source does not list. Not
/// those that were handed over to the target's clients, or that others write to, too.
pub fn orphans(config: &Mirror, ledger: &Ledger, source: &Observed, target: &Observed) -> Vec<Orphan> {
    let own = ledger.own_topics().into_iter();
    let gone = own.filter(|(topic, id)| {
        !source.topics.contains_key(*topic)
            && target.topics.get(*topic).is_some_and(|twin| twin.id == *id)
            && topics::is_selected(config, topic)
    });
    gone.map(|(topic, target_topic_id)| Orphan { topic: topic.to_owned(), target_topic_id }).collect()
}

/// Since when topics have been missed (steady clock, µs).
#[derive(Debug, Default)]
pub struct Missed {
    since_us: BTreeMap<String, u64>,
}

impl Missed {
    /// Those that have been gone for long enough, of all that are.
    pub fn gone(&mut self, now: Now, orphans: Vec<Orphan>) -> Vec<Orphan> {
        let before = std::mem::take(&mut self.since_us);
        for orphan in &orphans {
            let since_us = before.get(&orphan.topic).copied().unwrap_or(now.mono_us);
            self.since_us.insert(orphan.topic.clone(), since_us);
        }
        let is_gone = |orphan: &Orphan| {
            self.since_us.get(&orphan.topic).is_some_and(|since_us| now.mono_us >= since_us + GONE_MS * 1000)
        };
        orphans.into_iter().filter(is_gone).collect()
    }
}

/// What `twinlog plan` says of them.
pub fn planned(config: &Mirror, orphans: &[Orphan]) -> Vec<Finding> {
    let finding = |orphan: &Orphan| {
        let (weight, text) = match config.deleted_topics {
            DeletedTopics::Keep => (Weight::Note, "the target keeps it (--deleted-topics)"),
            DeletedTopics::Flag => (Weight::Warning, FLAGGED),
            DeletedTopics::Delete => {
                (Weight::Warning, "it would be deleted on the target, too (--deleted-topics)")
            }
        };
        Finding::of_topic(
            weight,
            &orphan.topic,
            format!("the source has no topic {} any more: {text}", orphan.topic),
        )
    };
    orphans.iter().map(finding).collect()
}

/// Of a topic that somebody has to see to.
pub const FLAGGED: &str = "delete it on the target, too, or --exclude it (--deleted-topics)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ledger::standing_tests::ledger;
    use crate::control::topics::tests::{cluster, config};
    use serde_json::{Value, json};

    /// The link has mirrored `t`, whose id on the target is 2.
    fn found(
        mode: &str,
        others: &[(Value, Value)],
        source: &[&str],
        target_id: u128,
        excluded: bool,
    ) -> usize {
        let ledger = ledger(mode, json!([[0, 0, 0, 0]]), json!([5, 5]), others);
        let config = config(&[".*"], if excluded { &["t"] } else { &[] });
        let source = cluster(1, &source.iter().map(|&name| (name, 1)).collect::<Vec<_>>());
        let mut target = cluster(1, &[("t", 1), ("u", 1)]);
        target.topics.get_mut("t").unwrap().id = Uuid::from_u128(target_id);
        orphans(&config, &ledger, &source, &target).len()
    }

    #[test]
    fn only_what_is_the_links_alone_is_an_orphan() {
        assert_eq!(found("append", &[], &["u"], 2, false), 1);
        assert_eq!(found("identical", &[], &[], 2, false), 1);
        assert_eq!(found("append", &[], &["t"], 2, false), 0, "the source has it");
        assert_eq!(found("append", &[], &["u"], 3, false), 0, "another topic of that name");
        assert_eq!(found("append", &[], &["u"], 0, false), 0, "a target without ids");
        assert_eq!(found("append", &[], &["u"], 2, true), 0, "nobody asks for it");
        assert_eq!(found("shared", &[], &["u"], 2, false), 0, "others write to it");
        let failover = json!({"source_offset": 5, "target_offset": 5, "is_forced": false, "at_ms": 1});
        let handed_over = [(json!({"t": "failover", "topic": "t", "partition": 0}), failover)];
        assert_eq!(found("append", &handed_over, &["u"], 2, false), 0, "it was failed over");
    }

    #[test]
    fn a_topic_is_gone_when_it_was_missed_for_long_enough() {
        let orphan = |topic: &str| Orphan { topic: topic.to_owned(), target_topic_id: Uuid::nil() };
        let at = |ms: u64| Now { mono_us: ms * 1000, wall_ms: 0 };
        let mut missed = Missed::default();
        assert!(missed.gone(at(0), vec![orphan("t")]).is_empty());
        assert!(missed.gone(at(GONE_MS - 1), vec![orphan("t"), orphan("u")]).is_empty());
        assert_eq!(missed.gone(at(GONE_MS), vec![orphan("t"), orphan("u")]), [orphan("t")]);
        assert!(missed.gone(at(GONE_MS + 1), vec![orphan("u")]).is_empty(), "it is back");
        assert!(missed.gone(at(GONE_MS + 2), vec![orphan("t")]).is_empty(), "its time begins anew");
    }
}
