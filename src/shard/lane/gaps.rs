//! Identical offsets: what stands on the target where the source has nothing.
//!
//! A gap of the source (transaction markers, aborted records, what compaction removed) becomes control records on the target,
//! written by WriteTxnMarkers in the name of a producer id that writes nothing else; no consumer sees them. Control records
//! carry no sequence, so nothing compares them with what is there. What keeps them exact is the order of things: all records
//! before the gap are acknowledged, one request is under way at a time, and never while an earlier one, of a lost connection
//! or of a previous owner, may still arrive; then the log end tells what is missing. The answer to more than one record proves
//! nothing, since brokers merge the answers of one request (Kafka's `KafkaApis.handleWriteTxnMarkersRequest`), so the log end
//! is asked for after it.
//!
//! Where the target does not let the link write control records, and for gaps that are too large for them, transactions of the
//! link's fill gaps, which are aborted: without any record, each leaves its marker, and no consumer sees anything; with empty
//! records, a million offsets take a second, and consumers of uncommitted records see them. They are fenced by their
//! coordinator: a claim (InitProducerId) shuts out whatever was under way, the log end that is asked for after it says what is
//! missing, and that much is filled only if there was no other claim in between.
//!
//! Before the source's first offset go *seeds*: empty records, numbered and sent like any others, a hundred thousand to a
//! batch. The target deletes them when they are all there ([`Event::Trim`]), as it deletes what the source's retention takes.

use super::{ASK_AGAIN_MS, Batch, Lane, ROUGH_BATCHES, State, describe};
use crate::config::LargeGaps;
use crate::error::{self, Verdict as ErrorVerdict};
use crate::shard::api::{Event, GapFill, IN_TRANSACTION, Lease, OffsetMode, Run, Settings, Stop, StopKind};
use crate::time::Now;
use crate::wire::produce::Payload;
use crate::wire::rebuild::Holes;
use crate::wire::seed::SeedBatch;
use std::collections::VecDeque;

/// Control records in one request. A broker appends them one by one while the connection waits.
const FILL_MAX: i64 = 2_000;
/// Empty transactions in a row before the log end is asked for.
const EMPTY_TRANSACTIONS_MAX: i64 = 200;
/// Records in one transaction: so many that it ends long before its coordinator would give it up.
const ABORTED_RECORDS_MAX: i64 = 2_000_000;

const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
const UNSUPPORTED_VERSION: i16 = 35;

/// What is under way into a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    Markers(i64),
    Transactions,
}

/// What a gap is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filler {
    Markers,
    EmptyTransactions,
    AbortedRecords,
}

/// Whether the position was asked for when no transaction of the link could add anything to the partition any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GapsClaim {
    /// There never was one.
    NotNeeded,
    Wanted,
    Of(u64),
}

impl Lane {
    /// How many offsets must be filled before the next record may be sent. None: it may stand at the log end.
    pub(super) fn gap(&self) -> Option<i64> {
        let may_fill = self.mode == OffsetMode::Identical
            && !self.is_silent
            && matches!(self.state, State::Probe | State::Stream | State::Single)
            && self.in_flight.is_empty();
        let next = self.numbering.target_of(self.send_number).filter(|_| may_fill)?;
        (next > self.send_target && self.numbering.is_durable(self.send_number))
            .then_some(next - self.send_target)
    }

    /// The same, as if nothing of it were filled yet: what it is filled with does not change on the way.
    fn whole_gap(&self) -> Option<i64> {
        let next = self.numbering.target_of(self.send_number)?;
        Some(next - self.numbering.target_of(self.send_number - 1).map_or(0, |offset| offset + 1))
    }

    /// Whether a batch with this number would stand at the log end.
    pub(super) fn is_next(&self, number: i64) -> bool {
        self.mode != OffsetMode::Identical || self.numbering.target_of(number) == Some(self.send_target)
    }

    /// Whether a log that ends there ends in, or with, the gap before the record of this number.
    pub(super) fn gap_reaches(&self, number: i64, log_end: Option<i64>) -> bool {
        let before = self.numbering.target_of(number - 1).map_or(0, |offset| offset + 1);
        let next = self.numbering.target_of(number);
        log_end.is_some_and(|end| end > before && next.is_some_and(|next| end <= next))
    }

    /// None: the gap is not to be filled.
    fn filler(&self, settings: &Settings) -> Option<Filler> {
        let gap = self.whole_gap()?;
        match self.markers_refused {
            None if gap <= settings.gap_offsets_max => Some(Filler::Markers),
            Some(_) if gap <= settings.gap_transactions_max => Some(Filler::EmptyTransactions),
            _ if settings.large_gaps == LargeGaps::AbortedRecords => Some(Filler::AbortedRecords),
            _ => None,
        }
    }

    /// The gap, if something may be sent into it now.
    fn open_gap(&self, now: Now, lease: Lease) -> Option<i64> {
        let gap = self.gap()?;
        let is_alone =
            self.resumed_us >= self.fill_after_us && now.mono_us < lease.until_us && self.is_current(lease);
        (is_alone && self.filling.is_none() && !self.is_asking).then_some(gap)
    }

