//! Keeps settings of topics in step, if told to.

use super::Session;
use crate::control::config_sync::{self, Changes};
use crate::control::configs::TopicConfigs;
use crate::edge::admin::AdminError;
use crate::edge::clock;
use crate::error;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct ConfigSync {
    /// When to look next (steady clock, µs).
    at_us: u64,
    /// The source's settings when the target was last in step with them.
    before: BTreeMap<String, TopicConfigs>,
    /// Topics whose settings the target does not let us change, which has been said.
    refused: BTreeSet<String>,
}

impl Session<'_> {
    /// Looks at both sides' settings when it is time. What cannot be done is said, and does not keep data from flowing.
    pub(super) fn sync_configs(&mut self) {
        let now = clock::now();
        if !self.config.sync_topic_configs || now.mono_us < self.config_sync.at_us {
            return;
        }
        self.config_sync.at_us = now.after_ms(self.config.topic_configs_interval_ms);
        if let Err(error) = self.try_sync_configs() {
            tracing::warn!(%error, "cannot compare the topics' settings, trying again later");
        }
    }

    fn try_sync_configs(&mut self) -> Result<(), AdminError> {
        if !self.source.tells_configs()? {
            // What is not known is not to be undone. (The plan says so.)
            return Ok(());
        }
        let topics = self.topics_in_step();
        let source = self.source.topic_configs(topics.iter().map(String::as_str))?;
        let target = self.target.topic_configs(topics.iter().map(String::as_str))?;
        let mut changes = BTreeMap::new();
        // Where the target is not in step, what was taken back on the source is to be taken back at the next look still.
        let mut behind = BTreeSet::new();
        for (topic, source) in &source {
            let Some(target) = target.get(topic) else {
                behind.insert(topic.clone());
                continue;
            };
            let before = self.config_sync.before.get(topic);
            let found = config_sync::changes(before, source, target, self.replicas_on_target(topic));
            if !found.is_empty() {
                changes.insert(topic.clone(), found);
            }
        }
        if !changes.is_empty() {
            for (topic, code, said) in self.target.alter_topic_configs(&changes)? {
                self.tell_changed(&topic, &changes, code, &said);
                if code != 0 {
                    behind.insert(topic);
                }
            }
        }
        let before = &mut self.config_sync.before;
        before.retain(|topic, _| topics.contains(topic));
        before.extend(source.into_iter().filter(|(topic, _)| !behind.contains(topic)));
        Ok(())
    }

    fn tell_changed(&mut self, topic: &str, changes: &BTreeMap<String, Changes>, code: i16, said: &str) {
        let Some(Changes { set, delete }) = changes.get(topic) else { return };
        if code == 0 {
            self.config_sync.refused.remove(topic);
            tracing::info!(topic, ?set, ?delete, "settings on the target are the source's now");
        } else if self.config_sync.refused.insert(topic.to_owned()) {
            tracing::warn!(
                topic,
                ?set,
                ?delete,
                "the target does not let its settings become the source's: {}: {}{said}",
                error::name(code),
                error::advice(code)
            );
        }
    }

    fn replicas_on_target(&self, topic: &str) -> i16 {
        let twin = self.target.observed().topics.get(topic);
        twin.map_or(1, crate::control::metadata::Topic::replication_factor)
    }
}
