//! The load: what is written to the source while the mirror runs, batch by batch, and what the source's cleaner takes away again.

use crate::broker::{Batch, Marker};
use crate::limits::BATCH_HEADER_BYTES;
use crate::shard::Side;
use crate::sim::letters::damaged;
use crate::sim::reference::{Fate, NewBatch, OpenTransaction, SourcePartition};
use crate::sim::traffic::{Contents, Producer};
use crate::sim::world::{Moment, World};

/// Transactions that are open at once in one partition.
const OPEN_MAX: usize = 3;
/// Transactional producers are called so, from here on.
const PRODUCER_ID: i64 = 4_000_000;

impl World {
    /// What is there before the first instance starts.
    pub(super) fn write_backlog(&mut self) {
        for partition in 0..self.reference.partitions.len() {
            let backlog = (self.plan.batches as u64 * self.plan.backlog_percent / 100).max(1);
            for _ in 0..backlog {
                self.write_batch(partition);
            }
            self.schedule(self.now_us + 1, Moment::Write(partition));
        }
    }

    /// The load's next batch, and when the one after it comes.
    pub(super) fn write_source(&mut self, partition: usize) {
        if self.reference.partitions[partition].is_written() {
            return;
        }
        self.write_batch(partition);
        self.answer_later(Side::Source);
        let gap_us = 1 + self.load.around(self.plan.batch_gap_ms * 1000);
        self.schedule(self.now_us + gap_us, Moment::Write(partition));
    }

    fn write_batch(&mut self, partition: usize) {
        let open = self.reference.partitions[partition].open.len();
        if self.reference.partitions[partition].unwritten == 0 {
            return self.end_transaction(partition);
        }
        self.reference.partitions[partition].unwritten -= 1;
        if self.load.percent(self.plan.transactions_percent) {
            match open > 0 && self.load.percent(40) {
                true => self.end_transaction(partition),
                false => self.write_in_transaction(partition),
            }
        } else if self.load.percent(self.plan.markers_percent) {
            // Of a transaction that has no records here.
            let nobody = PRODUCER_ID - 1;
            self.write_marker(partition, nobody);
        } else {
            let new = self.new_batch(partition, None, Fate::Pass);
            self.append(partition, new);
        }
    }

    /// Records in one of the open transactions, or in a new one.
    fn write_in_transaction(&mut self, partition: usize) {
        let open = self.reference.partitions[partition].open.len();
        let at = self.load.index((open + 1).min(OPEN_MAX));
        let source = &mut self.reference.partitions[partition];
        let batch = source.batches.len();
        if at == open {
            let producer_id = PRODUCER_ID + batch as i64;
            source.open.push(OpenTransaction { producer_id, sequence: 0, batches: Vec::new() });
        }
        let OpenTransaction { producer_id: id, sequence, batches } = &mut source.open[at];
        batches.push(batch);
        let producer = Producer { id: *id, sequence: *sequence, is_transactional: true };
        let new = self.new_batch(partition, Some(producer), Fate::Undecided);
        self.reference.partitions[partition].open[at].sequence += new.offsets;
        self.append(partition, new);
    }

    /// Commits or aborts one of the open transactions: its records are decided.
    fn end_transaction(&mut self, partition: usize) {
        let open = self.reference.partitions[partition].open.len();
        if open == 0 {
            return;
        }
        let at = self.load.index(open);
        let ended = self.reference.partitions[partition].open.remove(at);
        let commits = self.write_marker(partition, ended.producer_id);
        for batch in ended.batches {
            self.reference.partitions[partition].batches[batch].fate =
                if commits { Fate::Pass } else { Fate::Skip };
        }
    }

    fn write_marker(&mut self, partition: usize, producer_id: i64) -> bool {
        let commits = self.load.percent(60);
        let marker = Marker { producer_id, producer_epoch: 0, commits, coordinator_epoch: 0 };
        let new =
            NewBatch { offsets: 1, contents: None, producer: None, fate: Fate::Skip, is_damaged: false };
        self.append_batch(partition, marker.to_batch(self.now().wall_ms), new);
        commits
    }

