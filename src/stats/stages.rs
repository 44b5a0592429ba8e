//! A batch's way in stages, and how long each takes.

use super::{Latency, Percentiles};
use serde::Serialize;

/// The stages, in order, and the whole way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the send into the source to the mirror's sight of the batch's header.
    Fetched,
    /// To the last byte's going into the socket to the target.
    Sent,
    /// To the target's acknowledgement.
    Acked,
    /// To the moment that a consumer of the target has it; nothing if it had it before.
    Visible,
    /// From the intended send to the consumer.
    Total,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Fetched, Self::Sent, Self::Acked, Self::Visible, Self::Total];

    pub fn words(self) -> &'static str {
        match self {
            Self::Fetched => "append to fetched",
            Self::Sent => "fetched to sent",
            Self::Acked => "sent to acknowledged",
            Self::Visible => "acknowledged to visible",
            Self::Total => "intended send to visible",
        }
    }

    /// The tag in histogram logs; viewers show what has none, unless told otherwise.
    pub fn tag(self) -> Option<&'static str> {
        match self {
            Self::Fetched => Some("fetched"),
            Self::Sent => Some("sent"),
            Self::Acked => Some("acked"),
            Self::Visible => Some("visible"),
            Self::Total => None,
        }
    }

    /// The key in JSON.
    pub fn key(self) -> &'static str {
        self.tag().unwrap_or("total")
    }
}

/// When one batch was where, in µs of one steady clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    pub appended_us: u64,
    pub fetched_us: u64,
    pub sent_us: u64,
    pub acked_us: u64,
    pub visible_us: u64,
}

/// A histogram for each stage.
#[derive(Clone, Debug, Default)]
pub struct Stages([Latency; 5]);

impl Stages {
    pub fn of(&self, stage: Stage) -> &Latency {
        &self.0[stage as usize]
    }

    /// Counts a batch in all stages but the total, which is known of batches that nobody timed on the way.
    pub fn record(&mut self, passage: &Passage) {
        let Passage { appended_us, fetched_us, sent_us, acked_us, visible_us } = *passage;
        self.0[Stage::Fetched as usize].record_us(fetched_us.saturating_sub(appended_us));
        self.0[Stage::Sent as usize].record_us(sent_us.saturating_sub(fetched_us));
        self.0[Stage::Acked as usize].record_us(acked_us.saturating_sub(sent_us));
        self.0[Stage::Visible as usize].record_us(visible_us.saturating_sub(acked_us));
    }

    pub fn record_total_us(&mut self, duration_us: u64) {
        self.0[Stage::Total as usize].record_us(duration_us);
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// What is printed of each stage of which anything is known.
    pub fn figures(&self) -> Vec<StageFigures> {
        let known = Stage::ALL.into_iter().filter(|stage| self.of(*stage).count() > 0);
        known
            .map(|stage| StageFigures {
                stage: stage.key(),
                words: stage.words(),
                percentiles: self.of(stage).percentiles(),
            })
            .collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageFigures {
    pub stage: &'static str,
    /// From where to where.
    pub words: &'static str,
    #[serde(flatten)]
    pub percentiles: Percentiles,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_takes_its_part_of_the_way() {
        let mut stages = Stages::default();
        let passage =
            Passage { appended_us: 100, fetched_us: 300, sent_us: 350, acked_us: 1350, visible_us: 1300 };
        stages.record(&passage);
        stages.record_total_us(1250);
        let mut all = Stages::default();
        all.merge(&stages);
        let times = Stage::ALL.map(|stage| all.of(stage).max_us());
        // It was seen before the acknowledgement came back.
        assert_eq!(times, [200, 50, 1000, 0, 1250]);
        let keys: Vec<_> = all.figures().iter().map(|figures| figures.stage).collect();
        assert_eq!(keys, ["fetched", "sent", "acked", "visible", "total"]);
        assert!(Stages::default().figures().is_empty());
    }
}
