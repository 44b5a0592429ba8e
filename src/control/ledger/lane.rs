//! What the ledger knows of one lane, and how that is written.

use super::format::{LaneValue, RunValue, Runs};
use super::{CHUNK_RUNS, differs};
use crate::limits::LEDGER_RUNS_MAX;
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
    /// In append mode: runs before those, for the map of offsets; the first `chunks` times [`CHUNK_RUNS`] are in records of
    /// their own.
    pub(super) history: Vec<Run>,
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
                "its offsets are being seeded; let the mirror catch up once before it is named in --both-directions",
            );
        }
        self.mode = OffsetMode::Shared;
        self.stale = true;
        Ok(())
    }

    /// How much of the history is in records of its own.
    fn chunked(&self) -> usize {
        self.chunks as usize * CHUNK_RUNS
    }

    /// The history that is enough for records of its own by now.
    pub(super) fn take_chunks(&mut self) -> Vec<(u32, Runs)> {
        let fresh = &self.history[self.chunked()..];
        let runs =
            fresh.chunks_exact(CHUNK_RUNS).map(|runs| Runs { runs: runs.iter().map(run_value).collect() });
        let chunks: Vec<(u32, Runs)> = (self.chunks..).zip(runs).collect();
        self.chunks += chunks.len() as u32;
        chunks
    }

    /// A record of history, read from the log. Those of another topic of the same name, and what was written again after a
    /// crash, count no more.
    pub(super) fn take_chunk(&mut self, id: &str, chunk: u32, value: Runs) {
        let id = Uuid::parse_str(id).unwrap_or_default();
        if self.target_topic_id != id {
            *self = Self { target_topic_id: id, ..Self::default() };
        }
        if chunk <= self.chunks && value.runs.len() == CHUNK_RUNS {
            // A chunk is written again when the target lost what it had acknowledged.
            self.history.truncate(chunk as usize * CHUNK_RUNS);
            self.history.extend(value.runs.into_iter().map(run_of));
            self.chunks = chunk + 1;
        }
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
        Self { history, chunks: chunks as u32, ..self }
    }

    /// The target lost what it had acknowledged, back to before this run.
    fn forget_history_from(&mut self, run: &Run) {
        self.history.truncate(self.history.partition_point(|known| stays_before(known, run)));
        self.chunks = self.chunks.min((self.history.len() / CHUNK_RUNS) as u32);
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
            runs: lane.history[lane.chunked()..].iter().chain(&lane.runs).map(run_value).collect(),
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