    /// How many control records are to be appended now.
    pub(in crate::shard) fn wants_fill(&self, now: Now, lease: Lease, settings: &Settings) -> Option<i64> {
        let gap = self.open_gap(now, lease)?;
        (self.filler(settings) == Some(Filler::Markers)).then(|| gap.min(FILL_MAX))
    }

    pub(in crate::shard) fn begin_fill(&mut self, count: i64) {
        self.filling = Some(Filling::Markers(count));
    }

    /// Before a gap: waits until no earlier control record can be under way, and asks again then. A gap that is not to be filled
    /// stops the lane.
    pub(in crate::shard) fn prepare_fill(
        &mut self,
        now: Now,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        if self.gap().is_none() || self.filling.is_some() {
            return;
        }
        let Some(filler) = self.filler(settings) else {
            return self.stop_at_gap(settings, events);
        };
        if filler != Filler::Markers && self.gaps_claim == GapsClaim::NotNeeded {
            self.gaps_claim = GapsClaim::Wanted;
        }
        if self.resumed_us < self.fill_after_us {
            let until_us = self.fill_after_us.max(now.mono_us);
            self.doubt();
            self.forget_questions();
            self.state = State::Hold { until_us };
        }
    }

    fn stop_at_gap(&mut self, settings: &Settings, events: &mut VecDeque<Event>) {
        let gap = self.whole_gap().unwrap_or(0);
        let before = self.numbering.source_of(self.send_number).unwrap_or(self.read_offset);
        let gap = format!("the source has no records in {gap} offsets before {before}");
        let ways = "fill it with records of aborted transactions, which consumers of committed records do not see (--large-gaps \
                    aborted-records), or mirror the topic with --append into a new target topic";
        match &self.markers_refused {
            None => {
                let max = settings.gap_offsets_max;
                let detail = format!("{gap}, more than gap-offsets-max ({max}): raise it, {ways}");
                self.stop(StopKind::GapTooLarge, detail, events);
            }
            Some(refused) => {
                let max = settings.gap_transactions_max;
                let detail = format!(
                    "{}; without that only gaps of up to gap-transactions-max ({max}) offsets are filled, and {gap}: raise it, \
                     {ways}",
                    refused.detail
                );
                self.stop(refused.kind, detail, events);
            }
        }
    }

    /// The broker's answer to the control records. Returns true if the leader should be looked up.
    pub(in crate::shard) fn handle_filled(
        &mut self,
        now: Now,
        code: i16,
        events: &mut VecDeque<Event>,
    ) -> bool {
        let Some(Filling::Markers(count)) = self.filling else { return false };
        self.filling = None;
        if !matches!(self.state, State::Probe | State::Stream | State::Single) {
            return false;
        }
        match error::of_produce(code) {
            ErrorVerdict::Ok if count == 1 => {
                self.send_target += 1;
                self.settled_target = self.send_target;
            }
            ErrorVerdict::Ok => self.ask_for_the_end(),
            ErrorVerdict::Stop(kind) => {
                let detail = format!("filling a gap of the source's offsets: {}", describe(code));
                if matches!(code, CLUSTER_AUTHORIZATION_FAILED | UNSUPPORTED_VERSION) {
                    // Refused as a whole, before anything was appended.
                    self.markers_refused = Some(Stop { kind, detail });
                } else {
                    self.stop(kind, detail, events);
                }
            }
            verdict => {
                self.doubt();
                self.hold(now, ASK_AGAIN_MS);
                return verdict == ErrorVerdict::LeaderUnknown;
            }
        }
        false
    }

    /// What was read stays good when the log end is as expected.
    fn ask_for_the_end(&mut self) {
        self.probed = Some(self.target);
        self.state = State::Ask;
    }

    /// The connection is gone: the control records may be appended yet. Transactions have connections of their own.
    pub(super) fn lose_fill(&mut self, now: Now, settings: &Settings) {
        if matches!(self.filling, Some(Filling::Markers(_))) {
            self.filling = None;
            self.fill_after_us = self.fill_after_us.max(now.after_ms(settings.zombie_bound_ms));
        }
    }

    // By transactions: see `shard/gaps.rs`.

    /// The link had transactions before.
    pub(in crate::shard) fn want_gaps_claim(&mut self) {
        if self.mode == OffsetMode::Identical {
            self.gaps_claim = GapsClaim::Wanted;
        }
    }

    pub(in crate::shard) fn wants_gaps_claim(&self) -> bool {
        let is_bound = !matches!(self.state, State::Waiting | State::Locate | State::Stopped);
        self.gaps_claim == GapsClaim::Wanted
            && is_bound
            && self.filling.is_none()
            && self.in_flight.is_empty()
    }

    /// No transaction of before can add anything any more; what the partition had before must be asked for.
    pub(in crate::shard) fn handle_gaps_claimed(&mut self, claim: u64) {
        self.gaps_claim = GapsClaim::Of(claim);
        if matches!(self.state, State::Probe | State::Stream | State::Single) {
            self.ask_for_the_end();
        }
        self.forget_questions();
    }

