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
//! [`position`] finds where the lane stands, [`reading`] judges the source's batches, [`packing`] says which of them are merged or
//! split, [`sending`] when a batch may go and what its answer means, [`diverting`] what goes to the dead letters instead, [`gaps`]
//! keeps offsets identical where the source has none, [`shared`] gets along with others who write to the target, [`transactions`]
//! is for records that the broker may forget who wrote.
//! The lane calls nobody. The shard hands in what happened and takes out what the lane wants ([`Lane::fetch_from`],
//! [`Lane::next_batch`], ...).

mod diverting;
mod gaps;
mod packing;
mod position;
mod reading;
mod sending;
mod shared;
mod transactions;

use super::LaneSnapshot;
use super::api::{Checkpoint, Event, LaneId, LaneStart, OffsetMode, Run, Stop, StopKind};
use super::progress::Numbering;
use crate::config::{Merge, StartFrom};
use crate::error;
use crate::limits::CHANGED_BYTES_MAX;
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use crate::wire::codec::Compression;
use crate::wire::produce::Payload;
use diverting::Diverting;
use gaps::{Filling, GapsClaim};
use packing::{Merging, Room};
use std::collections::VecDeque;
use std::sync::Arc;
use transactions::{Part, Stamping};
use uuid::Uuid;

/// Time between two questions when the first had no clear answer.
const ASK_AGAIN_MS: u64 = 50;
/// Answers that contradict each other this many times in a row are not a matter of time any more.
const CONTRADICTIONS_MAX: u32 = 20;
/// Weight of the newest batch in the average batch size, as a power of two.
const AVERAGE_SHIFT: usize = 3;

/// Runs kept in memory though all their records are settled, for a target that loses acknowledged records.
const RUNS_KEPT: usize = 64;
/// A lane whose source has gaps copies this many batches after each: a spliced batch cannot wait for its gap to be filled.
const ROUGH_BATCHES: u32 = 64;

/// What is to become of a source batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Goes on with a new header, payload untouched.
    Pass,
    /// Is not for the target (or not now: the lane reads it again later).
    Skip,
    /// Is taken apart: offsets are missing inside, or it begins before the position, or it is merged with others, or split.
    Open,
}

/// A source batch on its way: accepted, not sent yet.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) header: BatchHeader,
    /// The header's bytes as the source sent them.
    pub(super) raw: [u8; 61],
    pub(super) payload: Payload,
    pub(super) number: i64,
    /// Where the source goes on behind it.
    pub(super) next_offset: i64,
    /// The reading it belongs to, see [`Lane::reading`].
    pub(super) reading: u32,
    /// When its header was read; 0 for a batch that was on no source.
    pub(super) fetched_us: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    number: i64,
    pub(super) count: i64,
    pub(super) bytes: usize,
    next_offset: i64,
    source_epoch: i32,
    pub(super) max_timestamp_ms: i64,
    pub(super) base_timestamp_ms: i64,
    pub(super) fetched_us: u64,
}

impl Sent {
    /// The position when it is acknowledged.
    fn settled(&self) -> Checkpoint {
        let Self { number, count, next_offset, source_epoch, .. } = *self;
        Checkpoint { number: number + count, source_offset: next_offset, source_epoch }
    }
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
    /// Until the shard's transaction takes the lane in.
    Enlist,
    Transact,
    /// Until the transaction is committed.
    Commit,
    Stopped,
}

/// What the target's leader said about the partition, leader-checked before and after (exactness.md, rule L).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) high_watermark: Option<i64>,
    /// Whether it says at all what it remembers of producers; before Kafka 2.8 it does not.
    pub(super) tells_producers: bool,
    /// Last sequence of our producer id at our epoch.
    pub(super) last_sequence: Option<i32>,
    /// Largest timestamp of the batch that it belongs to, by which the broker dates its memory of us.
    pub(super) last_timestamp_ms: i64,
    pub(super) log_end: Option<i64>,
}

