//! Gaps that transactions fill (see `lane/gaps.rs`): one step at a time, for all lanes of the shard that want the same.
//!
//! The steps are control's work, since a coordinator answers them. Every lane that hears of a claim asks for its log end anew, and
//! what it then wants to be filled is filled only under that claim.

use super::Shard;
use super::api::{Event, GapsDone, GapsStep, LaneId};
use super::source::Slot;
use crate::time::Now;

#[derive(Default)]
pub(super) struct Gaps {
    /// Control has a step and has not answered.
    is_asking: bool,
    /// The newest claim that was heard of.
    claim: Option<u64>,
    filling: Vec<Slot>,
}

impl Shard {
    /// Takes the filling as far as it goes now.
    pub(super) fn fill_gaps(&mut self, now: Now) {
        if self.gaps.is_asking || self.asking.is_empty() {
            return;
        }
        if let Some(claim) = self.gaps.claim {
            let mut lanes = Vec::new();
            for &slot in &self.asking {
                let lane = &mut self.lanes[slot].lane;
                if let Some(fill) = lane.wants_gap_fill(now, self.lease, &self.settings, claim) {
                    lane.begin_gap_fill();
                    self.gaps.filling.push(slot);
                    lanes.push((lane.id, fill));
                    self.counters.offsets_filled += (fill.times * (fill.records + 1)).unsigned_abs();
                }
            }
            if !lanes.is_empty() {
                return self.ask_for_gaps(GapsStep::Fill { claim, lanes });
            }
        }
        let wanting: Vec<Slot> =
            self.asking.iter().copied().filter(|&slot| self.lanes[slot].lane.wants_gaps_claim()).collect();
        match self.gaps.claim {
            _ if wanting.is_empty() => {}
            None => self.ask_for_gaps(GapsStep::Claim),
            Some(claim) => {
                for slot in wanting {
                    self.lanes[slot].lane.handle_gaps_claimed(claim);
                    self.refresh(now, slot);
                }
            }
        }
    }

    fn ask_for_gaps(&mut self, step: GapsStep) {
        self.gaps.is_asking = true;
        self.events.push_back(Event::Gaps(step));
    }

    pub(super) fn handle_gaps(&mut self, now: Now, done: GapsDone) {
        self.gaps.is_asking = false;
        let filling = std::mem::take(&mut self.gaps.filling);
        match done {
            GapsDone::Claimed { claim, stopped, .. } => {
                self.gaps.claim = Some(claim);
                for (lane, stop) in stopped {
                    if let Some(&slot) = self.slots.get(&lane) {
                        self.lanes[slot].lane.refuse_gap_fill(&stop, &mut self.events);
                        self.refresh(now, slot);
                    }
                }
                for slot in filling {
                    self.lanes[slot].lane.handle_gap_filled(claim);
                    self.refresh(now, slot);
                }
            }
            GapsDone::Refused(stop) => {
                let waiting = |lane: &LaneId| {
                    let slot = self.slots.get(lane).copied();
                    slot.filter(|&slot| self.lanes[slot].lane.wants_gaps_claim())
                };
                let mut slots = filling;
                slots.extend(self.slots.keys().filter_map(waiting));
                for slot in slots {
                    self.lanes[slot].lane.refuse_gap_fill(&stop, &mut self.events);
                    self.refresh(now, slot);
                }
            }
        }
    }
}
