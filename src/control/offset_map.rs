//! From an offset on the source to the one on the target, and back.
//!
//! An offset is taken as a consumer group commits it: as the position of the next record to read. So the position of a record
//! that is not mirrored (a transaction marker, an aborted or compacted record) becomes that of the next one that is, and whoever
//! goes on from there reads every record once.

use crate::shard::{Checkpoint, OffsetMode, Run, SEED};

/// Why there is no such offset on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// The link has never mirrored the partition.
    Unknown,
    /// The partition is mirrored in both directions.
    Shared,
    /// The source is mirrored up to here only.
    NotMirrored { mirrored_to: i64 },
    /// What is known of the partition begins here.
    TooOld { known_from: i64 },
}

impl std::fmt::Display for Unmapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("the link has not mirrored this partition"),
            Self::Shared => f.write_str(
                "mirrored in both directions, so each side has its own order of records, and there is no map of offsets",
            ),
            Self::NotMirrored { mirrored_to } => write!(f, "mirrored only up to offset {mirrored_to} so far"),
            Self::TooOld { known_from } => {
                write!(f, "older than what the link knows, which begins at {known_from}")
            }
        }
    }
}

/// A partition's map: its runs in the order of their numbers, and how far they are filled.
#[derive(Clone, Copy, Debug)]
pub struct OffsetMap<'a> {
    pub mode: OffsetMode,
    /// Neighbouring pieces of one list: what is history, and what a resume may still need.
    pub runs: [&'a [Run]; 3],
    pub checkpoint: Checkpoint,
}

impl OffsetMap<'_> {
    /// The target's position for a position on the source.
    pub fn target_of(&self, source_offset: i64) -> Result<i64, Unmapped> {
        let mirrored_to = self.checkpoint.source_offset;
        if source_offset > mirrored_to {
            return Err(Unmapped::NotMirrored { mirrored_to });
        }
        if self.mode == OffsetMode::Identical {
            return Ok(source_offset);
        }
        let holds = |run: &Run| run.source_offset != SEED && run.source_offset <= source_offset;
        let at = self.rposition(holds).ok_or_else(|| self.too_old(|run| run.source_offset))?;
        let run = self.run(at).ok_or(Unmapped::Unknown)?;
        // Behind the run's last record comes the next run's first.
        let target = run.target_offset + (source_offset - run.source_offset);
        Ok(target.min(self.end_of(at)))
    }

    /// The source's position for a position on the target.
    pub fn source_of(&self, target_offset: i64) -> Result<i64, Unmapped> {
        let mirrored_to = self.end_of(self.len().saturating_sub(1));
        if self.mode == OffsetMode::Identical {
            let mirrored_to = self.checkpoint.source_offset;
            return match target_offset <= mirrored_to {
                true => Ok(target_offset),
                false => Err(Unmapped::NotMirrored { mirrored_to }),
            };
        }
        if target_offset > mirrored_to {
            return Err(Unmapped::NotMirrored { mirrored_to });
        }
        if target_offset == mirrored_to {
            return Ok(self.checkpoint.source_offset);
        }
        let at = self.rposition(|run| run.target_offset <= target_offset);
        let run = at.and_then(|at| self.run(at)).ok_or_else(|| self.too_old(|run| run.target_offset))?;
        Ok(run.source_offset + (target_offset - run.target_offset))
    }

    /// The target offset behind the last mirrored record of the run.
    fn end_of(&self, at: usize) -> i64 {
        let Some(run) = self.run(at) else { return 0 };
        let settled = run.target_offset + (self.checkpoint.number - run.number).max(0);
        self.run(at + 1).map_or(settled, |next| settled.min(next.target_offset))
    }

    fn too_old(&self, offset: impl Fn(&Run) -> i64) -> Unmapped {
        self.run(0).map_or(Unmapped::Unknown, |run| Unmapped::TooOld { known_from: offset(run) })
    }

    fn len(&self) -> usize {
        self.runs.iter().map(|runs| runs.len()).sum()
    }

    fn run(&self, mut at: usize) -> Option<&Run> {
        for runs in self.runs {
            match runs.get(at) {
                Some(run) => return Some(run),
                None => at -= runs.len(),
            }
        }
        None
    }

    fn rposition(&self, holds: impl Fn(&Run) -> bool) -> Option<usize> {
        let mut before = self.len();
        self.runs.iter().rev().find_map(|runs| {
            before -= runs.len();
            runs.iter().rposition(&holds).map(|at| before + at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64, source_offset: i64) -> Run {
        Run { number, source_offset, target_offset: number - 10, source_epoch: 0 }
    }

    fn map<'a>(older: &'a [Run], newer: &'a [Run]) -> OffsetMap<'a> {
        let checkpoint = Checkpoint::at(45, 71);
        let (oldest, older) = older.split_at(older.len() / 2);
        OffsetMap { mode: OffsetMode::Append, runs: [oldest, older, newer], checkpoint }
    }

    #[test]
    fn positions_are_those_of_the_same_record_or_the_next_one() {
        // Source 10..19 at 0..9, 25..34 at 10..19, 50..59 at 20..29, 65..69 at 30..34; 70 is a marker.
        let runs = [run(10, 10), run(20, 25), run(30, 50), run(40, 65)];
        for cut in 0..=runs.len() {
            let (older, newer) = runs.split_at(cut);
            let map = map(older, newer);
            for (source, target) in [
                (10, 0),
                (19, 9),
                (20, 10),
                (24, 10),
                (25, 10),
                (34, 19),
                (40, 20),
                (65, 30),
                (69, 34),
                (71, 35),
            ] {
                assert_eq!(map.target_of(source), Ok(target), "source {source}");
            }
            for (target, source) in [(0, 10), (9, 19), (10, 25), (19, 34), (20, 50), (34, 69), (35, 71)] {
                assert_eq!(map.source_of(target), Ok(source), "target {target}");
            }
            assert_eq!(map.target_of(72), Err(Unmapped::NotMirrored { mirrored_to: 71 }));
            assert_eq!(map.source_of(36), Err(Unmapped::NotMirrored { mirrored_to: 35 }));
            assert_eq!(map.target_of(9), Err(Unmapped::TooOld { known_from: 10 }));
        }
    }

    #[test]
    fn identical_offsets_need_no_map_but_a_bound() {
        let map = OffsetMap { mode: OffsetMode::Identical, ..map(&[], &[]) };
        assert_eq!((map.target_of(71), map.source_of(71)), (Ok(71), Ok(71)));
        assert!(map.target_of(72).is_err() && map.source_of(72).is_err());
    }
}
