//! What becomes of the source's batches, and of a source that is not what it was.

use super::{AVERAGE_SHIFT, Batch, Lane, ROUGH_BATCHES, Sent, State, Verdict};
use crate::config::{Isolation, OnLoss, StartFrom};
use crate::shard::api::{Checkpoint, Event, LossCause, OffsetMode, Settings, StopKind};
use crate::shard::writers::Writers;
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use crate::wire::produce::Payload;
use crate::wire::rebuild::Rebuilt;
use std::collections::VecDeque;

/// A lane with more runs than it may have asks for less than this from then on, and for more again when that is taken.
const FETCH_AGAIN_BYTES_MAX: usize = 4 << 20;

impl Lane {
    /// A fetch answer names a transaction that was aborted: drop its batches from `first_offset` on, up to its marker.
    pub(in crate::shard) fn handle_aborted(&mut self, producer_id: i64, first_offset: i64) {
        if !self.aborted.contains(&(producer_id, first_offset)) {
            self.aborted.push((producer_id, first_offset));
        }
    }

    /// Decides about the batch whose header has just been read. After `Pass` the batch is handed in by [`Self::push`].
    pub(in crate::shard) fn judge(
        &mut self,
        now: Now,
        header: &BatchHeader,
        isolation: Isolation,
        writers: &Writers,
        events: &mut VecDeque<Event>,
    ) -> Verdict {
        if header.last_offset() < self.read_offset {
            return Verdict::Skip;
        }
        if header.is_control() {
            // Whatever the marker says, it ends the producer's transaction.
            self.aborted.retain(|&(id, first)| id != header.producer_id || first > header.base_offset);
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        let is_aborted = |&(id, first): &(i64, i64)| id == header.producer_id && first <= header.base_offset;
        if isolation == Isolation::ReadCommitted
            && header.is_transactional()
            && self.aborted.iter().any(is_aborted)
        {
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        if let Some(verdict) = self.judge_writer(header, writers, events) {
            return verdict;
        }
        if header.record_count == 0 {
            // Compaction leaves an empty batch where a producer's last sequence has to be remembered.
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        if self.is_batch_diverted(header) {
            self.skip_to(header.next_offset(), header.leader_epoch);
            return Verdict::Skip;
        }
        if self.opens(header) {
            return Verdict::Open;
        }
        let continues = self.numbering.source_of(self.read_number) == Some(header.base_offset);
        if header.is_contiguous() && continues && !self.wants_new_run() {
            self.rough_batches = self.rough_batches.saturating_sub(1);
            return Verdict::Pass;
        }
        if self.is_number_under_way(now) {
            self.wait_for_number();
            return Verdict::Skip;
        }
        if self.must_settle_before(1) {
            self.settle_first();
            return Verdict::Skip;
        }
        if !header.is_contiguous() || header.base_offset < self.read_offset {
            self.rough_batches = ROUGH_BATCHES;
            return Verdict::Open;
        }
        self.open_run(header.base_offset, header.leader_epoch, events);
        Verdict::Pass
    }

    /// The number of the next record may be on its way to the target with the record it stood for before. (Whatever is on its way
    /// to a transaction was shut out when the last one ended.)
    fn is_number_under_way(&self, now: Now) -> bool {
        self.part.is_none() && now.mono_us < self.zombies_until_us && self.read_number < self.zombie_numbers
    }

    fn wait_for_number(&mut self) {
        self.read_anew();
        self.doubt();
        self.hold_for_zombies();
    }

    /// What comes has to be rebuilt, which only those do who copy.
    pub(in crate::shard) fn read_over_copying(&mut self) {
        self.rough_batches = ROUGH_BATCHES;
        self.rewind();
    }

    /// What was collected to be rebuilt, as the batches that it becomes; behind it the source goes on at `next_offset`. Dropped if
    /// the lane has been sent back meanwhile.
    pub(in crate::shard) fn push_rebuilt(
        &mut self,
        now: Now,
        next_offset: i64,
        source_epoch: i32,
        reading: u32,
        rebuilt: Vec<Rebuilt>,
        events: &mut VecDeque<Event>,
    ) {
        if reading != self.reading {
            return;
        }
        self.rough_batches = ROUGH_BATCHES;
        let last = rebuilt.len().saturating_sub(1);
        for (at, batch) in rebuilt.into_iter().enumerate() {
            if self.must_settle_before(batch.runs.len()) {
                return self.settle_first();
            }
            for (source_offset, records) in batch.runs {
                let continues = self.numbering.source_of(self.read_number) == Some(source_offset);
                if !continues || self.wants_new_run() {
                    if self.is_number_under_way(now) {
                        return self.wait_for_number();
                    }
                    self.open_run(source_offset, source_epoch, events);
                }
                self.read_number += records;
                self.read_offset = source_offset + records;
            }
            let number = self.read_number - i64::from(batch.header.record_count);
            // Behind the last record there may be more holes.
            let next_offset = if at == last { next_offset } else { self.read_offset };
            self.read_offset = next_offset;
            let payload = Payload::Ranges([batch.payload].into_iter().collect());
            let raw = batch.header.to_raw();
            self.push(Batch {
                header: batch.header,
                raw,
                payload,
                number,
                next_offset,
                reading,
                fetched_us: now.mono_us,
            });
        }
        self.skip_to(next_offset, source_epoch);
    }

    /// Nothing whole fitted into what was asked for, from a source that then sends less.
    pub(in crate::shard) fn ask_for_more(
        &mut self,
        bytes_min: usize,
        bytes_max: usize,
    ) -> Result<(), String> {
        if self.fetch_bytes_min >= bytes_max {
            return Err(format!(
                "the message at offset {} or behind it is larger than {bytes_max} bytes; raise --fetch-bytes-max",
                self.read_offset
            ));
        }
        self.fetch_bytes_min = (self.fetch_bytes_min.max(bytes_min) * 2).min(bytes_max);
        Ok(())
    }

    /// False: it was damaged the last time, too.
    pub(in crate::shard) fn read_damaged_again(&mut self, offset: i64) -> bool {
        let is_first = self.damaged_read != Some(offset);
        self.damaged_read = Some(offset);
        if is_first {
            self.rewind();
        }
        is_first
    }

    // Runs are made durable before what they stand for is sent, and the ledger takes no more than it can write in one record.

    pub(in crate::shard) fn allow_runs(&mut self, most: usize) {
        self.runs_max = most;
    }

    /// Whether so many more runs are too many, before some of those that there are are settled.
    fn must_settle_before(&self, runs: usize) -> bool {
        self.has_outstanding() && self.numbering.runs() + runs > self.runs_max
    }

    pub(super) fn has_outstanding(&self) -> bool {
        !self.pending.is_empty() || !self.in_flight.is_empty() || self.has_uncommitted()
    }

    /// Drops what comes, from the batch at hand on. It is fetched again, so less of it is asked for.
    fn settle_first(&mut self) {
        self.has_runs_enough = true;
        self.fetch_bytes_max = self.fetch_bytes_max.min(FETCH_AGAIN_BYTES_MAX) / 2;
        self.rewind();
    }

    /// The lane has runs enough, until it has few again.
    pub(super) fn awaits_settling(&self) -> bool {
        self.has_runs_enough && self.has_outstanding() && self.numbering.runs() > self.runs_max / 2
    }

    /// What it may be sent at a time.
    pub(in crate::shard) fn fetch_bytes_max(&self) -> usize {
        self.fetch_bytes_max
    }

    pub(in crate::shard) fn fetch_bytes_min(&self) -> usize {
        self.fetch_bytes_min
    }

    /// An answer was taken as it came.
    pub(super) fn note_answer_taken(&mut self) {
        self.has_runs_enough = false;
        self.fetch_bytes_max = self.fetch_bytes_max.saturating_mul(2);
    }

    /// The accepted batch is read on from here, though its payload is still under way.
    pub(in crate::shard) fn accept(&mut self, now: Now, header: &BatchHeader, raw: [u8; 61]) -> Batch {
        let number = self.read_number;
        self.read_number += i64::from(header.record_count);
        self.read_offset = header.next_offset();
        self.read_epoch = header.leader_epoch;
        self.note_size(header.batch_bytes);
        Batch {
            header: *header,
            raw,
            payload: Payload::Stream(header.payload_bytes()),
            number,
            next_offset: header.next_offset(),
            reading: self.reading,
            fetched_us: now.mono_us,
        }
    }

    /// The source's batches, not what becomes of them.
    pub(super) fn note_size(&mut self, batch_bytes: usize) {
        let average = self.batch_bytes_average;
        self.batch_bytes_average = match average {
            0 => batch_bytes,
            _ => average - (average >> AVERAGE_SHIFT) + (batch_bytes >> AVERAGE_SHIFT),
        };
    }

    /// The accepted batch is whole. Dropped if the lane has been sent back since its header was read.
    pub(in crate::shard) fn push(&mut self, batch: Batch) {
        if batch.reading == self.reading {
            self.pending_bytes += batch.header.payload_bytes();
            self.pending.push_back(batch);
        }
    }

    /// The fetch answer's word on the partition: where decided data ends.
    pub(in crate::shard) fn handle_watermark(&mut self, end_offset: i64) {
        self.source_end = end_offset;
    }

    /// The same from a replica, which may know less than was heard before.
    pub(in crate::shard) fn handle_watermark_of_replica(&mut self, end_offset: i64) {
        self.source_end = self.source_end.max(end_offset);
    }

    /// The source is known to have more than was read.
    pub(in crate::shard) fn is_behind(&self) -> bool {
        self.read_offset < self.source_end
    }

    /// The fetch answer had nothing (more) for this lane. True when this is the first time that the lane has read all there is.
    pub(in crate::shard) fn is_caught_up(&mut self) -> bool {
        let is_settled = self.is_reading()
            && self.is_idle()
            && self.read_number == self.send_number
            && !self.has_uncommitted()
            && self.is_next(self.read_number);
        let reached = is_settled && self.source_end >= 0 && self.read_offset >= self.source_end;
        let first = reached && !self.caught_up;
        self.caught_up |= reached;
        // What went to the dead letters is not to be met again, whether something follows or not.
        let has_passed = reached || is_settled && self.diverting.has_written();
        if has_passed && self.read_offset > self.settled.source_offset {
            self.settled.source_offset = self.read_offset;
            self.settled.source_epoch = self.read_epoch;
            self.diverting.forget_before(self.settled.source_offset);
        }
        first
    }

    /// The source says that the position is not in its log: it is asked for the log's range.
    pub(in crate::shard) fn handle_out_of_range(&mut self) {
        self.out_of_range = true;
        self.log_start = None;
    }

    pub(in crate::shard) fn handle_log_start(&mut self, offset: i64) {
        self.log_start = Some(offset);
        if std::mem::take(&mut self.wants_start) {
            self.source_start = offset;
            // Where that was all, nothing else comes.
            self.is_asking &= self.out_of_range;
        }
    }

    pub(in crate::shard) fn handle_log_end(
        &mut self,
        now: Now,
        end: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let Some(start) = self.log_start.take().filter(|_| self.out_of_range) else { return };
        self.out_of_range = false;
        self.is_asking = false;
        self.handle_source_start(start, settings.on_loss, events);
        self.handle_source_truncated(now, end, settings, events);
    }

    pub(in crate::shard) fn asks_source(&self) -> bool {
        self.state == State::Locate || self.out_of_range || self.wants_start
    }

    /// A question to the source was not answered, or not well.
    pub(in crate::shard) fn forget_source_questions(&mut self) {
        if self.asks_source() {
            self.is_asking = false;
            self.round = self.round.wrapping_add(1);
        }
    }

    /// Where to begin by time found nothing that young: begin at the end.
    pub(in crate::shard) fn locate_at_end(&mut self) {
        self.from = StartFrom::Latest;
        self.is_asking = false;
    }

    /// Where to begin by time is before all that the source can tell apart: begin at the start.
    pub(in crate::shard) fn locate_at_start(&mut self) {
        self.from = StartFrom::Earliest;
        self.is_asking = false;
    }

    /// A batch that was accepted will not come whole: read on from the last one that did.
    pub(in crate::shard) fn rewind(&mut self) {
        let (number, offset, epoch) = match (self.pending.back(), self.in_flight.back()) {
            (Some(Batch { header, number, next_offset, .. }), _) => {
                (number + i64::from(header.record_count), *next_offset, header.leader_epoch)
            }
            (None, sent) => {
                let position = sent.map(Sent::settled).or(self.appended()).unwrap_or(self.settled);
                let Checkpoint { number, source_offset, source_epoch } = position;
                (number, source_offset, source_epoch)
            }
        };
        // Seeds are not read.
        self.read_number = number + self.numbering.seeds_from(number);
        self.read_offset = offset;
        self.read_epoch = epoch;
        self.read_behind_gap();
        self.reading = self.reading.wrapping_add(1);
    }

    /// Where the next record is to stand was decided when its run was opened. What comes before is being filled, or is filled
    /// already: whatever the source has there, it is not judged anew.
    pub(super) fn read_behind_gap(&mut self) {
        if self.mode != OffsetMode::Identical {
            return;
        }
        let decided = self.numbering.source_of(self.read_number).unwrap_or(-1).max(self.settled_target);
        if self.read_offset < decided {
            (self.read_offset, self.read_epoch) = (decided, -1);
        }
    }

    /// The source begins at `log_start` by now: what lies before it is lost.
    fn handle_source_start(&mut self, log_start: i64, on_loss: OnLoss, events: &mut VecDeque<Event>) {
        if log_start <= self.read_offset {
            return;
        }
        let (from_offset, to_offset) = (self.read_offset, log_start);
        if on_loss == OnLoss::Halt {
            let detail = format!(
                "the source deleted its records from offset {from_offset} to {} before they were mirrored (retention, or \
                 DeleteRecords); to go on behind them start with --on-loss record-and-continue, which notes them in the gap ledger",
                to_offset - 1
            );
            return self.stop(StopKind::SourceDeleted, detail, events);
        }
        let cause = LossCause::SourceRetention;
        events.push_back(Event::Lost { lane: self.id, from_offset, to_offset, cause });
        self.skip_to(log_start, -1);
    }

    /// The source's log ends before our position, or took another course from `end_offset` on (unclean election): what was
    /// mirrored beyond stays on the target, and reading goes on from there once nothing old can be under way.
    pub(in crate::shard) fn handle_source_truncated(
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
        if self.mode == OffsetMode::Identical || settings.on_loss == OnLoss::Halt {
            let advice = match self.mode {
                OffsetMode::Identical => {
                    "mirror the topic with --append, or delete it on the target to mirror it anew"
                }
                OffsetMode::Append | OffsetMode::Shared => {
                    "to go on with what it has now start with --on-loss record-and-continue"
                }
            };
            let detail = format!(
                "the source lost its records from offset {from_offset} to {} (unclean leader election) after they were \
                 mirrored, so its offsets mean other records from there on; {advice}",
                to_offset - 1
            );
            return self.stop(StopKind::SourceTruncated, detail, events);
        }
        events.push_back(Event::Lost {
            lane: self.id,
            from_offset,
            to_offset,
            cause: LossCause::SourceTruncation,
        });
        self.diverting.forget();
        self.doubt();
        self.read_anew();
        // What is in flight may be appended or not: the position on the target tells what is read again.
        self.settled.cut(end_offset);
        if self.part.is_some() {
            self.source_ends_at = Some(end_offset);
            return;
        }
        self.zombies_until_us = now.after_ms(settings.zombie_bound_ms);
        self.zombie_numbers = i64::MAX;
        self.hold_for_zombies();
    }

    pub(super) fn skip_to(&mut self, offset: i64, epoch: i32) {
        self.read_offset = offset;
        self.read_epoch = epoch;
    }

    /// What was fetched, or is being fetched, is of no use any more.
    pub(super) fn read_anew(&mut self) {
        self.has_runs_enough = false;
        self.reading = self.reading.wrapping_add(1);
        self.pending.clear();
        self.pending_bytes = 0;
    }
}
