//! What one run looks like, drawn from its seed: sizes, timings, and which faults are on.
//!
//! Each run enables a random subset of the faults (swarm testing): a fault that is always on hides what others would show.

use crate::config::{ExactlyOnce, LargeGaps, Merge, Mover, OnLoss, Oversize};
use crate::limits::RUNS_AHEAD_MAX;
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
    /// The source's log cleaner deletes records, and batches of which nothing is left.
    SourceCompacts,
    /// Some of a request's control records are refused, and what became of the others is not told (answers are merged).
    FillErrors,
    /// Control records are appended, and answered with an error or not at all.
    FilledButError,
    /// A control record is appended twice. Where it stands in a record's place the lane must stop before any record is out of
    /// its place.
    FilledTwice,
    /// The right to append control records is taken away, for good: lanes go on by transactions, or stop at their next gap.
    FillDenied,
    /// Somebody pauses and resumes lanes, and changes the limit.
    LanesPaused,
    /// A follower of the source stays behind its leader, and is read there.
    FollowerLags,
}

const FAULTS: [Fault; 28] = [
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
    Fault::SourceCompacts,
    Fault::FillErrors,
    Fault::FilledButError,
    Fault::FilledTwice,
    Fault::FillDenied,
];

/// Faults after which a run has little left to show.
const RARE: [Fault; 4] =
    [Fault::TargetTruncation, Fault::SourceRecreated, Fault::FilledTwice, Fault::FillDenied];

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
    /// First offset of the source's logs; near 2^31 in some runs, where sequences wrap. Where the same offsets are wanted on the
    /// target, another: that many are seeded there.
    pub(super) first_offset: i64,
    pub(super) seeded_offset: i64,
    /// Share of the topics (in percent) whose offsets are to be the same on the target.
    pub(super) identical_percent: u64,
    /// They are demanded, whatever the target allows.
    pub(super) demands_identical: bool,
    pub(super) seed_offsets_max: i64,
    pub(super) gap_offsets_max: i64,
    pub(super) gap_transactions_max: i64,
    pub(super) large_gaps: LargeGaps,
    pub(super) runs_ahead_max: usize,
    pub(super) bytes_per_second: Option<u64>,
    /// What lanes of even numbers may bring in a second; and whether those of odd ones go first.
    pub(super) limit_bytes_per_second: Option<u64>,
    pub(super) has_first: bool,
    /// The mirror is in one rack with some of the source's brokers.
    pub(super) reads_nearby: bool,
    /// Why control finds that gaps cannot be filled on the target, if so.
    pub(super) cannot_fill: Option<String>,
    /// The target's brokers turn out not to know WriteTxnMarkers.
    pub(super) hides_fills: bool,
    /// The target's brokers do not know DescribeProducers.
    pub(super) hides_producers: bool,
    /// The target does not let the mirror delete records.
    pub(super) denies_deletes: bool,
    pub(super) on_loss: OnLoss,
    pub(super) merge: Merge,
    /// The size of batches that the target's topics take, if that is less than what comes; and what becomes of larger ones.
    pub(super) target_batch_bytes_max: Option<usize>,
    pub(super) oversize: Oversize,
    /// Control may change that.
    pub(super) makes_room: bool,
    /// What cannot be mirrored goes to the dead letters.
    pub(super) has_dead_letters: bool,
    /// Share of source batches whose checksum is wrong there, in percent.
    pub(super) damaged_percent: u64,
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
    /// Share of source batches that belong to transactions, in percent; and of those that are markers of empty ones.
    pub(super) transactions_percent: u64,
    pub(super) markers_percent: u64,
    /// Share of source batches that have a gap before them, in percent, and how many offsets it has at most.
    pub(super) gaps_percent: u64,
    pub(super) gap_max: i64,
    /// Share of source batches that compaction has made holes in before the mirror sees them, in percent.
    pub(super) holes_percent: u64,
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
            seeded_offset: random.pick(&[0, 0, 7, 1_000, 1_001, 3_000]),
            identical_percent: random.pick(&[0, 100, 100, 50]),
            demands_identical: false,
            seed_offsets_max: random.pick(&[2_000, 1 << 40, 1 << 40]),
            gap_offsets_max: random.pick(&[400, 1_000_000, 1_000_000, 1_000_000]),
            gap_transactions_max: 0,
            large_gaps: LargeGaps::Halt,
            runs_ahead_max: RUNS_AHEAD_MAX,
            bytes_per_second: None,
            limit_bytes_per_second: None,
            has_first: false,
            reads_nearby: false,
            cannot_fill: random.percent(4).then(|| "of the plan".to_owned()),
            hides_fills: random.percent(6),
            hides_producers: random.percent(5),
            denies_deletes: random.percent(5),
            on_loss: random.pick(&[OnLoss::RecordAndContinue, OnLoss::RecordAndContinue, OnLoss::Halt]),
            merge: Merge::Auto,
            target_batch_bytes_max: None,
            oversize: Oversize::Split,
            makes_room: false,
            has_dead_letters: false,
            damaged_percent: 0,
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
            transactions_percent: random.pick(&[0, 30, 80]),
            markers_percent: random.pick(&[0, 0, 10, 30]),
            gaps_percent: random.pick(&[0, 5, 20]),
            gap_max: 9,
            holes_percent: random.pick(&[0, 0, 10, 40]),
            fault_phase_ms,
            faults: Vec::new(),
        };
        plan.zombie_bound_ms = plan.request_timeout_ms * random.between(4, 8);
        if plan.weather.piece_bytes_max < 100 {
            // Tiny pieces make many steps; few batches keep the run short.
            plan.batches = plan.batches.min(12);
            plan.seeded_offset = plan.seeded_offset.min(60);
        } else if plan.weather.delay_us <= 500 && plan.weather.window_bytes > 512 {
            // A request for thousands of control records takes its time, and must not take longer than one may.
            plan.gap_max = random.pick(&[9, 60, 3_000]);
            if random.percent(8) {
                plan.seeded_offset = 300_000;
            }
        } else {
            // Up to there control records do what seeds do above.
            plan.seeded_offset = random.pick(&[0, 7, 60, 1_001, 3_000]);
        }
        plan.exactly_once = random.pick(&[
            ExactlyOnce::Auto,
            ExactlyOnce::Auto,
            ExactlyOnce::Transactions,
            ExactlyOnce::Sequences,
        ]);
        plan.gap_transactions_max = random.pick(&[0, 20, 20, 1_000_000]);
        plan.large_gaps = random.pick(&[LargeGaps::Halt, LargeGaps::AbortedRecords]);
        plan.runs_ahead_max = random.pick(&[1, 4, RUNS_AHEAD_MAX]);
        plan.merge = random.pick(&[Merge::Auto, Merge::Always, Merge::Never]);
        plan.demands_identical = plan.cannot_fill.is_some() && random.percent(50);
        let calm = random.percent(5);
        let share = random.pick(&[5, 15, 40]);
        for fault in FAULTS {
            if !calm && random.percent(if RARE.contains(&fault) { 4 } else { share }) {
                plan.faults.push((fault, fault_phase_ms / random.between(1, 12) + 1));
            }
        }
        // Drawn apart, so that whatever else a seed means stays as it was.
        let mut apart = Random::new(seed, "pauses");
        if !calm && apart.percent(20) {
            plan.faults.push((Fault::LanesPaused, fault_phase_ms / apart.between(1, 12) + 1));
        }
        let mut apart = Random::new(seed, "racks");
        plan.reads_nearby = plan.source_nodes > 1 && apart.percent(40);
        if !calm && plan.reads_nearby && apart.percent(70) {
            plan.faults.push((Fault::FollowerLags, fault_phase_ms / apart.between(1, 12) + 1));
        }
        let mut apart = Random::new(seed, "order");
        plan.limit_bytes_per_second = apart.pick(&[None, None, None, Some(20_000)]);
        plan.has_first = apart.percent(25);
        plan.draw_misfits(&mut Random::new(seed, "misfits"));
        if plan.has(Fault::TargetTruncation) {
            // Where a commit was lost and something else stands in its place, only the instance that sees it happen can tell.
            plan.exactly_once = ExactlyOnce::Sequences;
        }
        if plan.has(Fault::TargetTruncation) && plan.hides_producers {
            // A batch that was under way may come to stand out of place behind the cut. Where that is deleted again, nothing shows
            // it but the broker's memory of us, by which it refuses what is next until it forgets.
            plan.faults.retain(|(fault, _)| *fault != Fault::TargetDeletes);
        }
        if plan.has(Fault::TargetDeletes) {
            // Who empties the log of a partition that has stopped takes away what tells the next instance why.
            plan.faults.retain(|(fault, _)| *fault != Fault::FilledTwice);
        }
        plan
    }

    /// What cannot be mirrored as it is. Drawn apart, like the pauses.
    fn draw_misfits(&mut self, apart: &mut Random) {
        if !apart.percent(25) {
            return;
        }
        self.has_dead_letters = true;
        self.damaged_percent = apart.pick(&[0, 3, 15, 60]);
        self.target_batch_bytes_max = apart.pick(&[None, Some(120), Some(300), Some(700)]);
        self.oversize = apart.pick(&[Oversize::Split, Oversize::Raise]);
        self.makes_room = apart.percent(50);
        if self.target_batch_bytes_max.is_some() {
            // What the mirror fills up with has to fit, too.
            self.seeded_offset = self.seeded_offset.min(60);
            self.large_gaps = LargeGaps::Halt;
        }
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
        plan.seeded_offset = 0;
        plan.identical_percent = 0;
        plan.seed_offsets_max = 1 << 40;
        plan.gap_offsets_max = 1_000_000;
        (plan.gap_transactions_max, plan.large_gaps) = (1_000, LargeGaps::Halt);
        plan.runs_ahead_max = RUNS_AHEAD_MAX;
        (plan.limit_bytes_per_second, plan.has_first, plan.reads_nearby) = (None, false, false);
        plan.cannot_fill = None;
        (plan.hides_fills, plan.hides_producers, plan.denies_deletes) = (false, false, false);
        plan.on_loss = OnLoss::RecordAndContinue;
        plan.merge = Merge::Auto;
        plan.batches = 30;
        plan.batch_gap_ms = 5;
        plan.backlog_percent = 50;
        plan.ages = Ages::Fresh;
        plan.exactly_once = ExactlyOnce::Sequences;
        plan.expiration_ms = 86_400_000;
        plan.expiration_known = true;
        plan.transactions_percent = 0;
        plan.markers_percent = 0;
        plan.gaps_percent = 0;
        plan.gap_max = 9;
        plan.holes_percent = 0;
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

    /// Whether control records may be under way, which no sequence protects: only the time keeps them out.
    pub(super) fn fills(&self) -> bool {
        self.identical_percent > 0
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
        for fault in FAULTS.into_iter().chain([Fault::LanesPaused, Fault::FollowerLags]) {
            assert!((0..500).any(|seed| Plan::of_seed(seed).has(fault)), "{fault:?} is never on");
        }
    }
}
