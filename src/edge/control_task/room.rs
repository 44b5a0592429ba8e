//! `--oversize raise`: lanes' wishes for room in the target's topics.

use super::Session;
use crate::control::config_sync::Changes;
use crate::control::configs::MESSAGE_BYTES;
use crate::control::room::room;
use crate::edge::admin::AdminError;
use crate::edge::clock;
use crate::error;
use crate::shard::{Command, LaneId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const RETRY_MS: u64 = 1_000;

#[derive(Default)]
pub(super) struct Room {
    /// Lanes that wait, with the size of the batch that they have, by topic.
    wanted: BTreeMap<Arc<str>, BTreeMap<LaneId, usize>>,
    /// When to try (steady clock, µs).
    at_us: u64,
    /// Topics that stay as they are, which has been said.
    refused: BTreeSet<Arc<str>>,
}

impl Session<'_> {
    pub(super) fn want_room(&mut self, id: LaneId, batch_bytes: usize) {
        if let Some(lane) = self.lanes.get(&id) {
            self.room.wanted.entry(Arc::clone(&lane.topic)).or_default().insert(id, batch_bytes);
        }
    }

    /// Raises what is to be raised, and tells the lanes. A cluster that does not answer is waited for.
    pub(super) fn make_room(&mut self) {
        if self.room.wanted.is_empty() || clock::now().mono_us < self.room.at_us {
            return;
        }
        if let Err(error) = self.try_make_room() {
            tracing::warn!(%error, "cannot raise {MESSAGE_BYTES} now, trying again");
            self.room.at_us = clock::now().after_ms(RETRY_MS);
        }
    }

    fn try_make_room(&mut self) -> Result<(), AdminError> {
        let topics: Vec<Arc<str>> = self.room.wanted.keys().cloned().collect();
        let source = self.source.topic_configs(topics.iter().map(|topic| &**topic))?;
        let target = self.target.topic_configs(topics.iter().map(|topic| &**topic))?;
        for topic in topics {
            let Some(lanes) = self.room.wanted.get(&topic).cloned() else { continue };
            let decide = |batch_bytes: &usize| {
                let batch_bytes = i64::try_from(*batch_bytes).unwrap_or(i64::MAX);
                room(batch_bytes, source.get(&*topic), target.get(&*topic))
            };
            let decided: Vec<_> = lanes.iter().map(|(id, bytes)| (*id, decide(bytes))).collect();
            let raised =
                decided.iter().filter_map(|(_, room)| *room.as_ref().ok()?).max_by_key(|(_, to)| *to);
            let denied = match raised {
                Some((from, to)) => self.raise(&topic, from, to)?,
                None => None,
            };
            for (id, room) in decided {
                let refused = room.and_then(|room| match (&denied, room) {
                    (Some(why), Some(_)) => Err(why.clone()),
                    _ => Ok(()),
                });
                let is_made = refused.is_ok();
                if let Err(why) = refused {
                    self.tell_no_room(&topic, id, &why);
                }
                if let Some(lane) = self.lanes.get(&id) {
                    self.shards[lane.shard].send(Command::Room { lane: id, is_made });
                }
            }
            self.room.wanted.remove(&topic);
        }
        Ok(())
    }

    /// Some: the target does not allow it, and why.
    fn raise(&mut self, topic: &Arc<str>, from: i64, to: i64) -> Result<Option<String>, AdminError> {
        let set = [(MESSAGE_BYTES.to_owned(), to.to_string())].into();
        let changes = [(topic.to_string(), Changes { set, delete: BTreeSet::new() })].into();
        let answers = match self.target.alter_topic_configs(&changes) {
            Ok(answers) => answers,
            // A broker that does not know how to (before Kafka 2.3).
            Err(error) if !error.is_passing() => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let Some((_, code, said)) = answers.into_iter().next() else {
            return Err(AdminError::missing("the topic whose setting was to be raised"));
        };
        if code == 0 {
            let text =
                format!("{MESSAGE_BYTES} on the target is raised from {from} to {to} (--oversize raise)");
            tracing::info!(topic = &**topic, "{text}");
            self.note("raised", format!("{topic}: {text}"));
            return Ok(None);
        }
        let refused = format!("{}: {}{said}", error::name(code), advice(code));
        match error::is_retriable(code) {
            true => Err(AdminError::Refused { what: format!("raising {MESSAGE_BYTES} of {topic}"), code }),
            false => Ok(Some(refused)),
        }
    }

    fn tell_no_room(&mut self, topic: &Arc<str>, id: LaneId, why: &str) {
        let text = format!("{MESSAGE_BYTES} on the target is not raised for it, because {why}");
        self.note_of(id, "not raised", &text);
        if self.room.refused.insert(Arc::clone(topic)) {
            tracing::warn!(
                topic = &**topic,
                "a batch is too large for the target; {text}. Such batches are split instead (--oversize)"
            );
        }
    }
}

fn advice(code: i16) -> &'static str {
    match code {
        error::TOPIC_AUTHORIZATION_FAILED => {
            "grant the mirror's principal ALTER_CONFIGS on the target's topics"
        }
        _ => error::advice(code),
    }
}
