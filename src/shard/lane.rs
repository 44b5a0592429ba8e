//! One lane: one source partition on its way to one target partition, and the protocol that keeps it exact.
//!
//! ```text
//!            leaders known             position found             acknowledged, state confirmed
//! Waiting ──► Locate ──► Ask ────────────────► Probe ──────────────────────► Stream
//!            (first time  ▲ │ ▲                  │ batch too old to guard        │ many in flight
//!             only)       │ ▼ │                  ▼                               │
//!                        Hold └─────────────── Single ◄──────────────────────────┘
//!                 zombies may be               one in flight, while the lease is valid
//!                 under way
//! ```
//!
//! Any doubt (an error, a lost answer, a new leader) leads back to Ask; nothing is sent again from memory, the source is read
//! again from the position that the target reports. A lane that cannot go on is Stopped, with the cause; the others go on.
//!
//! The lane calls nobody. The shard hands in what happened and takes out what the lane wants ([`Lane::fetch_from`],
//! [`Lane::next_batch`], [`Lane::wants_ask`], ...).

use super::LaneSnapshot;
use super::api::{Checkpoint, Event, LaneId, LaneStart, LossCause, Run, Settings, Stop, StopKind};
use super::progress::{Numbering, sequence};
use crate::config::StartFrom;
use crate::error::{self, Verdict as ErrorVerdict};
use crate::time::Now;
use crate::wire::batch::{BatchHeader, Stamp};
use crate::wire::produce::Payload;
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

/// A batch is guarded only if the broker will remember it for at least this long: two clocks may differ by an hour.
const GUARD_SLACK_MS: i64 = 3_600_000;
/// Time between two questions when the first had no clear answer.
const ASK_AGAIN_MS: u64 = 50;
/// Answers that contradict each other this many times in a row are not a matter of time any more.
const CONTRADICTIONS_MAX: u32 = 20;
/// Weight of the newest batch in the average batch size, as a power of two.
const AVERAGE_SHIFT: usize = 3;

/// Runs kept in memory though all their records are settled, for a target that loses acknowledged records.
const RUNS_KEPT: usize = 64;

/// What is to become of a source batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Goes on with a new header, payload untouched.
    Pass,
    /// Is not for the target (or not now: the lane reads it again later).
    Skip,
    /// Can only go on when it is taken apart.
    Rebuild(StopKind),
    Stop(Stop),
}

/// A source batch on its way: accepted, not sent yet.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) header: BatchHeader,
    /// The header's bytes as the source sent them.
    pub(super) raw: [u8; 61],
    pub(super) payload: Payload,
    pub(super) number: i64,
    /// The reading it belongs to, see [`Lane::reading`].
    pub(super) reading: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: i64,
    count: i64,
    bytes: usize,
    next_offset: i64,
    max_timestamp_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// For leaders.
    Waiting,
    /// The source is asked where to begin; only for a lane that never wrote.
    Locate,
    Ask,
    /// As Ask, but not before this moment.
    Hold {
        until_us: u64,
    },
    Probe,
    Stream,
    Single,
    Stopped,
}

/// What the target's leader said about the partition, leader-checked before and after (exactness.md, rule L).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) high_watermark: Option<i64>,
    /// Last sequence of our producer id at our epoch.
    pub(super) last_sequence: Option<i32>,
    pub(super) log_end: Option<i64>,
}

/// The last batch in the target partition: who wrote it, and which sequence comes after it. None: the partition is empty.
pub(super) type Tail = Option<(i64, i32)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) broker: i32,
    pub(super) epoch: i32,
}

/// One lane's part of a fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchFrom {
    pub(super) offset: i64,
    /// Leader epoch of the last batch read, -1 when unknown: by it the source notices that it was truncated.
    pub(super) epoch: i32,
    pub(super) reading: u32,
}

const NOBODY: Leader = Leader { broker: -1, epoch: -1 };

