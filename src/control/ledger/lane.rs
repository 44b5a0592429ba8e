//! What the ledger knows of one lane, and how that is written.

use super::format::{LaneValue, RunValue, Runs};
use super::{CHUNK_RUNS, differs};
use crate::limits::{HISTORY_RUNS_MAX, LEDGER_RUNS_MAX};
use crate::shard::{BEHIND_OTHERS, Checkpoint, LaneId, OffsetMode, Run, SEED};
use std::collections::VecDeque;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) id: Option<LaneId>,
    pub(super) source_topic_id: Uuid,
    pub(super) target_topic_id: Uuid,
    pub(super) runs: Vec<Run>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) mode: OffsetMode,
    /// In append mode: runs before those, for the map of offsets. They are in records of their own, [`CHUNK_RUNS`] in each, that
    /// are numbered from `first_chunk` up to `chunks`; those behind are not yet.
    pub(super) history: VecDeque<Run>,
    pub(super) first_chunk: u32,
    pub(super) chunks: u32,
    /// Runs wanted that are not in any append yet.
    pub(super) wanted: VecDeque<Run>,
    /// The checkpoint moved since the last append that holds it.
    pub(super) stale: bool,
}

impl Lane {
    /// Whether the link ever began to write to the partition.
    pub(super) fn is_begun(&self) -> bool {
        !self.runs.is_empty() || !self.wanted.is_empty()
    }

    /// From now on others may write to the target partition, too. Offsets are no longer what they would be without them.
    pub(super) fn share(&mut self) -> Result<(), &'static str> {
        let number = self.checkpoint.map_or(i64::MIN, |checkpoint| checkpoint.number);
        let current = self.runs.iter().rev().find(|run| run.number <= number);
        if current.is_none_or(|run| run.source_offset == SEED) {
            return Err(
                "its offsets are being seeded; let the mirror catch up once before it is named in --both-directions or --shared",
            );
        }
        self.mode = OffsetMode::Shared;
        self.stale = true;
        Ok(())
    }

    /// How much of the history is in records of its own.
    fn chunked(&self) -> usize {
        (self.chunks - self.first_chunk) as usize * CHUNK_RUNS
    }

    /// The history that is enough for records of its own by now; and, without runs, the records that it is too long for.
    pub(super) fn take_chunks(&mut self) -> Vec<(u32, Option<Runs>)> {
        let mut chunks = Vec::new();
        while self.history.len() >= self.chunked() + CHUNK_RUNS {
            let runs = self.history.range(self.chunked()..).take(CHUNK_RUNS).map(run_value).collect();
            chunks.push((self.chunks, Some(Runs { runs })));
            self.chunks += 1;
        }
        while self.chunked() > HISTORY_RUNS_MAX {
            chunks.push((self.first_chunk, None));
            self.drop_chunk(self.first_chunk);
        }
        chunks
    }

    /// The oldest part of the history goes.
    pub(super) fn drop_chunk(&mut self, chunk: u32) {
        if chunk == self.first_chunk && chunk < self.chunks {
            self.history.drain(..CHUNK_RUNS);
            self.first_chunk += 1;
        }
    }

    /// A record of history, read from the log. Those of another topic of the same name, and what was written again after a
    /// crash, count no more.
    pub(super) fn take_chunk(&mut self, id: &str, chunk: u32, value: Runs) {
        let id = Uuid::parse_str(id).unwrap_or_default();
        if self.target_topic_id != id {
            *self = Self { target_topic_id: id, ..Self::default() };
        }
        if value.runs.len() != CHUNK_RUNS {
            return;
        }
        if !(self.first_chunk..=self.chunks).contains(&chunk) {
            // Those before are gone, or of no use without the one that is missing.
            self.history.clear();
            (self.first_chunk, self.chunks) = (chunk, chunk);
        }
        // A chunk is written again when the target lost what it had acknowledged.
        self.history.truncate((chunk - self.first_chunk) as usize * CHUNK_RUNS);
        self.history.extend(value.runs.into_iter().map(run_of));
        self.chunks = chunk + 1;
    }

    /// This lane as the log has it, after what was read of it before.
    pub(super) fn after(self, known: Self) -> Self {
        if differs(known.target_topic_id, self.target_topic_id) {
            return self;
        }
        let first = self.runs.first().map_or(i64::MAX, |run| run.number);
        let mut history = known.history;
        history.truncate(history.partition_point(|run| run.number < first));
        let chunks = history.len() / CHUNK_RUNS;
        history.truncate(chunks * CHUNK_RUNS);
        let first_chunk = known.first_chunk;
        Self { history, first_chunk, chunks: first_chunk + chunks as u32, ..self }
    }

    /// The target lost what it had acknowledged, back to before this run.
    fn forget_history_from(&mut self, run: &Run) {
        self.history.truncate(self.history.partition_point(|known| stays_before(known, run)));
        self.chunks = self.chunks.min(self.first_chunk + (self.history.len() / CHUNK_RUNS) as u32);
    }

    /// Runs that begin at the same number or later are replaced.
    pub(super) fn want(&mut self, run: Run) {
        while self.wanted.back().is_some_and(|wanted| !stays_before(wanted, &run)) {
            self.wanted.pop_back();
        }
        self.wanted.push_back(run);
    }

    /// Moves wanted runs into what the next append holds, as far as there is room; says whether there were any.
    pub(super) fn take_wanted(&mut self, taken: &mut Vec<(LaneId, Run)>) -> bool {
        let before = taken.len();
        while let (Some(id), Some(&run)) = (self.id, self.wanted.front()) {
            self.runs.retain(|known| stays_before(known, &run));
            self.forget_history_from(&run);
            // More are not made durable, so not used, until the checkpoint has moved.
            if self.runs.len() >= LEDGER_RUNS_MAX {
                break;
            }
            self.wanted.pop_front();
            self.runs.push(run);
            taken.push((id, run));
        }
        taken.len() > before
    }
}