    /// What transactions are to put into the gap, if the position is one of this claim.
    pub(in crate::shard) fn wants_gap_fill(
        &mut self,
        now: Now,
        lease: Lease,
        settings: &Settings,
        claim: u64,
    ) -> Option<GapFill> {
        let gap = self.open_gap(now, lease)?;
        let fill = match self.filler(settings)? {
            Filler::Markers => return None,
            Filler::EmptyTransactions => GapFill { records: 0, times: gap.min(EMPTY_TRANSACTIONS_MAX) },
            // The marker takes an offset, too.
            Filler::AbortedRecords => GapFill { records: (gap - 1).min(ABORTED_RECORDS_MAX), times: 1 },
        };
        if self.gaps_claim != GapsClaim::Of(claim) {
            self.gaps_claim = GapsClaim::Wanted;
            return None;
        }
        Some(fill)
    }

    pub(in crate::shard) fn begin_gap_fill(&mut self) {
        self.filling = Some(Filling::Transactions);
    }

    /// The transactions are over, however they ended.
    pub(in crate::shard) fn handle_gap_filled(&mut self, claim: u64) {
        if self.filling == Some(Filling::Transactions) {
            self.filling = None;
            self.handle_gaps_claimed(claim);
        }
    }

    /// The target does not let the link have such transactions.
    pub(in crate::shard) fn refuse_gap_fill(&mut self, stop: &Stop, events: &mut VecDeque<Event>) {
        self.filling = None;
        let refused =
            self.markers_refused.as_ref().map_or(String::new(), |refused| format!("{}; ", refused.detail));
        let detail =
            format!("{refused}filling a gap of the source's offsets by transactions: {}", stop.detail);
        self.stop(stop.kind, detail, events);
    }

    /// The source has no more for now: the end of its log is reproduced, too.
    pub(in crate::shard) fn close_gap(&mut self, events: &mut VecDeque<Event>) {
        self.note_answer_taken();
        let is_behind = self.mode == OffsetMode::Identical
            && self.is_reading()
            && self.numbering.source_of(self.read_number).is_some_and(|offset| offset < self.read_offset);
        if is_behind {
            self.open_run(self.read_offset, self.read_epoch, events);
        }
    }

    /// The next accepted record is this one of the source.
    pub(super) fn open_run(&mut self, source_offset: i64, source_epoch: i32, events: &mut VecDeque<Event>) {
        let number = self.read_number;
        let target_offset = match self.mode {
            OffsetMode::Identical => source_offset,
            OffsetMode::Append => self.numbering.target_of(number).unwrap_or(0),
            OffsetMode::Shared => self.settled_target,
        };
        self.rough_batches = ROUGH_BATCHES;
        let source_epoch = if self.part.is_some() { IN_TRANSACTION } else { source_epoch };
        self.open(Run { number, source_offset, target_offset, source_epoch }, events);
    }

    /// A lane whose offsets have many gaps, or whose batches have to be rebuilt, copies.
    pub(in crate::shard) fn prefers_copy(&self) -> bool {
        self.rough_batches > 0
    }

    /// What becomes of holes in a batch.
    pub(in crate::shard) fn holes(&self) -> Holes {
        match self.mode {
            OffsetMode::Identical => Holes::Split,
            OffsetMode::Append | OffsetMode::Shared => Holes::Close,
        }
    }

    pub(in crate::shard) fn read_offset(&self) -> i64 {
        self.read_offset
    }

    /// How many seeds may go in the next batch, `batch_max` at most.
    pub(in crate::shard) fn wants_seeds(&self, batch_max: i32) -> Option<i32> {
        let left = self.numbering.seeds_from(self.send_number);
        (left > 0).then(|| i32::try_from(left).unwrap_or(i32::MAX).min(batch_max))
    }

    /// A batch of seeds, accepted like one of the source.
    pub(super) fn seed(&self, seeds: &SeedBatch) -> Option<Batch> {
        let (_, next_offset) = self.numbering.reading_from(self.send_number)?;
        Some(Batch {
            header: seeds.header,
            raw: seeds.header.to_raw(),
            payload: Payload::Ranges([seeds.payload.clone()].into_iter().collect()),
            number: self.send_number,
            next_offset,
            reading: self.reading,
            fetched_us: 0,
        })
    }

    /// The fetch answer's word on where the source's log begins.
    pub(in crate::shard) fn handle_source_begins(&mut self, offset: i64) {
        if offset >= 0 {
            self.source_start = offset;
        } else if self.source_start < 0 && self.mode == OffsetMode::Identical {
            self.wants_start = true;
        }
    }

    /// The target is to delete what lies before, since everything from there on is acknowledged.
    pub(in crate::shard) fn take_trim(&mut self) -> Option<i64> {
        let is_due = self.mode == OffsetMode::Identical
            && self.source_start > self.trimmed
            && self.settled_target >= self.source_start
            && self.is_reading();
        if !is_due {
            return None;
        }
        self.trimmed = self.source_start;
        Some(self.trimmed)
    }
}
