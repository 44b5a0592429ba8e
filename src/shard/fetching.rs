//! The next fetch of each source connection: for which lanes, from where, and how much.

use super::intake::{FETCH_KEY, PARTITION_BYTES_MIN};
use super::lane::FetchFrom;
use super::source::{Changes, Slot, Source, Tag, Walking};
use super::{Member, Shard};
use crate::config::Isolation;
use crate::limits::{BATCH_HEADER_BYTES, LANE_PENDING_BYTES_MAX};
use crate::shard::Side;
use crate::time::Now;
use crate::wire::TopicKey;
use crate::wire::fetch::{FetchPartition, FetchRequest, VERSIONS, WHOLE_MIN};
use bytes::BytesMut;

/// The last version that names topics; later ones have ids (KIP-516).
const FETCH_NAMES_MAX: i16 = 12;
/// Sessions (KIP-227) since this version.
const FETCH_SESSIONS_MIN: i16 = 7;
/// A fetch that could bring less than this waits until there is more room.
const FETCH_BYTES_MIN: usize = 256 << 10;
/// How long a broker may wait for records of some partitions while others are not asked for.
const TURN_MS: i32 = 20;
/// One part in so many of the buffers is for lanes that go before the others.
const FIRST_SHARE: usize = 4;

impl Shard {
    /// Sends the fetches that are due.
    pub(super) fn fetch(&mut self, now: Now) {
        self.turn_limits(now);
        let outgoing: usize = self.sinks.values().map(|sink| sink.conn.outgoing_bytes()).sum();
        let reserved: usize = self.sources.values().map(|source| source.reserved_bytes).sum();
        let held = self.pending_bytes + outgoing + reserved + self.letters_bytes();
        let all = self.settings.buffer_bytes;
        let room = all.saturating_sub(held);
        let kept = if self.has_first { all / FIRST_SHARE } else { 0 };
        let left = if self.has_first { self.fetch_of(now, true, kept, room) } else { room };
        if self.throttle.may_fetch(now) {
            let firsts = self.sources.iter().filter(|((_, route), _)| route.is_first());
            let used: usize = firsts.map(|(_, source)| source.reserved_bytes).sum();
            self.fetch_of(now, false, all - kept, left.saturating_sub(kept.saturating_sub(used)));
        }
    }

    /// Lanes whose limit is reached leave the fetches, and those come back for whom it is not any more.
    fn turn_limits(&mut self, now: Now) {
        for limit in &mut self.limits {
            if !limit.turns(now) {
                continue;
            }
            for &slot in &limit.lanes {
                if let Some(source) = self.lanes[slot].source_key.and_then(|key| self.sources.get_mut(&key)) {
                    source.touch(slot);
                }
            }
        }
    }