/// How a lane's payloads travel, and over which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Copy,
    Splice,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) source_topic_id: Uuid,
    pub(super) target_topic_id: Uuid,
    pub(super) source: Leader,
    pub(super) target: Leader,
    pub(super) path: Path,
    /// Where the source sent the lane for its first offset is asked once, and the target for the position.
    pub(super) is_asking: bool,
    /// Answers to questions of an earlier round are not listened to.
    pub(super) round: u32,
    pub(super) asked: Asked,
    from: StartFrom,
    state: State,
    numbering: Numbering,
    /// The log end is to be compared with the last batch's header before it is believed.
    wants_tail: bool,
    /// The probe was acknowledged by this leader; what is asked next confirms it.
    probed: Option<Leader>,
    contradictions: u32,
    contradicted_by: Option<i32>,

    /// Counts the times that the lane began to read anew. What was fetched for an earlier reading is not looked at: a batch
    /// further on would pass for the other side of a gap.
    reading: u32,
    /// Source offset that the next accepted batch should begin at.
    read_offset: i64,
    /// Leader epoch of the last batch read, for divergence detection (KIP-595); -1 at first.
    read_epoch: i32,
    /// Number of the next accepted batch.
    read_number: i64,
    pending: VecDeque<Batch>,
    pending_bytes: usize,
    /// Number of the next batch to send.
    send_number: i64,
    in_flight: VecDeque<Sent>,
    settled: Checkpoint,
    settled_told: Checkpoint,
    /// A batch that the target found damaged.
    damaged: Option<i64>,
    /// Timestamp of the last acknowledged batch: by it the broker's memory of us is dated.
    settled_timestamp_ms: i64,
    /// Requests of lost connections or of a previous owner may append until then.
    zombies_until_us: u64,
    /// Numbers below may be in such a request with the records they stood for then; for a previous owner, all.
    zombie_numbers: i64,
    /// Producer ids whose open transaction will be aborted, as the fetch answers say.
    aborted: Vec<(i64, i64)>,
    source_end: i64,
    batch_bytes_average: usize,
    /// The source says that the position is not in its log.
    out_of_range: bool,
    log_start: Option<i64>,
    caught_up: bool,
    draining: bool,
}

impl Lane {
    pub(super) fn new(start: LaneStart, path: Path) -> Self {
        let settled = start.checkpoint.unwrap_or(Checkpoint { number: 0, source_offset: -1 });
        Self {
            id: start.lane,
            numbering: Numbering::new(&start),
            topic: start.topic,
            partition: start.partition,
            source_topic_id: start.source_topic_id,
            target_topic_id: start.target_topic_id,
            source: NOBODY,
            target: NOBODY,
            path,
            is_asking: false,
            round: 0,
            asked: Asked::default(),
            from: start.from,
            state: State::Waiting,
            wants_tail: false,
            probed: None,
            contradictions: 0,
            contradicted_by: None,
            reading: 0,
            read_offset: settled.source_offset,
            read_epoch: -1,
            read_number: settled.number,
            pending: VecDeque::new(),
            pending_bytes: 0,
            send_number: settled.number,
            in_flight: VecDeque::new(),
            settled,
            settled_told: settled,
            damaged: None,
            settled_timestamp_ms: i64::MIN,
            zombies_until_us: start.zombies_until_us,
            zombie_numbers: i64::MAX,
            aborted: Vec::new(),
            source_end: -1,
            out_of_range: false,
            log_start: None,
            batch_bytes_average: 0,
            caught_up: false,
            draining: false,
        }
    }

    // What the lane wants.

    /// Where the source is to be asked for the first offset: the lane has none.
    pub(super) fn wants_locate(&self) -> Option<StartFrom> {
        (self.state == State::Locate && !self.is_asking).then_some(self.from)
    }

    /// Whether the target is to be asked for the position. Everything that was sent is answered or lost by then.
    pub(super) fn wants_ask(&self, now: Now) -> bool {
        let asking = match self.state {
            State::Ask => true,
            State::Hold { until_us } => until_us <= now.mono_us,
            _ => false,
        };
        asking
            && !self.is_asking
            && self.in_flight.is_empty()
            && self.numbering.is_confirmed()
            && self.target.broker >= 0
    }

    /// As [`Self::wants_ask`], for the last batch's header.
    pub(super) fn wants_tail(&self) -> Option<i64> {
        if self.wants_tail { self.asked.log_end.map(|end| end - 1) } else { None }
    }

