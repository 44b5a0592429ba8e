//! Which source offset a record's number stands for, and what of that is durable.
//!
//! A *number* counts the records that the link has appended to one target partition; it begins at the first source offset, so
//! that for a source without gaps number and source offset are the same. The sequence on the wire is the number mod 2^31, and
//! where a record stands on the target is known beforehand too, because nobody else writes to the partition: in append mode one
//! after the other, in identical mode at its source offset, behind a gap that is filled with control records.
//!
//! Where the source has a gap (a transaction marker, a compacted batch, retention) a new [`Run`] begins. A run is in the ledger
//! before its first record is sent, and is assigned once: two incarnations of a link never send different records under the
//! same number (exactness.md, rule M). On resume the last sequence is looked up here; headers are never counted again.

use super::api::{BEHIND_OTHERS, Checkpoint, LaneStart, Run, SEED};

/// Sequence numbers wrap to 0 after this (Kafka's `DefaultRecordBatch.incrementSequence`).
const SEQUENCE_MASK: i64 = 0x7fff_ffff;

#[derive(Debug)]
pub(super) struct Numbering {
    /// Oldest first, by number; of two with the same number the later one counts. The first `durable` are in the ledger, the
    /// others are asked for and will be confirmed in this order. None is ever taken back: the table and the ledger agree.
    runs: Vec<Run>,
    durable: usize,
}

impl Numbering {
    pub(super) fn new(start: &LaneStart) -> Self {
        Self { durable: start.runs.len(), runs: start.runs.clone() }
    }

    /// Whether the link ever prepared to write to this partition. A run of seeds alone is not enough: where they end stands in the
    /// next one, and before that is durable none is sent.
    pub(super) fn is_begun(&self) -> bool {
        self.runs[..self.durable].iter().any(|run| run.source_offset != SEED)
    }

    /// The source offset of the record with this number. None: the number is older than everything that is still known.
    pub(super) fn source_of(&self, number: i64) -> Option<i64> {
        let run = self.run_of(number)?;
        Some(run.source_offset + (number - run.number))
    }

    /// The target offset of the record with this number.
    pub(super) fn target_of(&self, number: i64) -> Option<i64> {
        let run = self.run_of(number)?;
        Some(run.target_offset + (number - run.number))
    }

    /// The number of the next record on a target whose log ends here. Within a gap that is being filled it is that of the first
    /// record behind it.
    pub(super) fn number_at(&self, log_end: i64) -> Option<i64> {
        let mut next = i64::MAX;
        for run in self.runs.iter().rev() {
            if run.number > next {
                // A later run took its numbers: the source was read anew, and held something else.
                continue;
            }
            if run.target_offset <= log_end {
                return Some(next.min(run.number + (log_end - run.target_offset)));
            }
            next = run.number;
        }
        None
    }

    /// Whether a log that ends there ends with the records of others that the next run begins behind.
    pub(super) fn is_behind_others(&self, number: i64, log_end: i64) -> bool {
        // Where the source's next record came later than thought, another run begins there, too.
        let begins = |run: &Run| run.number == number && run.target_offset == log_end;
        self.runs.iter().any(|run| begins(run) && run.source_epoch == BEHIND_OTHERS)
    }

    /// Whether the last owner's last records stand in transactions.
    pub(super) fn is_in_transactions(&self) -> bool {
        self.runs.last().is_some_and(Run::is_in_transaction)
    }

    /// Where the lane stood when its records began to go in transactions, as far as that is still known.
    pub(super) fn in_transactions_since(&self) -> Option<Checkpoint> {
        // What was begun anew stands behind what it replaces, which may have higher numbers.
        let since = self.runs.iter().rev().take_while(|run| run.is_in_transaction());
        let first = since.min_by_key(|run| (run.number, run.source_offset))?;
        Some(Checkpoint::at(first.number, first.source_offset))
    }

    /// Where the source is read on for a target that has every record below `number`: the number and the source offset of the
    /// next record that is no seed.
    pub(super) fn reading_from(&self, number: i64) -> Option<(i64, i64)> {
        let at = self.runs.iter().rposition(|run| run.number <= number)?;
        let run = &self.runs[at];
        if run.source_offset != SEED {
            return Some((number, run.source_offset + (number - run.number)));
        }
        let next = self.runs[at..].iter().find(|run| run.source_offset != SEED)?;
        Some((next.number, next.source_offset))
    }

    /// How many seed records come from `number` on before the next record of the source.
    pub(super) fn seeds_from(&self, number: i64) -> i64 {
        let at = self.runs.iter().rposition(|run| run.number <= number);
        match at.map(|at| (&self.runs[at], self.runs.get(at + 1))) {
            Some((run, Some(next))) if run.source_offset == SEED => next.number - number,
            _ => 0,
        }
    }

