//! Topics that were deleted on the source: kept, flagged or deleted on the target.

use super::Session;
use crate::config::DeletedTopics;
use crate::control::deleted::{FLAGGED, Missed, Orphan, orphans};
use crate::edge::clock;
use std::collections::BTreeSet;

/// Why the word of the source's metadata is not enough.
const NOT_GONE: &str = "some of the source's brokers know of it, or this user may not see it";

#[derive(Default)]
pub(super) struct Deleted {
    missed: Missed,
    /// Topics of which it was said already why they stay.
    told: BTreeSet<String>,
}

impl Session<'_> {
    /// After a look at both clusters.
    pub(super) fn see_to_deleted_topics(&mut self) {
        if self.config.deleted_topics == DeletedTopics::Keep || !self.config.leads() {
            return;
        }
        let orphans = orphans(self.config, &self.ledger, self.source.observed(), self.target.observed());
        // Somebody has seen to them, or they are back.
        let is_orphan = |topic: &str| orphans.iter().any(|orphan| orphan.topic == topic);
        self.summary.problems.retain(|(topic, problem)| !problem.ends_with(FLAGGED) || is_orphan(topic));
        self.deleted.told.retain(|topic| is_orphan(topic));
        let mut gone = self.deleted.missed.gone(clock::now(), orphans);
        // What is flagged already waits for somebody.
        gone.retain(|orphan| !self.is_flagged(&orphan.topic));
        if gone.is_empty() {
            return;
        }
        // What this user may not see is not gone.
        let topics: Vec<&str> = gone.iter().map(|orphan| orphan.topic.as_str()).collect();
        match self.source.missing_everywhere(&topics) {
            Ok(missing) => {
                for orphan in &gone {
                    match missing.contains(&orphan.topic) {
                        true => self.see_to_deleted(orphan),
                        false => self.keep(orphan, NOT_GONE),
                    }
                }
            }
            Err(error) => {
                let why = format!("the source cannot say whether it is deleted: {error}");
                gone.iter().for_each(|orphan| self.keep(orphan, &why));
            }
        }
    }

    fn is_flagged(&self, topic: &str) -> bool {
        self.summary.problems.iter().any(|(known, problem)| known == topic && problem.ends_with(FLAGGED))
    }

    fn see_to_deleted(&mut self, orphan: &Orphan) {
        let topic = &orphan.topic;
        let is_doubtful = self.summary.stopped.iter().any(|(stopped, ..)| stopped == topic);
        if self.config.deleted_topics == DeletedTopics::Flag || is_doubtful {
            if self.summary.problems.iter().any(|(known, _)| known == topic) {
                return;
            }
            let problem = format!("the source has no such topic any more: {FLAGGED}");
            tracing::error!(topic, "{problem}");
            self.note("topic", format!("{topic}: {problem}"));
            return self.summary.problems.push((topic.clone(), problem));
        }
        match self.target.delete_topic(topic, orphan.target_topic_id) {
            Ok(()) => {
                tracing::warn!(
                    topic,
                    "it was deleted on the source, and is now on the target, too (--deleted-topics)"
                );
                self.note(
                    "topic",
                    format!("{topic} was deleted on the source, and is now on the target, too"),
                );
            }
            Err(error) => self.keep(orphan, &error.to_string()),
        }
    }

    fn keep(&mut self, orphan: &Orphan, why: &str) {
        let topic = &orphan.topic;
        if self.deleted.told.insert(topic.clone()) {
            tracing::warn!(topic, "the source does not list it any more, and the target keeps it: {why}");
            self.note("topic", format!("{topic} is kept: {why}"));
        }
    }
}
