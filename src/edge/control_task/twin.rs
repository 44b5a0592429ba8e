//! What control does so that offsets are the same on both sides.

use super::{Lane, Session};
use crate::control::forecast::handed_over;
use crate::control::ledger::Failover;
use crate::control::offsets;
use crate::control::planner::LanePlan;
use crate::edge::clock;
use crate::error;
use crate::shard::OffsetMode;
use crate::time::Now;
use std::collections::BTreeMap;
use std::sync::Arc;

const POLICY_VIOLATION: i16 = 44;
/// Time between two rounds of deleting what the source has no more.
const TRIM_PAUSE_MS: u64 = 500;

impl Session<'_> {
    /// How the offsets of topics with new lanes are to be.
    pub(super) fn modes(&mut self, plans: &[LanePlan]) -> BTreeMap<Arc<str>, OffsetMode> {
        let is_new = |plan: &&LanePlan| {
            let id = self.ids.get(&(Arc::clone(&plan.topic), plan.partition));
            !id.and_then(|id| self.lanes.get(id)).is_some_and(|lane| lane.is_of(plan))
        };
        let new: Vec<&LanePlan> = plans.iter().filter(is_new).collect();
        let places: Vec<(String, i32)> =
            new.iter().map(|plan| (plan.topic.to_string(), plan.partition)).collect();
        let mut starts: BTreeMap<&str, i64> = BTreeMap::new();
        let offsets = if places.is_empty() {
            BTreeMap::new()
        } else {
            self.source.begin_offsets(&places, self.config.from)
        };
        for ((topic, _), offset) in &offsets {
            let highest = starts.entry(topic).or_default();
            *highest = (*highest).max(*offset);
        }
        let mut modes = BTreeMap::new();
        for plan in new {
            if self.is_handed_over(plan) {
                continue;
            }
            if modes.contains_key(&plan.topic) {
                continue;
            }
            let topic = &*plan.topic;
            let start = starts.get(topic).copied().unwrap_or(0);
            let choice = offsets::choose(self.config, topic, self.cannot_fill.as_deref(), start);
            let mode = choice.stands(self.ledger.mode(topic, plan.partition));
            if let Err(problem) = self.flows(topic, mode) {
                self.give_up(topic, problem);
                continue;
            }
            if let Some(why) = choice.why.filter(|_| !self.ledger.knows(topic)) {
                tracing::info!(topic, "offsets: {:?}, because {why}", choice.mode);
            }
            modes.insert(Arc::clone(&plan.topic), choice.mode);
        }
        modes
    }

    /// Since its failover the partition belongs to the target's clients.
    fn is_handed_over(&mut self, plan: &LanePlan) -> bool {
        let place = (plan.topic.to_string(), plan.partition);
        let Some(failover) = self.ledger.failovers().get(&place) else { return false };
        let problem = handed_over(plan.partition, failover);
        self.give_up(&plan.topic, problem);
        true
    }

    /// Everything is mirrored: from here on the topics are the target's clients'.
    pub(in crate::edge) fn hand_over(&mut self) {
        if !self.config.hand_over {
            return;
        }
        let at_ms = clock::now().wall_ms;
        for (id, lane) in self.lanes.iter().filter(|(_, lane)| !lane.stopped) {
            let Some(checkpoint) = self.ledger.checkpoint(*id) else { continue };
            let source_offset = checkpoint.source_offset;
            let Ok(target_offset) = self.ledger.target_of(&lane.topic, lane.partition, source_offset) else {
                continue;
            };
            let failover = Failover { source_offset, target_offset, is_forced: false, at_ms };
            self.ledger.fail_over(&lane.topic, lane.partition, failover);
        }
    }

    pub(super) fn give_up(&mut self, topic: &str, problem: String) {
        if !self.summary.problems.iter().any(|(known, _)| known == topic) {
            tracing::error!(topic, "{problem}");
            self.summary.problems.push((topic.to_owned(), problem));
        }
    }

    /// Deletes on the target what the source has no more.
    pub(super) fn trim(&mut self, now: Now) {
        let trims = std::mem::take(&mut self.trims);
        let place = |lane: &Lane| (lane.topic.to_string(), lane.partition);
        let ends: BTreeMap<(String, i32), i64> =
            trims.iter().filter_map(|(id, offset)| Some((place(self.lanes.get(id)?), *offset))).collect();
        self.trim_at_us = now.after_ms(TRIM_PAUSE_MS);
        for ((topic, partition), code) in self.target.delete_records(&ends) {
            if error::is_retriable(code) {
                let id = self.ids.get(&(Arc::from(topic.as_str()), partition)).copied();
                if let Some((id, offset)) = id.and_then(|id| Some((id, *trims.get(&id)?))) {
                    self.trims.entry(id).or_insert(offset);
                }
            } else if self.untrimmed.insert(topic.clone()) {
                // Offsets are the same all the same.
                let name = error::name(code);
                let advice = match code {
                    error::TOPIC_AUTHORIZATION_FAILED => {
                        "grant the mirror's principal DELETE on the target's topics"
                    }
                    POLICY_VIOLATION => {
                        "its cleanup.policy has to include `delete`, or that is forbidden there"
                    }
                    _ => error::advice(code),
                };
                tracing::warn!(
                    topic,
                    partition,
                    "the target keeps what lies before the source's first record (empty records that consumers see, or records \
                     that the source has deleted), since it does not let them be deleted (DeleteRecords): {name}: {advice}"
                );
            }
        }
    }
}
