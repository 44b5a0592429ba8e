//! What control does for the threads that look at consumer groups, and for those that send heartbeats.

use super::Session;
use crate::edge::client_topics::Heartbeats;
use crate::edge::groups::{Answers, Asked, CheckpointTask, Checkpoints, GroupSync, GroupTask};
use crate::edge::mirror::MirrorError;
use std::sync::Arc;

impl Session<'_> {
    pub(super) fn start_groups(&mut self) -> Result<(), MirrorError> {
        if !self.config.groups.is_empty() {
            self.groups = Some(GroupTask::start(self.config).map_err(MirrorError::Groups)?);
        }
        if !self.config.client_topics.checkpoints.is_empty() {
            self.checkpoints =
                Some(CheckpointTask::start(self.config, &self.outside).map_err(MirrorError::Thread)?);
        }
        if self.config.leads() && self.config.client_topics.heartbeats.are_any() {
            self.heartbeats = Some(Heartbeats::start(self.config).map_err(MirrorError::Thread)?);
        }
        Ok(())
    }

    /// Says where the groups' offsets are on the target.
    pub(super) fn answer_groups(&mut self) {
        let groups = self.groups.as_ref().map(|groups| &groups.questions);
        let checkpoints = self.checkpoints.as_ref().map(|checkpoints| &checkpoints.questions);
        for questions in [groups, checkpoints].into_iter().flatten() {
            while let Ok(question) = questions.try_recv() {
                // Who asked may have gone meanwhile.
                let _ = question.answer.send(self.translate(&question.offsets));
            }
        }
    }

    /// Everything is mirrored: so are the groups' positions, once more and for the last time.
    pub(super) fn finish_groups(&mut self) {
        if self.checkpoints.take().is_some() {
            let mut checkpoints = Checkpoints::new(Arc::new(self.config.clone()), &self.outside);
            if let Err(error) = checkpoints.last_round(&mut |asked| Some(self.translate(&asked))) {
                tracing::warn!(%error, "checkpoints of consumer groups are not up to date on the target");
            }
        }
        if self.groups.take().is_none() {
            return;
        }
        let mut sync = GroupSync::new(Arc::new(self.config.clone()));
        match sync.last_round(&mut |asked| Some(self.translate(&asked))) {
            Ok(round) => {
                for (group, topic, partition, reason) in &round.skipped {
                    tracing::warn!(group, topic, partition, "the group's offset is not mirrored: {reason}");
                }
            }
            Err(error) => tracing::warn!(%error, "consumer groups' offsets are not up to date on the target"),
        }
    }

    fn translate(&self, asked: &Asked) -> Answers {
        let one = |(topic, partition, offset): &(String, i32, i64)| {
            self.ledger.target_of(topic, *partition, *offset)
        };
        asked.iter().map(one).collect()
    }
}
