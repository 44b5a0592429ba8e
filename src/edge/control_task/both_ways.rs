//! Other links that write to the source: what they wrote is not sent back to where it came from.

use super::{Lane, Session};
use crate::control::offsets;
use crate::control::planner::Action;
use crate::edge::admin::AdminError;
use crate::edge::{clock, ledger_io};
use crate::shard::{Command, LaneId, OffsetMode};
use std::collections::BTreeMap;

/// New producer ids are asked for together, not more often than this.
const WRITERS_PAUSE_MS: u64 = 50;
const RETRY_MS: u64 = 200;

impl Session<'_> {
    /// Reads the state topics on the source to their ends.
    pub(super) fn look_upstream(&mut self) -> Result<(), AdminError> {
        ledger_io::read_peers(&mut self.source, &mut self.peers)
    }

    /// Says whose the producer ids are that lanes have met. Whatever a link writes, its producer id is in its state topic before,
    /// so who is in none by now is a client.
    pub(super) fn answer_writers(&mut self) {
        let now = clock::now();
        if self.writers_wanted.is_empty() || now.mono_us < self.writers_at_us {
            return;
        }
        let read = self.source.observe().map(drop).and_then(|()| self.look_upstream());
        if let Err(error) = read {
            tracing::warn!(%error, "cannot look for links in the other direction, trying again");
            self.writers_at_us = now.after_ms(RETRY_MS);
            return;
        }
        self.writers_at_us = clock::now().after_ms(WRITERS_PAUSE_MS);
        for producer_id in std::mem::take(&mut self.writers_wanted) {
            let writer = self.peers.writer(producer_id, &self.cluster_ids.0, &self.cluster_ids.1);
            self.tell_all(&Command::Writer { producer_id, writer });
        }
    }

    /// Whether the topic's records may be written to the target, and if so, notes where they come from.
    pub(super) fn flows(&mut self, topic: &str, mode: OffsetMode) -> Result<(), String> {
        let name = self.config.source.names.on_cluster(topic);
        // That others fill the topic on the target does not mean that it may come back from there.
        let goes_both_ways = self.config.both_directions.iter().any(|pattern| pattern.is_match(topic));
        let mode = match mode {
            OffsetMode::Shared if !goes_both_ways => OffsetMode::Append,
            _ => mode,
        };
        let clusters = self.peers.upstream(&name, mode, &self.cluster_ids.0, &self.cluster_ids.1)?;
        self.ledger.set_upstream(topic, clusters);
        Ok(())
    }

    /// Whether the action is worth it: a topic that would be left out at once is not created first.
    pub(super) fn may_act(&mut self, action: &Action) -> bool {
        let Action::CreateTopic { name, .. } = action else { return true };
        // Where it begins makes no difference to that.
        let mode = offsets::choose(self.config, name, self.cannot_fill.as_deref(), 0).mode;
        let problem = self.flows(name, mode).err();
        problem.map(|problem| self.give_up(name, problem)).is_none()
    }

    /// Stops topics that another link has begun to send back meanwhile.
    pub(super) fn stop_circles(&mut self) {
        let mut topics: BTreeMap<String, Vec<(LaneId, i32)>> = BTreeMap::new();
        for (id, Lane { topic, partition, .. }) in &self.lanes {
            topics.entry(topic.to_string()).or_default().push((*id, *partition));
        }
        for (topic, lanes) in topics {
            let Some(mode) = lanes.iter().find_map(|(_, partition)| self.ledger.mode(&topic, *partition))
            else {
                continue;
            };
            if let Err(problem) = self.flows(&topic, mode) {
                self.give_up(&topic, problem);
                lanes.into_iter().for_each(|(id, _)| self.forget(id));
            }
        }
    }
}
