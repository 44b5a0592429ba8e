//! Where each group stands on both sides, and why a position is not mirrored.

use super::{Answers, Asked, GroupSync};
use crate::control::forecast::rights::Operations;
use crate::control::groups::{Positions, State, decide, is_wanted};
use crate::edge::admin::AdminError;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// By group.
type Allowed = BTreeMap<String, Operations>;

/// One position of one group.
#[derive(Debug, Serialize)]
pub struct Status {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    pub source_offset: i64,
    /// The source's position in the target's offsets; None when it has none, or none yet.
    pub translated_offset: Option<i64>,
    /// What the group has committed on the target.
    pub target_offset: Option<i64>,
    /// "same", "to be mirrored", or why not.
    #[serde(serialize_with = "as_text")]
    pub state: State,
}

impl GroupSync {
    /// A look that changes nothing.
    pub fn status(
        &mut self,
        translate: &mut dyn FnMut(Asked) -> Option<Answers>,
    ) -> Result<Vec<Status>, AdminError> {
        let mut groups: Vec<String> = self.source.list()?.into_keys().collect();
        groups.retain(|group| is_wanted(&self.config, group));
        let here = self.source.fetch(&groups)?;
        let on_target = self.target.list()?;
        // Looking for the coordinator of a cluster's first group would make it create the topic of positions.
        let there = if on_target.is_empty() { BTreeMap::new() } else { self.target.fetch(&groups)? };
        let nothing = Positions::new();
        let mut statuses = Vec::new();
        for (group, positions) in here {
            let asked =
                positions.iter().map(|((topic, partition), at)| (topic.clone(), *partition, at.offset));
            let answers = translate(asked.collect()).unwrap_or_default();
            let there = there.get(&group).unwrap_or(&nothing);
            let rewind = self.config.groups_rewind;
            let is_active = on_target.get(&group).copied().unwrap_or(false);
            for ((place, committed), translated) in positions.iter().zip(answers) {
                let on_target = there.get(place);
                statuses.push(Status {
                    group: group.clone(),
                    topic: place.0.clone(),
                    partition: place.1,
                    source_offset: committed.offset,
                    translated_offset: translated.ok(),
                    target_offset: on_target.map(|committed| committed.offset),
                    state: State::of(decide(committed, translated, on_target, rewind), is_active),
                });
            }
        }
        Ok(statuses)
    }

    /// What this user may do with the groups that are to be mirrored, on the source and on the target.
    pub fn operations(&mut self) -> Result<(Allowed, Allowed), AdminError> {
        let mut groups: Vec<String> = self.source.list()?.into_keys().collect();
        groups.retain(|group| is_wanted(&self.config, group));
        Ok((self.source.operations(&groups)?, self.target.operations(&groups)?))
    }
}

fn as_text<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(state)
}

/// The table for people.
pub fn show(statuses: &[Status]) -> String {
    let number = |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
    let mut rows =
        vec![["GROUP", "TOPIC", "PARTITION", "SOURCE", "AS TARGET", "TARGET", "STATE"].map(String::from)];
    rows.extend(statuses.iter().map(|status| {
        [
            status.group.clone(),
            status.topic.clone(),
            status.partition.to_string(),
            status.source_offset.to_string(),
            number(status.translated_offset),
            number(status.target_offset),
            status.state.to_string(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
