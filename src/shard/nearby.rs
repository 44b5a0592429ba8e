//! Reading from a replica that is nearer than the leader (KIP-392).
//!
//! A fetch tells where we are ([`Settings::rack`](super::Settings::rack)). A leader whose cluster selects replicas by rack then
//! answers with a broker's id instead of records, and the lane is read there for a while. A replica may be behind its leader, so
//! only what it has counts, and what it has deleted: whatever else it says (that the offset is out of range, that its log has
//! parted from what was read) is asked of the leader.

use super::api::{Event, Side};
use super::source::Slot;
use super::{Member, Shard};
use crate::time::Now;

/// The leader is asked again after so long: the replica may have fallen behind. (Kafka's consumers do it every
/// `metadata.max.age.ms`, 5 minutes.)
const READ_MS: u64 = 30_000;
/// A replica that failed is left alone for so long.
const REST_MS: u64 = 60_000;
/// Time between two looks for what is over.
const LOOK_MS: u64 = 5_000;

/// Where a lane is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadAt {
    /// At the leader, which may send it elsewhere.
    #[default]
    Leader,
    Replica {
        broker: i32,
        until_us: u64,
        /// The lane's position when it went there.
        from_offset: i64,
    },
    /// At the leader, which is not told where we are.
    LeaderOnly { until_us: u64 },
}

impl ReadAt {
    pub(super) fn is_replica(self) -> bool {
        matches!(self, Self::Replica { .. })
    }

    pub(super) fn is_leader_only(self) -> bool {
        matches!(self, Self::LeaderOnly { .. })
    }
}

impl Member {
    /// The broker that the lane is read at.
    pub(super) fn source_broker(&self) -> i32 {
        match self.read_at {
            ReadAt::Replica { broker, .. } => broker,
            ReadAt::Leader | ReadAt::LeaderOnly { .. } => self.lane.source.broker,
        }
    }
}

impl Shard {
    /// The leader sends the lane to a replica.
    pub(super) fn read_at_replica(&mut self, now: Now, slot: Slot, broker: i32) {
        if self.lanes[slot].read_at != ReadAt::Leader {
            return;
        }
        let member = &mut self.lanes[slot];
        // A leader sends readers to replicas that have their position, whether they get any further or not.
        let stands_still = std::mem::take(&mut member.got_nothing) && member.lane.is_behind();
        let is_known = self.brokers[Side::Source as usize].contains_key(&broker);
        if !is_known {
            // A broker that has just joined.
            self.events.push_back(Event::LeaderUnknown { lane: member.lane.id, side: Side::Source });
        }
        if stands_still || !is_known {
            return self.read_at_leader_only(now, slot);
        }
        let from_offset = member.lane.read_offset();
        self.read_at(now, slot, ReadAt::Replica { broker, until_us: now.after_ms(READ_MS), from_offset });
    }

    /// The replica did not give what it was asked for.
    pub(super) fn read_at_leader_only(&mut self, now: Now, slot: Slot) {
        self.read_at(now, slot, ReadAt::LeaderOnly { until_us: now.after_ms(REST_MS) });
    }

    fn read_at(&mut self, now: Now, slot: Slot, read_at: ReadAt) {
        self.lanes[slot].read_at = read_at;
        self.unbound.insert(slot);
        self.nearby_look_us.get_or_insert(now.after_ms(LOOK_MS));
    }

    /// Lanes whose time is over go back to their leaders.
    pub(super) fn look_nearby(&mut self, now: Now) {
        if self.nearby_look_us.is_none_or(|at_us| at_us > now.mono_us) {
            return;
        }
        self.nearby_look_us = None;
        for slot in 0..self.lanes.len() {
            let member = &mut self.lanes[slot];
            let until_us = match member.read_at {
                ReadAt::Leader => continue,
                ReadAt::Replica { until_us, .. } | ReadAt::LeaderOnly { until_us } => until_us,
            };
            if until_us > now.mono_us {
                self.nearby_look_us = Some(now.after_ms(LOOK_MS));
                continue;
            }
            if let ReadAt::Replica { from_offset, .. } = member.read_at {
                member.got_nothing = member.lane.read_offset() == from_offset;
            }
            member.read_at = ReadAt::Leader;
            self.unbound.insert(slot);
        }
    }
}