    fn new_batch(&mut self, partition: usize, producer: Option<Producer>, fate: Fate) -> NewBatch {
        let now = self.now();
        let (load, plan) = (&mut self.load, &self.plan);
        let source = &self.reference.partitions[partition];
        let label = format!("{}-{}/{}", source.topic, source.partition, source.batches.len());
        let timestamp_ms = now.wall_ms - plan.ages.draw_ms(plan.expiration_ms, load);
        let offsets = load.between(1, 6) as i32;
        let mut contents = Contents::new(&label, offsets, timestamp_ms, load);
        if load.percent(plan.holes_percent) {
            contents = contents.cleaned(|_| load.percent(60));
        }
        let may_be_damaged = plan.damaged_percent > 0 && !contents.records.is_empty();
        let is_damaged = may_be_damaged && load.percent(plan.damaged_percent);
        NewBatch { offsets, contents: Some(contents), producer, fate, is_damaged }
    }

    fn append(&mut self, partition: usize, new: NewBatch) {
        if let Some(contents) = &new.contents {
            let sound = of_records(contents, new.offsets, new.producer);
            let batch = if new.is_damaged { damaged(&sound) } else { sound };
            self.append_batch(partition, batch, new);
        }
    }

    /// Appends to the source as it is, now and then behind a gap.
    fn append_batch(&mut self, partition: usize, mut batch: Batch, new: NewBatch) {
        let is_behind_gap = self.load.percent(self.plan.gaps_percent);
        let gap_max = if self.load.percent(80) { self.plan.gap_max.min(9) } else { self.plan.gap_max };
        let gap = if is_behind_gap { self.load.below(gap_max as u64 + 1) as i64 } else { 0 };
        let source = &mut self.reference.partitions[partition];
        let (topic, number, is_first) = (source.topic.clone(), source.partition, source.batches.is_empty());
        let base_offset = source.log_end + if is_first { 0 } else { gap };
        let leader_epoch =
            self.source.cluster.partition(&topic, number).map_or(0, |partition| partition.leader_epoch);
        batch.place(base_offset, leader_epoch);
        if self.source.cluster.append_as_is(&topic, number, batch).is_some() {
            source.push(base_offset, new);
        }
    }

    /// The log cleaner passes over what is decided, but for the newest batch.
    pub(super) fn compact_source(&mut self, partition: usize) {
        let source = &self.reference.partitions[partition];
        let (topic, number) = (source.topic.clone(), source.partition);
        let Some(held) = self.source.cluster.partition(&topic, number).filter(|_| !source.recreated) else {
            return;
        };
        let end = held.log.last_stable_offset().min(source.batches.last().map_or(0, |last| last.base_offset));
        let share = self.chaos.pick(&[10, 50, 90]);
        for at in 0..source.batches.len() {
            let batch = &self.reference.partitions[partition].batches[at];
            let is_clean =
                batch.is_gone || batch.is_damaged || batch.versions.is_empty() || batch.next_offset > end;
            if !is_clean && self.chaos.percent(share) {
                self.compact_batch(partition, at);
            }
        }
        self.trace(|| format!("the source compacts {topic}-{number}"));
    }

    fn compact_batch(&mut self, partition: usize, at: usize) {
        let (chaos, source) = (&mut self.chaos, &mut self.reference.partitions[partition]);
        let SourcePartition { batches, records, topic, partition: number, .. } = source;
        let batch = &mut batches[at];
        let Some(before) = batch.versions.last() else { return };
        let keeps_some = batch.fate == Fate::Pass;
        let left = before.cleaned(|_| keeps_some && chaos.percent(60));
        for record in &mut records[batch.records.clone()] {
            let delta = record.offset - batch.base_offset;
            record.deleted = !left.records.iter().any(|(kept, _)| i64::from(*kept) == delta);
        }
        // An empty batch stays where a producer's last sequence has to be remembered.
        batch.is_gone = left.records.is_empty() && chaos.percent(50);
        let offsets = (batch.next_offset - batch.base_offset) as i32;
        let encoded = (!batch.is_gone).then(|| of_records(&left, offsets, batch.producer));
        batch.versions.push(left);
        self.source.cluster.clean(topic, *number, batch.base_offset, encoded);
    }
}

fn of_records(contents: &Contents, offsets: i32, producer: Option<Producer>) -> Batch {
    let raw = contents.encode(offsets, producer);
    let mut header = [0; BATCH_HEADER_BYTES];
    header.copy_from_slice(&raw[..BATCH_HEADER_BYTES]);
    Batch::from_parts(header, raw.slice(BATCH_HEADER_BYTES..))
}
