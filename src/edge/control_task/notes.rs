//! What happened to the link, noted for those who watch it, and for the log of a lane that stops for good.

use super::Session;
use crate::edge::clock;
use crate::shard::{LaneId, Side, Stop};
use crate::stats::Noted;
use std::collections::BTreeMap;

/// What is said of a lane that stops: so many events, and of so many lanes. The others are with `/events`.
const SAID: (usize, usize) = (12, 10);

#[derive(Default)]
pub(super) struct Notes {
    /// Lanes whose leaders moved since that was noted last: on which side, from where, and where to.
    moves: BTreeMap<(Side, i32, i32), Vec<LaneId>>,
    lanes_said: usize,
}

impl Notes {
    /// Leaders are brokers and their epochs.
    pub(super) fn moved(&mut self, lane: LaneId, side: Side, from: (i32, i32), to: (i32, i32), is_new: bool) {
        if !is_new && from.0 != to.0 {
            self.moves.entry((side, from.0, to.0)).or_default().push(lane);
        }
    }
}

impl Session<'_> {
    pub(super) fn note(&self, kind: &str, text: String) {
        self.outside.flight.note(Noted::of_link(clock::now().wall_ms, kind, text));
    }

    pub(super) fn note_of(&self, lane: LaneId, kind: &str, text: &str) {
        self.note_all(kind, &[lane], text);
    }

    pub(super) fn note_all(&self, kind: &str, lanes: &[LaneId], text: &str) {
        let names: Vec<(&str, i32)> = lanes
            .iter()
            .filter_map(|id| self.lanes.get(id))
            .map(|lane| (&*lane.topic, lane.partition))
            .collect();
        if !names.is_empty() {
            self.outside.flight.open().note_all(clock::now().wall_ms, kind, &names, text);
        }
    }

    /// After a look at both clusters.
    pub(super) fn note_taken_up(&mut self, fresh: &[(String, i32)]) {
        if !fresh.is_empty() {
            let names: Vec<(&str, i32)> =
                fresh.iter().map(|(topic, partition)| (topic.as_str(), *partition)).collect();
            self.outside.flight.open().note_all(clock::now().wall_ms, "assigned", &names, "taken up");
        }
        for ((side, from, to), lanes) in std::mem::take(&mut self.notes.moves) {
            let broker = |id: i32| if id < 0 { "nobody".to_owned() } else { format!("broker {id}") };
            self.note_all(
                "leader",
                &lanes,
                &format!("{side:?} moved from {} to {}", broker(from), broker(to)),
            );
        }
    }

    /// The lane stands still for good. What came before may say why.
    pub(super) fn note_stop(&mut self, id: LaneId, stop: Stop) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.stopped = true;
        let flight = &self.outside.flight;
        if self.notes.lanes_said < SAID.1 {
            self.notes.lanes_said += 1;
            for event in flight.open().last_of(&lane.topic, lane.partition, SAID.0) {
                tracing::info!(
                    topic = &*lane.topic,
                    partition = lane.partition,
                    at_ms = event.at_ms,
                    "before it stopped: {event}"
                );
            }
        }
        flight.note(Noted::of_lane(
            clock::now().wall_ms,
            "stopped",
            &lane.topic,
            lane.partition,
            stop.detail.as_str(),
        ));
        self.summary.note_stop(&lane.topic, lane.partition, stop);
    }
}