/// The end of a target partition's log, or what was asked for of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetEnd {
    pub(super) log_start: i64,
    /// Empty: there is nothing at that offset any more.
    pub(super) batches: Vec<BatchHeader>,
}

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
    /// The source's leader epoch as we know it: a fetch session has to be told when it changes.
    pub(super) leader_epoch: i32,
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
    mode: OffsetMode,
    from: StartFrom,
    state: State,
    numbering: Numbering,
    /// The log end is to be compared with the last batch's header before it is believed.
    wants_tail: bool,
    /// Not the last batch is wanted, which is a control record, but the one at this offset.
    before_gap: Option<i64>,
    search: Option<shared::Search>,
    cover: Option<shared::Cover>,
    /// While the lane's batches go in transactions.
    part: Option<Part>,
    stamping: Option<Stamping>,
    transactions_refused: bool,
    /// Transactions in a row in which a batch came to stand where it should not.
    misplaced: u32,
    /// The source took another course from there on while the position was not known.
    source_ends_at: Option<i64>,
    /// Whose this producer id is must be known before more is read.
    awaited_writer: Option<i64>,
    /// The probe was acknowledged by this leader; what is asked next confirms it.
    probed: Option<Leader>,
    contradictions: u32,
    contradicted_by: Option<i32>,

    /// Counts the times that the lane began to read anew. What was fetched for an earlier reading is not looked at: a batch
    /// further on would pass for the other side of a gap.
    reading: u32,
    /// Source offset that the next accepted batch should begin at.
    read_offset: i64,
    /// Leader epoch of the last batch read, for divergence detection (KIP-595); -1 when unknown.
    read_epoch: i32,
    /// Number of the next accepted batch.
    read_number: i64,
    pending: VecDeque<Batch>,
    pending_bytes: usize,
    /// Number of the next batch to send.
    send_number: i64,
    /// The target offset that the next batch to send will get, if all that is in flight is appended; and that after the last
    /// one acknowledged.
    send_target: i64,
    settled_target: i64,
    in_flight: VecDeque<Sent>,
    /// What is under way into a gap.
    filling: Option<Filling>,
    /// Why the target takes no control records, once it has said so.
    markers_refused: Option<Stop>,
    gaps_claim: GapsClaim,
    /// When the position was found that the lane goes by.
    resumed_us: u64,
    /// What is sent must rest on a lease that was granted later than this: see [`Lane::is_current`].
    current_since_us: u64,
    /// Control records of lost connections or of a previous owner may be appended until then. They are not compared with what
    /// is there, so none are sent before.
    fill_after_us: u64,
    /// Where the source's log begins, as last heard, and up to where the target was told to delete.
    source_start: i64,
    trimmed: i64,
    /// The fetch answers do not say where the source's log begins (before Kafka 0.11), so that is asked for, once.
    wants_start: bool,
    /// Batches for which the lane copies.
    rough_batches: u32,
    merging: Merging,
    room: Room,
    diverting: Diverting,
    /// Its records are changed; and how they are compressed then, unless as they came.
    is_changed: bool,
    compression: Option<Compression>,
    /// Larger batches are split, since the target takes none as large.
    split_bytes: usize,
    /// As many runs as it may have at a time; it has them, and reads on when some are settled; and what it asks for meanwhile,
    /// since what it cannot take is fetched again.
    runs_max: usize,
    has_runs_enough: bool,
    fetch_bytes_max: usize,
    /// What it must be sent at a time, for a message to be whole.
    fetch_bytes_min: usize,
    settled: Checkpoint,
    settled_told: Checkpoint,
    /// The error code that was told last, since the last batch that the target took.
    refused_told: Option<i16>,
    /// A batch that the target found damaged, and the offset of one that came damaged from the source.
    damaged: Option<i64>,
    damaged_read: Option<i64>,
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
    /// Control was told that nothing is under way and nothing will be.
    is_silent: bool,
}

impl Lane {
    pub(super) fn new(start: LaneStart, path: Path, merge: Merge) -> Self {
        let settled = start.checkpoint.unwrap_or(Checkpoint::at(0, -1));
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
            mode: start.mode,
            from: start.from,
            state: State::Waiting,
            wants_tail: false,
            before_gap: None,
            search: None,
            cover: None,
            part: None,
            stamping: None,
            transactions_refused: false,
            misplaced: 0,
            source_ends_at: None,
            awaited_writer: None,
            probed: None,
            contradictions: 0,
            contradicted_by: None,
            reading: 0,
            read_offset: settled.source_offset,
            read_epoch: settled.source_epoch,
            read_number: settled.number,
            pending: VecDeque::new(),
            pending_bytes: 0,
            send_number: settled.number,
            send_target: 0,
            settled_target: 0,
            in_flight: VecDeque::new(),
            filling: None,
            markers_refused: None,
            gaps_claim: GapsClaim::NotNeeded,
            resumed_us: 0,
            current_since_us: 0,
            fill_after_us: start.zombies_until_us,
            source_start: -1,
            wants_start: false,
            trimmed: 0,
            rough_batches: 0,
            merging: Merging::new(merge),
            room: Room::default(),
            diverting: Diverting::default(),
            is_changed: start.recipe.is_some(),
            compression: start.recipe.as_ref().and_then(|recipe| recipe.compression()),
            split_bytes: if start.recipe.is_some() { CHANGED_BYTES_MAX } else { usize::MAX },
            runs_max: usize::MAX,
            has_runs_enough: false,
            fetch_bytes_max: usize::MAX,
            fetch_bytes_min: 0,
            settled,
            settled_told: settled,
            refused_told: None,
            damaged: None,
            damaged_read: None,
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
            is_silent: false,
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
            && !self.awaits_control()
            && self.in_flight.is_empty()
            && self.filling.is_none()
            && self.gaps_claim != GapsClaim::Wanted
            && self.numbering.is_confirmed()
            && self.target.broker >= 0
    }

