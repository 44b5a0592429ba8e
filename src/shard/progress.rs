//! Which source offset a record's number stands for, and what of that is durable.
//!
//! A *number* counts the records that the link has appended to one target partition; it begins at the first source offset, so
//! that for a source without gaps number and source offset are the same. The sequence on the wire is the number mod 2^31, and
//! the record's target offset is the number plus a constant, the *delta*, because nobody else writes to the partition.
//!
//! Where the source has a gap (a transaction marker, a compacted batch, retention) a new [`Run`] begins. A run is in the ledger
//! before its first record is sent, and is assigned once: two incarnations of a link never send different records under the
//! same number (exactness.md, rule M). On resume the last sequence is looked up here; headers are never counted again.

use super::api::{LaneStart, Run};

/// Sequence numbers wrap to 0 after this (Kafka's `DefaultRecordBatch.incrementSequence`).
const SEQUENCE_MASK: i64 = 0x7fff_ffff;

#[derive(Debug)]
pub(super) struct Numbering {
    /// Oldest first, by number; of two with the same number the later one counts. The first `durable` are in the ledger, the
    /// others are asked for and will be confirmed in this order. None is ever taken back: the table and the ledger agree.
    runs: Vec<Run>,
    durable: usize,
    /// target offset − number.
    delta: Option<i64>,
}

impl Numbering {
    pub(super) fn new(start: &LaneStart) -> Self {
        Self { durable: start.runs.len(), runs: start.runs.clone(), delta: start.target_delta }
    }

    /// Whether the link ever prepared to write to this partition.
    pub(super) fn is_begun(&self) -> bool {
        self.durable > 0
    }

    pub(super) fn delta(&self) -> Option<i64> {
        self.delta
    }

    pub(super) fn set_delta(&mut self, delta: i64) {
        self.delta = Some(delta);
    }

    /// The source offset of the record with this number. None: the number is older than everything that is still known.
    pub(super) fn source_of(&self, number: i64) -> Option<i64> {
        let run = self.runs.iter().rev().find(|run| run.number <= number)?;
        Some(run.source_offset + (number - run.number))
    }

    /// Opens a run; it becomes durable by [`Self::confirm`].
    pub(super) fn open(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// The ledger has this run, and those asked for before it that it did not replace.
    pub(super) fn confirm(&mut self, run: Run) {
        let asked = self.runs.iter().skip(self.durable).position(|asked| *asked == run);
        self.durable += asked.map_or(0, |at| at + 1);
    }

    /// Whether the ledger has every run that was asked for.
    pub(super) fn is_confirmed(&self) -> bool {
        self.durable == self.runs.len()
    }

    /// Whether every run that a record with this number depends on is durable.
    pub(super) fn is_durable(&self, number: i64) -> bool {
        self.runs.get(self.durable).is_none_or(|run| run.number > number)
    }

    /// Forgets runs that no number from `settled` on can need, but keeps the last `kept` of those.
    pub(super) fn forget_before(&mut self, settled: i64, kept: usize) {
        if self.durable <= kept {
            return;
        }
        let needed = self.runs[..self.durable].iter().rposition(|run| run.number <= settled).unwrap_or(0);
        let forgotten = needed.saturating_sub(kept);
        self.runs.drain(..forgotten);
        self.durable -= forgotten;
    }
}

pub(super) fn sequence(number: i64) -> i32 {
    (number & SEQUENCE_MASK) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbering(runs: &[(i64, i64)]) -> Numbering {
        let runs: Vec<Run> = runs
            .iter()
            .map(|&(number, source_offset)| Run { number, source_offset, source_epoch: -1 })
            .collect();
        Numbering { durable: runs.len(), runs, delta: Some(0) }
    }

    #[test]
    fn a_number_is_looked_up_in_the_last_run_that_reaches_it() {
        let numbering = numbering(&[(100, 100), (150, 160), (150, 170), (200, 500)]);
        assert_eq!(numbering.source_of(99), None);
        assert_eq!(numbering.source_of(149), Some(149));
        assert_eq!(numbering.source_of(150), Some(170), "of two runs with one number the later counts");
        assert_eq!(numbering.source_of(199), Some(219));
        assert_eq!(numbering.source_of(1 << 40), Some((1 << 40) + 300));
    }

    #[test]
    fn a_run_carries_records_only_when_it_is_durable() {
        let mut numbering = numbering(&[(0, 0)]);
        numbering.open(Run { number: 10, source_offset: 12, source_epoch: 1 });
        assert!(numbering.is_durable(9) && !numbering.is_durable(10));
        numbering.confirm(Run { number: 10, source_offset: 12, source_epoch: 1 });
        assert!(numbering.is_durable(10) && numbering.is_confirmed());
    }

    #[test]
    fn of_two_runs_with_one_number_both_must_be_confirmed_or_the_later() {
        let (first, second) = (
            Run { number: 10, source_offset: 12, source_epoch: 1 },
            Run { number: 10, source_offset: 15, source_epoch: 1 },
        );
        let mut numbering = numbering(&[(0, 0)]);
        numbering.open(first);
        numbering.open(second);
        numbering.confirm(first);
        assert!(!numbering.is_durable(10));
        numbering.confirm(second);
        assert!(numbering.is_durable(10) && numbering.is_confirmed());
        assert_eq!(numbering.source_of(11), Some(16));
    }

    #[test]
    fn old_runs_go_when_all_they_hold_is_settled() {
        let mut numbering = numbering(&[(0, 0), (10, 20), (30, 50)]);
        numbering.forget_before(29, 0);
        assert_eq!(numbering.source_of(9), None);
        assert_eq!(numbering.source_of(10), Some(20));
        assert!(numbering.is_durable(40));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence(SEQUENCE_MASK), 0x7fff_ffff);
        assert_eq!(sequence(SEQUENCE_MASK + 1), 0);
    }
}
