//! What one run looks like, drawn from its seed: sizes, timings, and which faults are on.
//!
//! Each run enables a random subset of the faults (swarm testing): a fault that is always on hides what others would show.

use crate::config::{ExactlyOnce, Mover};
use crate::sim::network::Weather;
use crate::sim::random::Random;
use crate::sim::traffic::Ages;

/// Something that goes wrong now and then. The comment says what a correct mirror makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A connection breaks; what was under way may arrive later, up to the zombie bound.
    Reset,
    /// A connection's answers vanish, or its requests do.
    HalfOpen,
    /// A connection stands still for a while.
    Stall,
    /// A broker goes away, its leaders move, and it comes back.
    BrokerDown,
    /// A broker goes away and comes back as it was, but for what its producer snapshots forget.
    BrokerRestart,
    SourceLeaderMoves,
    TargetLeaderMoves,
    /// A deposed leader still answers DescribeProducers with what it knew (rule L).
    DeposedAnswers,
    /// The target's high watermark stands still; what is above it is lost when the leader moves (rule H).
    LaggingWatermark,
    /// The target forgets producers whose records are old (rule G).
    ProducersExpire,
    /// The target's log is emptied by DeleteRecords, and with the next restart the producer's state is gone (rule U).
    TargetDeletes,
    /// Produce is refused with an error that says nothing about whether the batch was appended.
    ProduceErrors,
    /// Produce appends, and answers with an error or not at all.
    AppendedButError,
    FetchErrors,
    Throttle,
    /// The source deletes its oldest records, whether mirrored or not; what was not is reported as lost.
    SourceRetention,
    /// Metadata that control hands out is older than it should be.
    StaleMetadata,
    /// Instance killed by -9 at any step; a new incarnation starts.
    Kill,
    /// A second instance of the link starts while the first runs.
    SecondInstance,
    /// Instance stopped in good order; a new incarnation starts.
    CleanStop,
    /// Process suspended for a while, its timers with it.
    Pause,
    /// The target loses acknowledged records (unclean election).
    TargetTruncation,
    /// The source topic is deleted and created again: the lane must stop.
    SourceRecreated,
}

const FAULTS: [Fault; 23] = [
    Fault::Reset,
    Fault::HalfOpen,
    Fault::Stall,
    Fault::BrokerDown,
    Fault::BrokerRestart,
    Fault::SourceLeaderMoves,
    Fault::TargetLeaderMoves,
    Fault::DeposedAnswers,
    Fault::LaggingWatermark,
    Fault::ProducersExpire,
    Fault::TargetDeletes,
    Fault::ProduceErrors,
    Fault::AppendedButError,
    Fault::FetchErrors,
    Fault::Throttle,
    Fault::SourceRetention,
    Fault::StaleMetadata,
    Fault::Kill,
    Fault::SecondInstance,
    Fault::CleanStop,
    Fault::Pause,
    Fault::TargetTruncation,
    Fault::SourceRecreated,
];

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) partitions: i32,
    pub(super) source_nodes: i32,
    pub(super) target_nodes: i32,
    pub(super) shards: usize,
    pub(super) mover: Mover,
    pub(super) buffer_bytes: usize,
    pub(super) fetch_bytes_max: usize,
    pub(super) connections_per_broker: usize,
    pub(super) request_timeout_ms: u64,
    pub(super) zombie_bound_ms: u64,
    pub(super) weather: Weather,
    /// First offset of the source's logs; near 2^31 in some runs, where sequences wrap.
    pub(super) first_offset: i64,
    /// Batches written to each source partition, and the typical time between two of them.
    pub(super) batches: usize,
    pub(super) batch_gap_ms: u64,
    /// Share of the batches (in percent) that are there before the first instance starts.
    pub(super) backlog_percent: u64,
    pub(super) ages: Ages,
    pub(super) exactly_once: ExactlyOnce,
    /// The target's `producer.id.expiration.ms`.
    pub(super) expiration_ms: i64,
    /// Whether the mirror was able to read it.
    pub(super) expiration_known: bool,
    /// Share of source batches that are transaction markers, in percent.
    pub(super) markers_percent: u64,
    /// Some source batch has holes: its lane stops there.
    pub(super) holes: bool,
    /// How long faults go on. Then everything heals and the mirror has to catch up.
    pub(super) fault_phase_ms: u64,
    /// Faults of this run, with the typical time between two of a kind.
    pub(super) faults: Vec<(Fault, u64)>,
}