    /// Where to fetch from. None: the lane wants nothing now.
    pub(super) fn fetch_from(&self, pending_bytes_max: usize) -> Option<FetchFrom> {
        let wanted = self.is_reading()
            && !self.draining
            && !self.out_of_range
            && self.pending_bytes <= pending_bytes_max;
        wanted.then_some(FetchFrom {
            offset: self.read_offset,
            epoch: self.read_epoch,
            reading: self.reading,
        })
    }

    /// While the probe is being confirmed, too: what is read then is good unless the confirmation fails.
    fn is_reading(&self) -> bool {
        match self.state {
            State::Probe | State::Stream | State::Single => true,
            State::Ask | State::Hold { .. } => self.probed.is_some(),
            State::Waiting | State::Locate | State::Stopped => false,
        }
    }

    /// Whether what was fetched for this reading is still of use.
    pub(super) fn reads(&self, reading: u32) -> bool {
        self.reading == reading && self.is_reading()
    }

    /// When the lane must be looked at again though nothing happened.
    pub(super) fn wake_us(&self) -> Option<u64> {
        match self.state {
            State::Hold { until_us } => Some(until_us),
            _ => None,
        }
    }

    pub(super) fn batch_bytes_average(&self) -> usize {
        self.batch_bytes_average
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Nothing is under way: the lane may change its connections, or go.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.pending.is_empty()
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.state == State::Stream
    }

    fn state_name(&self) -> &'static str {
        match self.state {
            State::Waiting => "waiting",
            State::Locate => "locate",
            State::Ask => "ask",
            State::Hold { .. } => "hold",
            State::Probe => "probe",
            State::Stream => "stream",
            State::Single => "single",
            State::Stopped => "stopped",
        }
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether the lane waits for an answer, or for the time to ask.
    pub(super) fn has_question(&self) -> bool {
        matches!(self.state, State::Locate | State::Ask | State::Hold { .. }) || self.out_of_range
    }

    /// Whether the source is to be asked for the range of its log, because the position is not in it.
    pub(super) fn wants_range(&self) -> bool {
        self.out_of_range && !self.is_asking && self.in_flight.is_empty()
    }

    pub(super) fn has_unsettled(&self) -> bool {
        self.settled != self.settled_told && self.numbering.is_begun()
    }