    fn run_of(&self, number: i64) -> Option<&Run> {
        self.runs.iter().rev().find(|run| run.number <= number)
    }

    /// Opens a run; it becomes durable by [`Self::confirm`].
    pub(super) fn open(&mut self, run: Run) {
        if run.source_offset == SEED {
            // The partition is begun, or begun anew after nothing was sent.
            self.runs.clear();
            self.durable = 0;
        }
        self.runs.push(run);
    }

    /// The ledger has this run, and those asked for before it that it did not replace.
    pub(super) fn confirm(&mut self, run: Run) {
        let asked = self.runs.iter().skip(self.durable).position(|asked| *asked == run);
        self.durable += asked.map_or(0, |at| at + 1);
    }

    /// How many there are, durable or not.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Whether the ledger has every run that was asked for.
    pub(super) fn is_confirmed(&self) -> bool {
        self.durable == self.runs.len()
    }

    /// Whether every run that a record with this number depends on is durable.
    pub(super) fn is_durable(&self, number: i64) -> bool {
        self.runs.iter().skip(self.durable).all(|run| run.number > number)
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

/// Of all numbers with this sequence the one that is nearest to `known`.
pub(super) fn nearest_number(known: i64, wanted: i32) -> i64 {
    let half = (SEQUENCE_MASK + 1) / 2;
    let ahead = (i64::from(wanted) - i64::from(sequence(known)) + half) & SEQUENCE_MASK;
    known + ahead - half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64, source_offset: i64) -> Run {
        Run { number, source_offset, target_offset: source_offset, source_epoch: -1 }
    }

    fn numbering(runs: &[(i64, i64)]) -> Numbering {
        let runs: Vec<Run> = runs.iter().map(|&(number, source_offset)| run(number, source_offset)).collect();
        Numbering { durable: runs.len(), runs }
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
    fn a_log_end_within_a_gap_belongs_to_the_record_behind_it() {
        let numbering = numbering(&[(0, 0), (10, 12), (10, 15), (20, 40)]);
        let at = |log_end| numbering.number_at(log_end);
        assert_eq!(
            (at(9), at(10), at(12), at(14), at(15)),
            (Some(9), Some(10), Some(10), Some(10), Some(10))
        );
        assert_eq!(
            (at(24), at(25), at(39), at(40), at(41)),
            (Some(19), Some(20), Some(20), Some(20), Some(21))
        );
        assert_eq!((numbering.target_of(9), numbering.target_of(10)), (Some(9), Some(15)));
    }

    /// The source was read as far as offset 90, then again from 20 on: by then it had lost its records up to 30.
    #[test]
    fn a_run_whose_numbers_a_later_one_took_counts_no_more() {
        let mut numbering = numbering(&[(0, 0), (20, 25), (40, 90)]);
        numbering.open(run(20, 30));
        assert!(numbering.is_durable(19) && !numbering.is_durable(20));
        numbering.open(run(25, 95));
        numbering.confirm(run(20, 30));
        assert!(numbering.is_durable(24) && !numbering.is_durable(25));
        let at = |log_end| numbering.number_at(log_end);
        assert_eq!((at(27), at(30), at(31)), (Some(20), Some(20), Some(21)));
        assert_eq!((at(92), at(95)), (Some(25), Some(25)));
    }

    #[test]
    fn what_stands_before_a_run_does_not_change_when_its_first_record_does() {
        let mut numbering = numbering(&[(0, 0)]);
        numbering.open(Run { source_epoch: BEHIND_OTHERS, ..run(10, 12) });
        numbering.open(Run { source_offset: 15, ..run(10, 12) });
        assert!(numbering.is_behind_others(10, 12) && !numbering.is_behind_others(11, 13));
    }

    #[test]
    fn a_run_carries_records_only_when_it_is_durable() {
        let mut numbering = numbering(&[(0, 0)]);
        numbering.open(run(10, 12));
        assert!(numbering.is_durable(9) && !numbering.is_durable(10));
        numbering.confirm(run(10, 12));
        assert!(numbering.is_durable(10) && numbering.is_confirmed());
    }

    #[test]
    fn of_two_runs_with_one_number_both_must_be_confirmed_or_the_later() {
        let (first, second) = (run(10, 12), run(10, 15));
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
    fn the_nearest_number_is_found_across_wraps_in_both_directions() {
        let wrap = SEQUENCE_MASK + 1;
        assert_eq!((nearest_number(5, 7), nearest_number(5, 3), nearest_number(5, 5)), (7, 3, 5));
        assert_eq!(nearest_number(wrap - 1, 1), wrap + 1);
        assert_eq!(nearest_number(3 * wrap + 1, 0x7fff_ffff), 3 * wrap - 1);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence(SEQUENCE_MASK), 0x7fff_ffff);
        assert_eq!(sequence(SEQUENCE_MASK + 1), 0);
    }
}