impl Plan {
    pub(super) fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed, "plan");
        let fault_phase_ms = random.between(10_000, 40_000);
        let mut plan = Self {
            partitions: random.between(1, 3) as i32,
            source_nodes: random.between(1, 3) as i32,
            target_nodes: random.between(1, 3) as i32,
            shards: random.between(1, 2) as usize,
            mover: random.pick(&[Mover::Copy, Mover::Splice, Mover::Auto]),
            buffer_bytes: random.pick(&[16 << 10, 64 << 10, 1 << 20]),
            fetch_bytes_max: random.pick(&[1 << 10, 16 << 10, 1 << 20]),
            connections_per_broker: random.between(1, 2) as usize,
            request_timeout_ms: random.between(500, 2_000),
            zombie_bound_ms: 0,
            weather: Weather {
                delay_us: random.pick(&[50, 500, 5_000]),
                piece_bytes_max: random.pick(&[3, 100, 1_000, 1 << 20]),
                window_bytes: random.pick(&[512, 4_096, 1 << 16]),
                waits_for_low_water: random.percent(50),
            },
            first_offset: random.pick(&[0, 0, 1_000, (1 << 31) - 40, (1 << 32) - 40]),
            batches: random.between(5, 60) as usize,
            batch_gap_ms: random.between(1, 400),
            backlog_percent: random.pick(&[0, 50, 100]),
            ages: random.pick(&[
                Ages::Fresh,
                Ages::Fresh,
                Ages::ThreeDays,
                Ages::AroundExpiration,
                Ages::Mixed,
            ]),
            exactly_once: ExactlyOnce::Sequences,
            expiration_ms: random.pick(&[86_400_000, 86_400_000, i64::from(i32::MAX), 60_000]),
            expiration_known: random.percent(85),
            markers_percent: random.pick(&[0, 0, 10, 30]),
            holes: random.percent(4),
            fault_phase_ms,
            faults: Vec::new(),
        };
        plan.zombie_bound_ms = plan.request_timeout_ms * random.between(4, 8);
        if plan.weather.piece_bytes_max < 100 {
            // Tiny pieces make many steps; few batches keep the run short.
            plan.batches = plan.batches.min(12);
        }
        plan.exactly_once = random.pick(&[
            ExactlyOnce::Auto,
            ExactlyOnce::Auto,
            ExactlyOnce::Transactions,
            ExactlyOnce::Sequences,
        ]);
        let calm = random.percent(5);
        let share = random.pick(&[5, 15, 40]);
        for fault in FAULTS {
            let rare = matches!(fault, Fault::TargetTruncation | Fault::SourceRecreated);
            if !calm && random.percent(if rare { 4 } else { share }) {
                plan.faults.push((fault, fault_phase_ms / random.between(1, 12) + 1));
            }
        }
        if plan.has(Fault::TargetTruncation) {
            // Where a commit was lost and something else stands in its place, only the instance that sees it happen can tell.
            plan.exactly_once = ExactlyOnce::Sequences;
        }
        plan
    }

    /// A small world in which nothing goes wrong by itself.
    #[cfg(test)]
    pub(super) fn quiet() -> Self {
        let mut plan = Self::of_seed(0);
        plan.partitions = 2;
        plan.source_nodes = 2;
        plan.target_nodes = 2;
        plan.shards = 1;
        plan.mover = Mover::Copy;
        plan.buffer_bytes = 1 << 20;
        plan.fetch_bytes_max = 1 << 20;
        plan.request_timeout_ms = 1_000;
        plan.zombie_bound_ms = 4_000;
        plan.weather = Weather {
            delay_us: 200,
            piece_bytes_max: 1 << 20,
            window_bytes: 1 << 16,
            waits_for_low_water: false,
        };
        plan.first_offset = 0;
        plan.batches = 30;
        plan.batch_gap_ms = 5;
        plan.backlog_percent = 50;
        plan.ages = Ages::Fresh;
        plan.exactly_once = ExactlyOnce::Sequences;
        plan.expiration_ms = 86_400_000;
        plan.expiration_known = true;
        plan.markers_percent = 0;
        plan.holes = false;
        plan.fault_phase_ms = 2_000;
        plan.faults.clear();
        plan
    }

    /// Whether the target's producer state can be relied on for every batch, come what may.
    pub(super) fn is_guarded(&self) -> bool {
        self.ages == Ages::Fresh
            && self.expiration_known
            && self.expiration_ms >= 86_400_000
            // Numbers are given to other records after a loss; what carries the old ones must be gone by then.
            && !self.has(Fault::SourceRetention)
            && !self.has(Fault::TargetDeletes)
            && !self.has(Fault::TargetTruncation)
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|&(kind, _)| kind == fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_repeat_and_every_fault_turns_up() {
        assert_eq!(format!("{:?}", Plan::of_seed(5)), format!("{:?}", Plan::of_seed(5)));
        for fault in FAULTS {
            assert!((0..500).any(|seed| Plan::of_seed(seed).has(fault)), "{fault:?} is never on");
        }
    }
}