    /// As [`Self::wants_ask`], for the last batch's header, or others: from which offset on, and how many bytes at most.
    pub(super) fn wants_tail(&self) -> Option<(i64, i32)> {
        let log_end = self.asked.log_end.filter(|_| self.wants_tail)?;
        Some(self.search_from().unwrap_or((self.before_gap.unwrap_or(log_end - 1), 1)))
    }

    /// Where to fetch from. None: the lane wants nothing now.
    pub(super) fn fetch_from(&self, pending_bytes_max: usize) -> Option<FetchFrom> {
        let wanted = self.is_reading()
            && !self.draining
            && !self.out_of_range
            && !self.is_closing()
            && !self.awaits_settling()
            && !self.awaits_letters()
            && self.awaited_writer.is_none()
            && self.pending_bytes <= pending_bytes_max;
        wanted.then_some(FetchFrom {
            offset: self.read_offset,
            epoch: self.read_epoch,
            leader_epoch: self.source.epoch,
            reading: self.reading,
        })
    }

    /// While the probe is being confirmed, too: what is read then is good unless the confirmation fails.
    fn is_reading(&self) -> bool {
        match self.state {
            State::Probe | State::Stream | State::Single | State::Transact => true,
            State::Ask | State::Hold { .. } => self.probed.is_some(),
            State::Waiting | State::Locate | State::Enlist | State::Commit | State::Stopped => false,
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
        self.in_flight.is_empty() && self.pending.is_empty() && self.filling.is_none()
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
            State::Enlist => "enlist",
            State::Transact => "transact",
            State::Commit => "commit",
            State::Stopped => "stopped",
        }
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether the lane waits for an answer, or for the time to ask.
    pub(super) fn has_question(&self) -> bool {
        matches!(self.state, State::Locate | State::Ask | State::Hold { .. })
            || self.out_of_range
            || self.wants_start
            || self.gap().is_some()
    }

    /// Whether the source is to be asked for the range of its log, because the position is not in it.
    pub(super) fn wants_range(&self) -> bool {
        self.out_of_range && !self.is_asking && self.in_flight.is_empty()
    }

    /// Whether the source is to be asked only where its log begins.
    pub(super) fn wants_source_start(&self) -> bool {
        self.wants_start && !self.is_asking && self.is_reading()
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
            is_read: self.is_reading(),
            settled_timestamp_ms: (self.settled_timestamp_ms != i64::MIN)
                .then_some(self.settled_timestamp_ms),
            batch_bytes_average: self.batch_bytes_average,
            letters_written: self.letters_written(),
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
            match self.numbering.is_begun() {
                true if self.numbering.is_in_transactions() => self.enlist_again(),
                true => self.state = State::Ask,
                false => self.state = State::Locate,
            }
        }
    }

    // Doubt.

    /// Nothing is certain any more: the target is asked before the next batch.
    fn doubt(&mut self) {
        self.probed = None;
        match self.state {
            State::Probe | State::Stream | State::Single => self.state = State::Ask,
            State::Transact | State::Commit => self.enlist_again(),
            _ => {}
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
        self.before_gap = None;
        self.search = None;
        self.asked = Asked::default();
        self.round = self.round.wrapping_add(1);
    }

    fn open(&mut self, run: Run, events: &mut VecDeque<Event>) {
        self.numbering.open(run);
        events.push_back(Event::RunWanted { lane: self.id, run });
    }

    /// The ledger has the run.
    pub(super) fn handle_run_durable(&mut self, run: Run) {
        self.numbering.confirm(run);
    }

    // Ending.

    /// Reads no more; what was accepted is still sent.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Sends no more, whatever comes in: a successor relies on it.
    pub(super) fn fall_silent(&mut self) {
        self.is_silent = true;
    }

    /// Nothing more will come of this lane without a command: nothing in flight, and nothing that may be sent.
    pub(super) fn is_drained(&self) -> bool {
        self.in_flight.is_empty()
            && self.filling.is_none()
            && !self.has_uncommitted()
            && (self.pending.is_empty()
                || !matches!(self.state, State::Stream | State::Single | State::Transact))
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