impl From<&Lane> for LaneValue {
    fn from(lane: &Lane) -> Self {
        Self {
            source_topic_id: lane.source_topic_id,
            target_topic_id: lane.target_topic_id,
            mode: lane.mode,
            runs: lane.history.range(lane.chunked()..).chain(&lane.runs).map(run_value).collect(),
            checkpoint: lane.checkpoint.map(|checkpoint| (checkpoint.number, checkpoint.source_offset)),
            source_epoch: lane
                .checkpoint
                .map(|checkpoint| checkpoint.source_epoch)
                .filter(|epoch| *epoch >= 0),
        }
    }
}

impl From<LaneValue> for Lane {
    fn from(value: LaneValue) -> Self {
        let source_epoch = value.source_epoch.unwrap_or(-1);
        let checkpoint = |(number, source_offset)| Checkpoint { number, source_offset, source_epoch };
        Self {
            source_topic_id: value.source_topic_id,
            target_topic_id: value.target_topic_id,
            runs: value.runs.into_iter().map(run_of).collect(),
            checkpoint: value.checkpoint.map(checkpoint),
            mode: value.mode,
            ..Self::default()
        }
    }
}

/// Of two runs with one number the later counts; but seeds, or the word that there are none, tell where the log began, and so
/// does what others wrote. Whoever tells that anew has sent nothing under the runs before.
pub(super) fn stays_before(earlier: &Run, run: &Run) -> bool {
    let tells_the_begin = earlier.source_offset == SEED || earlier.source_epoch == BEHIND_OTHERS;
    run.source_offset != SEED
        && (earlier.number < run.number || (tells_the_begin && earlier.number == run.number))
}

fn run_value(run: &Run) -> RunValue {
    (run.number, run.source_offset, run.target_offset, run.source_epoch)
}

fn run_of((number, source_offset, target_offset, source_epoch): RunValue) -> Run {
    Run { number, source_offset, target_offset, source_epoch }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64) -> Run {
        Run { number, source_offset: 2 * number, target_offset: number, source_epoch: 0 }
    }

    #[test]
    fn a_history_that_is_too_long_loses_its_oldest_records() {
        let id = Uuid::from_u128(7);
        let runs = HISTORY_RUNS_MAX as i64 + 2 * CHUNK_RUNS as i64 + 5;
        let history = (0..runs).map(run).collect();
        let mut written = Lane { target_topic_id: id, history, ..Lane::default() };
        let records = written.take_chunks();
        let gone: Vec<u32> =
            records.iter().filter(|(_, runs)| runs.is_none()).map(|(chunk, _)| *chunk).collect();
        assert_eq!(gone, [0, 1]);
        assert_eq!(written.history.front().map(|run| run.number), Some(2 * CHUNK_RUNS as i64));
        assert!(written.take_chunks().is_empty());

        // As the log has it, and as it has it when those are compacted away.
        for compacted in [false, true] {
            let mut read = Lane::default();
            for (chunk, runs) in &records {
                match runs {
                    Some(_) if compacted && gone.contains(chunk) => {}
                    Some(Runs { runs }) => {
                        read.take_chunk(&id.to_string(), *chunk, Runs { runs: runs.clone() });
                    }
                    None => read.drop_chunk(*chunk),
                }
            }
            assert_eq!((read.first_chunk, read.chunks), (written.first_chunk, written.chunks));
            assert!(read.history.iter().eq(written.history.range(..written.chunked())));
            let last = LaneValue::from(&written);
            assert_eq!(last.runs.len(), 5, "behind the last whole record");
            let known = Lane::from(last).after(read);
            assert_eq!((known.first_chunk, known.chunks), (written.first_chunk, written.chunks));
        }
    }

    #[test]
    fn a_chunk_is_of_no_use_without_the_one_before() {
        let mut lane = Lane { target_topic_id: Uuid::from_u128(7), ..Lane::default() };
        let id = lane.target_topic_id.to_string();
        let chunk =
            |first: i64| Runs { runs: (first..).take(CHUNK_RUNS).map(|n| run_value(&run(n))).collect() };
        let length = CHUNK_RUNS as i64;
        for (number, first) in [(0, 0), (1, length), (4, 4 * length), (5, 5 * length), (4, 4 * length + 1)] {
            lane.take_chunk(&id, number, chunk(first));
        }
        assert_eq!((lane.first_chunk, lane.chunks, lane.history.len()), (4, 5, CHUNK_RUNS));
        assert_eq!(lane.history.front(), Some(&run(4 * length + 1)), "what was written again counts");
    }
}