    /// Nothing is accepted that is not sent and answered: the lane may change its connections.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_idle() && self.read_number == self.send_number
    }

    pub(super) fn snapshot(&self) -> LaneSnapshot {
        LaneSnapshot {
            lane: self.id,
            state: self.state_name(),
            settled: self.settled,
            source_end: self.source_end,
            settled_timestamp_ms: (self.settled_timestamp_ms != i64::MIN)
                .then_some(self.settled_timestamp_ms),
            batch_bytes_average: self.batch_bytes_average,
        }
    }

    // Leaders.

    pub(super) fn set_source(&mut self, leader: Leader) {
        self.source = leader;
        self.begin();
    }

    /// A new leader may know less of us than the old one did.
    pub(super) fn set_target(&mut self, leader: Leader) {
        if self.target == leader {
            return;
        }
        self.target = leader;
        self.begin();
        self.doubt();
        if self.state != State::Locate {
            self.forget_questions();
        }
    }

    fn begin(&mut self) {
        if self.state == State::Waiting && self.source.broker >= 0 && self.target.broker >= 0 {
            self.state = if self.numbering.is_begun() { State::Ask } else { State::Locate };
        }
    }

    // Where the lane stands.

    /// The source says that the lane's first record is at `offset`.
    pub(super) fn handle_located(&mut self, offset: i64) {
        if self.state == State::Locate {
            self.forget_questions();
            self.read_offset = offset;
            self.state = State::Ask;
        }
    }

    /// One of the questions failed. Returns true if the leader should be looked up.
    pub(super) fn handle_ask_failed(&mut self, now: Now, code: i16, events: &mut VecDeque<Event>) -> bool {
        match error::of_produce(code) {
            ErrorVerdict::Stop(kind) => {
                self.stop(kind, format!("asking the target for the position: {}", describe(code)), events);
                false
            }
            verdict => {
                self.hold(now, ASK_AGAIN_MS);
                verdict == ErrorVerdict::LeaderUnknown
            }
        }
    }

    /// The target's leader has answered. With the answers the lane finds its position, asks again, or stops.
    pub(super) fn handle_asked(&mut self, now: Now, settings: &Settings, events: &mut VecDeque<Event>) {
        let Asked { high_watermark: Some(high_watermark), last_sequence, log_end: Some(log_end) } =
            self.asked
        else {
            return self.hold(now, ASK_AGAIN_MS);
        };
        let Some(delta) = self.numbering.delta() else {
            return self.begin_partition(now, log_end, settings, events);
        };
        let number = log_end - delta;
        if high_watermark < log_end {
            // Something is not replicated yet, or came between the questions.
            return self.hold(now, ASK_AGAIN_MS);
        }
        match last_sequence {
            Some(last) if sequence(number - 1) == last => self.resume(now, number, settings, events),
            Some(_) => self.contradict(now, settings, events),
            // The broker does not know us. Only when no request can be under way any more does the log itself tell.
            None if now.mono_us < self.zombies_until_us => self.hold_for_zombies(),
            None => self.wants_tail = true,
        }
    }

    /// The last batch of the target partition, asked for because the broker does not know our producer id.
    pub(super) fn handle_tail(
        &mut self,
        now: Now,
        tail: Tail,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let (Some(log_end), Some(delta)) = (self.asked.log_end, self.numbering.delta()) else { return };
        self.wants_tail = false;
        let number = log_end - delta;
        match tail {
            None => self.resume(now, number, settings, events),
            Some((producer_id, next)) if producer_id == settings.producer_id && next == sequence(number) => {
                self.resume(now, number, settings, events);
            }
            Some(_) => self.contradict(now, settings, events),
        }
    }

    /// The link never wrote here: the partition must be empty, or its records are somebody else's.
    fn begin_partition(&mut self, now: Now, log_end: i64, settings: &Settings, events: &mut VecDeque<Event>) {
        if self.asked.high_watermark != Some(log_end) {
            return self.hold(now, ASK_AGAIN_MS);
        }
        if log_end > 0 {
            let detail = format!(
                "the target partition already has records (up to offset {log_end}) that this link did not write; mirror into a \
                 new topic, or use the --link name that wrote them"
            );
            return self.stop(StopKind::OtherWriter, detail, events);
        }
        let run = Run { number: self.read_offset, source_offset: self.read_offset, source_epoch: -1 };
        self.numbering.set_delta(log_end - run.number);
        self.open(run, events);
        self.settled = Checkpoint { number: run.number, source_offset: run.source_offset };
        self.resume(now, run.number, settings, events);
    }

    /// The position is known: records below `number` are on the target, replicated; the next one is `number`.
    fn resume(&mut self, now: Now, number: i64, settings: &Settings, events: &mut VecDeque<Event>) {
        self.contradictions = 0;
        let confirmed = self.probed == Some(self.target) && self.asked.last_sequence.is_some();
        self.probed = None;
        self.forget_questions();
        if now.mono_us >= self.zombies_until_us {
            self.zombie_numbers = number;
        }
        if number < self.settled.number {
            let Some(from_offset) = self.numbering.source_of(number) else {
                return self.position_unknown(number, events);
            };
            let to_offset = self.settled.source_offset;
            events.push_back(Event::Lost {
                lane: self.id,
                from_offset,
                to_offset,
                cause: LossCause::TargetTruncation,
            });
            self.settled = Checkpoint { number, source_offset: from_offset };
        }
        if number != self.send_number || !confirmed {
            let offset = match self.settled.number == number && self.settled.source_offset >= 0 {
                // Beyond what is settled there may be offsets that were skipped already.
                true => Some(self.settled.source_offset),
                false => self.numbering.source_of(number),
            };
            let Some(offset) = offset else { return self.position_unknown(number, events) };
            self.read_anew();
            self.read_offset = offset;
            self.read_epoch = -1;
            self.read_number = number;
            self.send_number = number;
            self.settled = Checkpoint { number, source_offset: offset };
            self.aborted.clear();
        }
        let guarded = confirmed && self.is_guarded(now, settings, self.settled_timestamp_ms);
        self.state = match (confirmed, guarded) {
            (true, true) => State::Stream,
            (true, false) => State::Single,
            (false, _) => State::Probe,
        };
    }

    /// The target's answers do not fit our records. A request that was under way explains it for a moment, not for ever.
    fn contradict(&mut self, now: Now, settings: &Settings, events: &mut VecDeque<Event>) {
        // Somebody is still sending in our name, an older instance that does not know it yet.
        let moving = self.contradicted_by != self.asked.last_sequence;
        self.contradicted_by = self.asked.last_sequence;
        self.contradictions = if moving { 0 } else { self.contradictions + 1 };
        if self.contradictions < CONTRADICTIONS_MAX {
            return self.hold(now, ASK_AGAIN_MS);
        }
        let Asked { last_sequence, log_end, .. } = self.asked;
        let detail = format!(
            "the target partition ends at offset {log_end:?} with sequence {last_sequence:?} of producer {}, which does not fit \
             what this link wrote: somebody else writes to it, or it was recreated. Delete the target topic to mirror it anew",
            settings.producer_id
        );
        self.stop(StopKind::OtherWriter, detail, events);
    }

    fn position_unknown(&mut self, number: i64, events: &mut VecDeque<Event>) {
        let detail = format!(
            "the target lost records that it had acknowledged (next number {number}), and the ledger does not reach back that far"
        );
        self.stop(StopKind::PositionUnknown, detail, events);
    }

    // Reading.

    /// A fetch answer names a transaction that was aborted: drop its batches from `first_offset` on, up to its marker.
    pub(super) fn handle_aborted(&mut self, producer_id: i64, first_offset: i64) {
        if !self.aborted.contains(&(producer_id, first_offset)) {
            self.aborted.push((producer_id, first_offset));
        }
    }

    /// Decides about the batch whose header has just been read. After `Pass` the batch is handed in by [`Self::push`].
    pub(super) fn judge(&mut self, now: Now, header: &BatchHeader, events: &mut VecDeque<Event>) -> Verdict {
        if header.last_offset() < self.read_offset {
            return Verdict::Skip;
        }
        if header.magic < 2 {
            return Verdict::Rebuild(StopKind::OldFormat);
        }
        if header.is_control() {
            // Whatever the marker says, it ends the producer's transaction.
            self.aborted.retain(|&(id, first)| id != header.producer_id || first > header.base_offset);
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        let is_aborted = |&(id, first): &(i64, i64)| id == header.producer_id && first <= header.base_offset;
        if header.is_transactional() && self.aborted.iter().any(is_aborted) {
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        if header.record_count == 0 {
            // Compaction leaves an empty batch where a producer's last sequence has to be remembered.
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        if !header.is_contiguous() {
            return Verdict::Rebuild(StopKind::Holes);
        }
        if self.numbering.source_of(self.read_number) == Some(header.base_offset) {
            return Verdict::Pass;
        }
        let is_first = self.numbering.delta().is_some_and(|delta| self.read_number + delta == 0);
        if header.base_offset < self.read_offset && !is_first {
            let detail = format!(
                "the source's batch at offset {} begins before the position {}; it would have to be cut",
                header.base_offset, self.read_offset
            );
            return Verdict::Stop(Stop { kind: StopKind::Holes, detail });
        }
        if now.mono_us < self.zombies_until_us && self.read_number < self.zombie_numbers {
            // The number may be on its way to the target with the record it stood for before.
            self.read_anew();
            self.doubt();
            self.hold_for_zombies();
            return Verdict::Skip;
        }
        let run = Run {
            number: self.read_number,
            source_offset: header.base_offset,
            source_epoch: header.leader_epoch,
        };
        self.open(run, events);
        Verdict::Pass
    }

    /// The accepted batch is read on from here, though its payload is still under way.
    pub(super) fn accept(&mut self, header: &BatchHeader, raw: [u8; 61]) -> Batch {
        let number = self.read_number;
        self.read_number += i64::from(header.record_count);
        self.read_offset = header.next_offset();
        self.read_epoch = header.leader_epoch;
        let average = self.batch_bytes_average;
        self.batch_bytes_average = match average {
            0 => header.batch_bytes,
            _ => average - (average >> AVERAGE_SHIFT) + (header.batch_bytes >> AVERAGE_SHIFT),
        };
        Batch {
            header: *header,
            raw,
            payload: Payload::Stream(header.payload_bytes()),
            number,
            reading: self.reading,
        }
    }

    /// The accepted batch is whole. Dropped if the lane has been sent back since its header was read.
    pub(super) fn push(&mut self, batch: Batch) {
        if batch.reading == self.reading {
            self.pending_bytes += batch.header.payload_bytes();
            self.pending.push_back(batch);
        }
    }

    /// The fetch answer's word on the partition: where decided data ends.
    pub(super) fn handle_watermark(&mut self, end_offset: i64) {
        self.source_end = end_offset;
    }

    /// The fetch answer had nothing (more) for this lane. True when this is the first time that the lane has read all there is.
    pub(super) fn is_caught_up(&mut self) -> bool {
        let reached = self.is_reading()
            && self.is_idle()
            && self.read_number == self.send_number
            && self.source_end >= 0
            && self.read_offset >= self.source_end;
        let first = reached && !self.caught_up;
        self.caught_up |= reached;
        if reached {
            self.settled.source_offset = self.settled.source_offset.max(self.read_offset);
        }
        first
    }

    /// The source says that the position is not in its log: it is asked for the log's range.
    pub(super) fn handle_out_of_range(&mut self) {
        self.out_of_range = true;
        self.log_start = None;
    }

    pub(super) fn handle_log_start(&mut self, offset: i64) {
        self.log_start = Some(offset);
    }

    pub(super) fn handle_log_end(
        &mut self,
        now: Now,
        end: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let Some(start) = self.log_start.take().filter(|_| self.out_of_range) else { return };
        self.out_of_range = false;
        self.is_asking = false;
        self.handle_source_start(start, events);
        self.handle_source_truncated(now, end, settings, events);
    }

    /// A question to the source was not answered, or not well.
    pub(super) fn forget_source_questions(&mut self) {
        if self.state == State::Locate || self.out_of_range {
            self.is_asking = false;
            self.round = self.round.wrapping_add(1);
        }
    }

    /// Where to begin by time found nothing that young: begin at the end.
    pub(super) fn locate_at_end(&mut self) {
        self.from = StartFrom::Latest;
        self.is_asking = false;
    }

    /// A batch that was accepted will not come whole: read on from the last one that did.
    pub(super) fn rewind(&mut self) {
        let (number, offset, epoch) = match (self.pending.back(), self.in_flight.back()) {
            (Some(Batch { header, number, .. }), _) => {
                (number + i64::from(header.record_count), header.next_offset(), header.leader_epoch)
            }
            (None, Some(sent)) => (sent.number + sent.count, sent.next_offset, -1),
            (None, None) => (self.settled.number, self.settled.source_offset, -1),
        };
        self.read_number = number;
        self.read_offset = offset;
        self.read_epoch = epoch;
        self.reading = self.reading.wrapping_add(1);
    }

    /// The source begins at `log_start` by now: what lies before it is lost.
    fn handle_source_start(&mut self, log_start: i64, events: &mut VecDeque<Event>) {
        if log_start > self.read_offset {
            let (from_offset, to_offset) = (self.read_offset, log_start);
            events.push_back(Event::Lost {
                lane: self.id,
                from_offset,
                to_offset,
                cause: LossCause::SourceRetention,
            });
            self.skip_to(log_start, -1);
        }
    }

    /// The source's log ends before our position, or took another course from `end_offset` on (unclean election): what was
    /// mirrored beyond stays on the target, and reading goes on from there once nothing old can be under way.
    pub(super) fn handle_source_truncated(
        &mut self,
        now: Now,
        end_offset: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        if end_offset >= self.read_offset {
            return;
        }
        let (from_offset, to_offset) = (end_offset, self.read_offset);
        events.push_back(Event::Lost {
            lane: self.id,
            from_offset,
            to_offset,
            cause: LossCause::SourceTruncation,
        });
        self.doubt();
        self.read_anew();
        self.zombies_until_us = now.after_ms(settings.zombie_bound_ms);
        self.zombie_numbers = i64::MAX;
        self.settled.source_offset = end_offset;
        self.hold_for_zombies();
    }

    fn skip_to(&mut self, offset: i64, epoch: i32) {
        self.read_offset = offset;
        self.read_epoch = epoch;
    }

    // Sending.

    /// The next batch, if the protocol lets it go now, with the stamp for its header.
    pub(super) fn next_batch(
        &mut self,
        now: Now,
        lease_until_us: u64,
        settings: &Settings,
    ) -> Option<(Batch, Stamp)> {
        let batch = self.pending.front()?;
        if !self.numbering.is_durable(batch.number) || !self.may_send(now, lease_until_us, settings) {
            return None;
        }
        let batch = self.pending.pop_front()?;
        self.pending_bytes -= batch.header.payload_bytes();
        let count = i64::from(batch.header.record_count);
        self.in_flight.push_back(Sent {
            number: batch.number,
            count,
            bytes: batch.header.batch_bytes,
            next_offset: batch.header.next_offset(),
            max_timestamp_ms: batch.header.max_timestamp_ms,
        });
        self.send_number = batch.number + count;
        let stamp = Stamp {
            producer_id: settings.producer_id,
            producer_epoch: settings.producer_epoch,
            base_sequence: sequence(batch.number),
        };
        Some((batch, stamp))
    }

    /// Whether [`Self::next_batch`] would give one: cheap, and may change the state from Stream to Single or Probe.
    pub(super) fn may_send(&mut self, now: Now, lease_until_us: u64, settings: &Settings) -> bool {
        let Some(batch) = self.pending.front() else { return false };
        let timestamp_ms = batch.header.max_timestamp_ms;
        if self.state == State::Stream {
            if self.is_guarded(now, settings, timestamp_ms) {
                if !self.in_flight.is_empty() || self.is_guarded(now, settings, self.settled_timestamp_ms) {
                    return true;
                }
                // So long ago that the broker may have forgotten us.
                self.state = State::Probe;
            } else if self.in_flight.is_empty() {
                self.state = State::Single;
            }
        }
        matches!(self.state, State::Probe | State::Single)
            && self.in_flight.is_empty()
            && now.mono_us < lease_until_us
    }

    /// Records and bytes of the batch whose answer is next.
    pub(super) fn oldest_in_flight(&self) -> Option<(u64, u64)> {
        self.in_flight.front().map(|sent| (sent.count.unsigned_abs(), sent.bytes as u64))
    }

    /// Takes back what was accepted and cannot be sent.
    pub(super) fn drop_pending(&mut self) {
        self.read_anew();
        self.rewind();
    }

    /// The broker's answer to the oldest batch in flight. Returns true if the leader should be looked up.
    pub(super) fn handle_acked(
        &mut self,
        now: Now,
        code: i16,
        base_offset: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) -> bool {
        let Some(sent) = self.in_flight.pop_front() else { return false };
        if !matches!(self.state, State::Probe | State::Stream | State::Single) {
            // Answered after a doubt: the next question tells.
            return false;
        }
        match error::of_produce(code) {
            ErrorVerdict::Ok => {
                self.settle(now, sent, base_offset, settings, events);
                false
            }
            ErrorVerdict::Stop(kind) => {
                self.stop(kind, self.refused(code), events);
                false
            }
            ErrorVerdict::Damaged if self.damaged == Some(sent.number) => {
                self.stop(StopKind::DamagedBatch, self.refused(code), events);
                false
            }
            verdict => {
                // The bytes may have suffered on the way: they are fetched once more.
                self.damaged = (verdict == ErrorVerdict::Damaged).then_some(sent.number);
                if verdict != ErrorVerdict::Retry {
                    // It may have been appended, and may yet be replicated.
                    self.suspect(now, settings);
                }
                self.doubt();
                self.hold(now, ASK_AGAIN_MS);
                verdict == ErrorVerdict::LeaderUnknown
            }
        }
    }

    fn settle(
        &mut self,
        now: Now,
        sent: Sent,
        base_offset: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let expected = self.numbering.delta().map(|delta| sent.number + delta);
        if Some(base_offset) != expected {
            let detail = format!(
                "the target appended a batch at offset {base_offset} that was expected at {}: somebody else writes to the \
                 partition, or it was recreated",
                expected.unwrap_or(-1)
            );
            return self.stop(StopKind::OtherWriter, detail, events);
        }
        self.settled = Checkpoint { number: sent.number + sent.count, source_offset: sent.next_offset };
        self.settled_timestamp_ms = sent.max_timestamp_ms;
        self.numbering.forget_before(self.settled.number, RUNS_KEPT);
        if self.state == State::Probe {
            if self.is_guarded(now, settings, sent.max_timestamp_ms) {
                self.probed = Some(self.target);
                self.state = State::Ask;
            } else {
                self.state = State::Single;
            }
        } else if self.state == State::Single && self.is_guarded(now, settings, sent.max_timestamp_ms) {
            self.state = State::Probe;
        }
    }

    /// The connection to the target is gone; what was in flight on it may or may not be appended, now or a little later.
    pub(super) fn handle_connection_lost(&mut self, now: Now, settings: &Settings) {
        if !self.in_flight.is_empty() {
            self.suspect(now, settings);
            self.in_flight.clear();
        }
        self.doubt();
        self.forget_questions();
    }

    /// What was sent so far may still be appended for a while, though nobody will tell us.
    fn suspect(&mut self, now: Now, settings: &Settings) {
        let are_gone = now.mono_us >= self.zombies_until_us;
        self.zombie_numbers =
            if are_gone { self.send_number } else { self.zombie_numbers.max(self.send_number) };
        self.zombies_until_us = self.zombies_until_us.max(now.after_ms(settings.zombie_bound_ms));
    }

    /// Guarded: the broker will remember the producer of a batch with this timestamp until every doubt is resolved.
    fn is_guarded(&self, now: Now, settings: &Settings, timestamp_ms: i64) -> bool {
        settings.producer_id_expiration_ms.is_some_and(|expiration_ms| {
            timestamp_ms > now.wall_ms.saturating_sub(expiration_ms).saturating_add(GUARD_SLACK_MS)
        })
    }

    /// Nothing is certain any more: the target is asked before the next batch.
    fn doubt(&mut self) {
        self.probed = None;
        if matches!(self.state, State::Probe | State::Stream | State::Single) {
            self.state = State::Ask;
        }
        // It would be read again from the position that comes out.
        self.read_anew();
    }

    /// Asks again a little later.
    fn hold(&mut self, now: Now, ms: u64) {
        self.forget_questions();
        if matches!(self.state, State::Ask | State::Hold { .. }) {
            self.state = State::Hold { until_us: now.after_ms(ms) };
        }
    }

    fn hold_for_zombies(&mut self) {
        self.forget_questions();
        self.state = State::Hold { until_us: self.zombies_until_us };
    }

    fn forget_questions(&mut self) {
        self.is_asking = false;
        self.wants_tail = false;
        self.asked = Asked::default();
        self.round = self.round.wrapping_add(1);
    }

    fn open(&mut self, run: Run, events: &mut VecDeque<Event>) {
        let Some(target_delta) = self.numbering.delta() else { return };
        self.numbering.open(run);
        events.push_back(Event::RunWanted { lane: self.id, run, target_delta });
    }

    /// The ledger has the run.
    pub(super) fn handle_run_durable(&mut self, number: i64) {
        self.numbering.confirm(number);
    }

    fn read_anew(&mut self) {
        self.reading = self.reading.wrapping_add(1);
        self.pending.clear();
        self.pending_bytes = 0;
    }

    // Ending.

    /// Reads no more; what was accepted is still sent.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Nothing more will come of this lane without a command: nothing in flight, and nothing that may be sent.
    pub(super) fn is_drained(&self) -> bool {
        self.in_flight.is_empty()
            && (self.pending.is_empty() || !matches!(self.state, State::Stream | State::Single))
    }

    pub(super) fn stop(&mut self, kind: StopKind, detail: String, events: &mut VecDeque<Event>) {
        if self.state == State::Stopped {
            return;
        }
        self.state = State::Stopped;
        self.read_anew();
        self.forget_questions();
        events.push_back(Event::Stopped { lane: self.id, stop: Stop { kind, detail } });
    }

    fn refused(&self, code: i16) -> String {
        format!("{} at number {}", describe(code), self.settled.number)
    }

    /// The position, if it moved since it was last taken.
    pub(super) fn take_settled(&mut self) -> Option<Checkpoint> {
        let moved = self.settled != self.settled_told && self.numbering.is_begun();
        self.settled_told = self.settled;
        moved.then_some(self.settled)
    }
}

/// A Kafka error in words, with what to do about it.
fn describe(code: i16) -> String {
    format!("the target answered {}: {}", error::name(code), error::advice(code))
}