    /// Sends those of the lanes that go before the others, or of the others, for whom there is so much of the buffers, and at this
    /// moment so much room in them. Returns how much room is left.
    fn fetch_of(&mut self, now: Now, is_first: bool, share: usize, mut room: usize) -> usize {
        let sources = self.sources.keys().filter(|(_, route)| route.is_first() == is_first).count();
        // A fetch holds its room while the broker waits for data: no source may take what another needs.
        let fair = share / sources.max(1);
        for (&(_, route), source) in &mut self.sources {
            if route.is_first() != is_first || !source.may_fetch() || room < FETCH_BYTES_MIN.min(fair) {
                continue;
            }
            let names = source.names_only;
            let max = if names { FETCH_NAMES_MAX } else { *VERSIONS.end() };
            let Some(version) = source.conn.versions().pick(FETCH_KEY, *VERSIONS.start(), max) else {
                continue;
            };
            let (members, limits) = (&self.lanes, &self.limits);
            let path = source.path;
            let wanted = |slot: Slot| -> Option<FetchFrom> {
                let member = &members[slot];
                let is_due = member.fetch_pause_until_us <= now.mono_us;
                let stays = member.path_wanted == path;
                let is_held = member.limit.is_some_and(|limit| limits[limit].is_held);
                (is_due && stays && !is_held && !member.is_paused && member.sink_key.is_some())
                    .then(|| member.lane.fetch_from(LANE_PENDING_BYTES_MAX))
                    .flatten()
            };
            let lanes = source.lane_count();
            let Some(changes) = source.changes(version >= FETCH_SESSIONS_MIN, wanted) else { continue };
            let max_bytes = room
                .min(source.window.bytes())
                .min(fair)
                .min(self.throttle.portion_bytes().max(FETCH_BYTES_MIN));
            let share = (max_bytes / lanes.max(1)).next_power_of_two();
            let has_limit = version >= WHOLE_MIN;
            let mut partitions = Vec::with_capacity(changes.added.len());
            let mut forgotten = Vec::with_capacity(changes.forgotten.len());
            let Changes { added, forgotten: gone, session_id, session_epoch } = changes;
            for (slot, from) in added {
                let member = &members[slot];
                // Room for two batches, so that a batch in the way of another's end does not halve the rate.
                let batches = (member.lane.batch_bytes_average() * 2).next_power_of_two();
                let portion = member.limit.map_or(usize::MAX, |limit| limits[limit].throttle.portion_bytes());
                let bytes = batches
                    .max(share)
                    .min(portion)
                    .min(member.lane.fetch_bytes_max())
                    .max(member.lane.fetch_bytes_min())
                    .clamp(PARTITION_BYTES_MIN, self.settings.fetch_bytes_max.max(PARTITION_BYTES_MIN));
                partitions.push(FetchPartition {
                    topic: topic_key(version, member),
                    partition: member.lane.partition,
                    current_leader_epoch: from.leader_epoch,
                    fetch_offset: from.offset,
                    last_fetched_epoch: from.epoch,
                    log_start_offset: -1,
                    partition_max_bytes: i32::try_from(bytes).unwrap_or(i32::MAX),
                });
            }
            for slot in gone {
                let member = &members[slot];
                let topic = topic_key(version, member);
                forgotten.push((topic, member.lane.partition));
            }
            let mut max_wait_ms = self.settings.fetch_wait_ms;
            let mut max_bytes = max_bytes;
            if !has_limit {
                if source.take_turns(&mut partitions, max_bytes) {
                    // Others wait for their turn.
                    max_wait_ms = max_wait_ms.min(TURN_MS);
                }
                max_bytes = bytes_of(&partitions);
            }
            let mut request = BytesMut::new();
            FetchRequest {
                version,
                correlation_id: source.conn.next_correlation_id(),
                client_id: &self.client_id,
                max_wait_ms,
                min_bytes: 1,
                max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
                isolation: u8::from(self.settings.isolation == Isolation::ReadCommitted),
                session_id,
                session_epoch,
                partitions: &partitions,
                forgotten: &forgotten,
                rack: if route.hides_rack() { "" } else { &self.settings.rack },
            }
            .encode(&mut request);
            let patience_ms = u64::try_from(self.settings.fetch_wait_ms).unwrap_or(0);
            source.conn.send(now, Tag::Fetch { version, bytes: max_bytes }, patience_ms, request.freeze());
            source.window.handle_sent(now, source.fetches == 0);
            source.fetches += 1;
            source.reserved_bytes += max_bytes;
            room = room.saturating_sub(max_bytes);
            self.counters.fetch_requests += 1;
        }
        room
    }
}

/// What partitions may bring together.
fn bytes_of(partitions: &[FetchPartition]) -> usize {
    let bytes =
        partitions.iter().map(|partition| usize::try_from(partition.partition_max_bytes).unwrap_or(0));
    bytes.fold(0, usize::saturating_add)
}

fn topic_key(version: i16, member: &Member) -> TopicKey {
    match version > FETCH_NAMES_MAX {
        true => TopicKey::Id(member.lane.source_topic_id),
        false => member.topic_key(Side::Source),
    }
}

impl Source {
    /// For brokers that do not know how much an answer may bring (before Kafka 0.10.1): asks for as many partitions as fit, others
    /// each time. Returns whether some are left out.
    fn take_turns(&mut self, partitions: &mut Vec<FetchPartition>, bytes_max: usize) -> bool {
        let all = partitions.len();
        partitions.rotate_left(self.turn % all.max(1));
        let fitting = (1..=all).take_while(|&some| bytes_of(&partitions[..some]) <= bytes_max).count();
        partitions.truncate(fitting.max(1));
        self.turn = self.turn.wrapping_add(partitions.len());
        // One topic's partitions stand together, as a request wants them.
        partitions.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        partitions.len() < all
    }

    /// The connection can take a fetch: none is under way, or nothing but the payload at hand is missing of the last one.
    fn may_fetch(&self) -> bool {
        let last_batch = self.walk.as_ref().is_some_and(|walk| {
            let (Walking::Collect { missing, .. } | Walking::Splice { missing, .. }) = walk.payload else {
                return false;
            };
            walk.fetch.frame_remaining().saturating_sub(missing) < BATCH_HEADER_BYTES
        });
        self.conn.is_ready() && (self.fetches == 0 || (self.fetches == 1 && last_batch))
    }
}
