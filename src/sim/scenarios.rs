//! Stories of one small link, told step by step: the simulator's world without its dice.

use crate::broker::log::Log;
use crate::broker::{Injection, Marker};
use crate::config::{ExactlyOnce, LargeGaps, Merge};
use crate::limits::LEDGER_RUNS_MAX;
use crate::shard::{LaneId, OffsetMode, StopKind};
use crate::sim::plan::Plan;
use crate::sim::traffic::Ages;
use crate::sim::world::World;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;

mod letters;
mod nearby;
mod oversize;

/// A world in which nothing goes wrong by itself, with one instance running.
fn world(change: impl FnOnce(&mut Plan)) -> World {
    let mut plan = Plan::quiet();
    change(&mut plan);
    let mut world = World::new(7, plan);
    world.start_instance();
    world
}

/// The same, of a link that keeps offsets identical, with one partition of a few batches.
fn twin(change: impl FnOnce(&mut Plan)) -> World {
    world(|plan| {
        plan.identical_percent = 100;
        plan.partitions = 1;
        plan.batches = 8;
        plan.batch_gap_ms = 40;
        change(plan);
    })
}

impl World {
    /// The next source batch lies behind a gap.
    fn leave_gap(&mut self, offsets: i64) {
        self.reference.partitions[0].log_end += offsets;
    }

    /// The target of the first partition.
    fn log(&self) -> &Log {
        &self.target.cluster.partition("orders", 0).unwrap().log
    }

    /// Where the first partition's log ends on the source.
    fn source_end(&self) -> i64 {
        self.reference.partitions[0].log_end
    }

    /// Runs until something is true, a tenth of a millisecond at a time.
    fn run_until_true(&mut self, what: &str, is_true: impl Fn(&Self) -> bool) {
        for _ in 0..300_000 {
            if is_true(self) {
                return;
            }
            let until_us = self.now_us + 100;
            self.run_until(until_us).unwrap_or_else(|broken| panic!("{broken}"));
        }
        panic!("never: {what}");
    }

    fn stop_of(&self, instance: usize) -> Option<StopKind> {
        self.instances[instance].stopped.get(&LaneId(0)).copied()
    }

    fn refuse_fills(&mut self, error: ResponseError, applied: bool, after: u32, times: u32) {
        self.target.cluster.inject(Injection {
            api: ApiKey::WriteTxnMarkers,
            node: None,
            topic: Some("orders".to_owned()),
            partition: Some(0),
            error,
            applied,
            after,
            times,
        });
    }

    fn run_ms(&mut self, ms: u64) {
        let until_us = self.now_us + ms * 1000;
        self.run_until(until_us).unwrap_or_else(|broken| panic!("{broken}"));
    }

    fn ends_well(&mut self) {
        self.heal();
        self.catch_up().unwrap_or_else(|broken| panic!("{broken}"));
    }

    fn mirrored(&self) -> usize {
        self.checks.kinds.iter().sum::<u64>() as usize
    }
}

#[test]
fn what_is_written_arrives() {
    let mut world = world(|_| {});
    world.run_ms(2_000);
    assert_eq!(world.mirrored(), 60, "30 batches for each of 2 partitions");
    world.ends_well();
}

#[test]
fn what_has_piled_up_travels_together() {
    let mut world = world(|plan| {
        plan.merge = Merge::Always;
        plan.backlog_percent = 100;
    });
    world.ends_well();
    let batches = world.mirrored();
    assert!(batches < 60, "60 batches became {batches}");
}

#[test]
fn a_batch_that_is_too_large_for_the_target_is_split() {
    let mut world = world(|plan| plan.backlog_percent = 100);
    let batches = &world.reference.partitions[0].batches;
    let of_several = batches.iter().position(|batch| batch.versions[0].records.len() > 1);
    world.target.cluster.inject(Injection {
        api: ApiKey::Produce,
        node: None,
        topic: Some("orders".to_owned()),
        partition: Some(0),
        error: ResponseError::MessageTooLarge,
        applied: false,
        after: of_several.unwrap_or_default() as u32,
        times: 1,
    });
    world.run_ms(1_000);
    world.ends_well();
    assert_eq!(world.stop_of(0), None);
    assert!(world.mirrored() > 60, "60 batches became {}", world.mirrored());
}

#[test]
fn both_leaders_move_in_the_middle() {
    let mut world = world(|plan| plan.batch_gap_ms = 40);
    world.run_ms(300);
    let before = world.mirrored();
    world.source.cluster.move_leader("orders", 0, 1);
    world.target.cluster.move_leader("orders", 0, 1);
    world.run_ms(1_500);
    assert!(before < 60 && world.mirrored() > before);
    world.ends_well();
}

#[test]
fn killed_and_started_again_it_goes_on_where_it_was() {
    let mut world = world(|plan| plan.batch_gap_ms = 40);
    for instance in 0..5 {
        world.run_ms(170);
        world.kill(instance);
        world.start_instance();
    }
    world.ends_well();
    assert_eq!(world.mirrored(), 60);
}

#[test]
fn old_records_are_mirrored_once_though_the_target_forgets_their_producer() {
    let mut world = world(|plan| {
        plan.ages = Ages::ThreeDays;
        plan.batch_gap_ms = 40;
    });
    for _ in 0..20 {
        world.run_ms(60);
        let now = world.target.now(world.now());
        world.target.cluster.expire_producers(now);
    }
    world.target.cluster.restart_node(world.now(), 0);
    world.ends_well();
    assert_eq!(world.mirrored(), 60);
}

#[test]
fn of_two_instances_of_a_link_the_second_goes_on() {
    let mut world = world(|plan| plan.batch_gap_ms = 40);
    world.run_ms(200);
    world.start_instance();
    world.run_ms(3_000);
    assert!(!world.instances[0].is_running(), "the first is locked out");
    assert!(world.instances[1].is_running());
    world.ends_well();
    assert_eq!(world.mirrored(), 60);
}

#[test]
fn a_clean_stop_leaves_nothing_to_wait_for() {
    let mut world = world(|plan| plan.ages = Ages::ThreeDays);
    world.run_ms(100);
    world.stop_instance(0);
    world.run_ms(1_000);
    assert!(!world.instances[0].is_running());
    world.ends_well();
    assert_eq!(world.mirrored(), 60);
}

#[test]
fn offsets_stay_what_they_are_through_transactions_gaps_and_holes() {
    let mut world = twin(|plan| {
        plan.partitions = 3;
        plan.batches = 60;
        plan.batch_gap_ms = 5;
        plan.transactions_percent = 60;
        plan.gaps_percent = 20;
        plan.gap_max = 3_000;
        plan.holes_percent = 30;
    });
    world.ends_well();
    for source in &world.reference.partitions {
        let target = &world.target.cluster.partition(&source.topic, source.partition).unwrap().log;
        assert_eq!(target.log_end_offset(), source.log_end);
    }
    let [control, seeds, passed, rebuilt] = world.checks.kinds;
    assert!(control > 3_000 && passed > 50 && rebuilt > 20, "{:?}", world.checks.kinds);
    assert_eq!(seeds, 0, "the source begins at 0");
}

#[test]
fn an_open_transaction_holds_its_partition_back() {
    let mut world = twin(|plan| {
        plan.transactions_percent = 100;
        plan.batches = 1;
    });
    // A plain batch follows, and the end of the transaction much later.
    world.reference.partitions[0].unwritten = 1;
    world.plan.transactions_percent = 0;
    world.plan.batch_gap_ms = 1_000_000;
    world.run_ms(3_000);
    assert_eq!(world.reference.partitions[0].open.len(), 1);
    assert_eq!(world.log().log_end_offset(), 0);
    world.write_source(0);
    world.ends_well();
    assert_eq!(world.log().log_end_offset(), world.source_end());
}

#[test]
fn a_log_that_begins_late_is_seeded_and_trimmed_though_the_mirror_is_killed_meanwhile() {
    let mut world = twin(|plan| {
        plan.seeded_offset = 450_000;
        plan.backlog_percent = 100;
        plan.zombie_bound_ms = 4_000;
    });
    for (instance, end) in [(0, 200_000), (1, 400_000)] {
        world.run_until_true("a part of the seeds is there", |world| world.log().log_end_offset() == end);
        world.kill(instance);
        world.start_instance();
    }
    world.ends_well();
    assert_eq!(world.log().log_start_offset(), 450_000);
    assert_eq!(world.checks.kinds[1], 3, "batches of seeds, none twice");
}

#[test]
fn what_the_source_deletes_is_deleted_on_the_target() {
    let mut world = twin(|plan| plan.backlog_percent = 100);
    world.run_ms(1_000);
    let before = world.reference.partitions[0].batches[4].base_offset + 1;
    world.source.cluster.delete_records("orders", 0, before);
    world.reference.partitions[0].log_start = before;
    world.run_ms(2_000);
    assert_eq!(world.log().log_start_offset(), before, "within a batch, too");
    world.ends_well();
}

#[test]
fn a_target_that_deletes_nothing_for_the_mirror_keeps_more() {
    let mut world = twin(|plan| {
        plan.seeded_offset = 3_000;
        plan.denies_deletes = true;
    });
    world.ends_well();
    assert_eq!((world.log().log_start_offset(), world.stop_of(0)), (0, None));
    assert_eq!(world.log().log_end_offset(), world.source_end());
}

#[test]
fn killed_within_a_gap_it_waits_for_what_may_be_under_way() {
    let mut world = twin(|_| {});
    world.leave_gap(3_000);
    world.run_until_true("a part of the gap is filled", |world| world.log().log_end_offset() >= 2_000);
    let end = world.log().log_end_offset();
    world.kill(0);
    world.start_instance();
    world.run_ms(world.plan.zombie_bound_ms - 100);
    assert_eq!(world.log().log_end_offset(), end, "nothing is filled while an earlier request may come");
    world.ends_well();
    assert_eq!(world.log().log_end_offset(), world.source_end());
}

#[test]
fn killed_within_a_batch_that_is_rebuilt_it_goes_on_between_two_records() {
    let mut world = twin(|plan| {
        plan.holes_percent = 100;
        plan.batches = 30;
        plan.batch_gap_ms = 500;
    });
    let is_within = |world: &World| {
        let next = world.checks.twin(0).next_record();
        let records = &world.reference.partitions[0].records;
        next > 0 && next < records.len() && records[next - 1].batch == records[next].batch
    };
    for instance in 0..3 {
        world.run_until_true("a part of a batch is there", is_within);
        world.kill(instance);
        world.start_instance();
    }
    world.ends_well();
}

/// A request that got lost is as good as one that is still under way.
#[test]
fn lost_control_records_are_not_written_again_before_they_cannot_come_any_more() {
    let mut world = twin(|plan| plan.batch_gap_ms = 1_000);
    world.run_ms(500);
    let (end, records) = (world.log().log_end_offset(), world.reference.partitions[0].records.len());
    world.leave_gap(100);
    for connection in &mut world.connections {
        connection.up.severed = connection.side == crate::shard::Side::Target;
    }
    world.run_until_true("the gap is there", |world| world.reference.partitions[0].records.len() > records);
    world.run_ms(world.plan.request_timeout_ms + world.plan.zombie_bound_ms - 500);
    assert_eq!(world.log().log_end_offset(), end);
    world.run_ms(1_000);
    assert!(world.log().log_end_offset() > end + 100);
    world.ends_well();
}

#[test]
fn of_control_records_that_were_refused_in_part_the_rest_is_written() {
    let mut world = twin(|_| {});
    world.leave_gap(500);
    world.refuse_fills(ResponseError::NotEnoughReplicas, false, 100, 50);
    world.refuse_fills(ResponseError::RequestTimedOut, true, 0, 30);
    world.ends_well();
    assert_eq!((world.log().log_end_offset(), world.stop_of(0)), (world.source_end(), None));
}

#[test]
fn control_records_that_came_twice_stop_the_lane_before_a_record_is_out_of_its_place() {
    for offsets in [1, 5] {
        let mut world = twin(|_| {});
        world.leave_gap(offsets);
        world.reference.partitions[0].was_doubled = true;
        world.target.cluster.repeat_markers("orders", 0, 1);
        world.run_ms(10_000);
        assert_eq!(world.stop_of(0), Some(StopKind::OtherWriter));
        // Which instance ever looks, it finds the same.
        world.kill(0);
        world.start_instance();
        world.ends_well();
        assert_eq!(world.stop_of(1), Some(StopKind::OtherWriter));
    }
}

/// The same where the broker does not tell what it knows of producers: the log's last batch is a control record, at the end of a
/// gap, though not of the gap that it was for.
#[test]
fn a_log_that_is_too_long_is_found_by_what_stands_before_the_gap() {
    let mut world = twin(|plan| {
        plan.hides_producers = true;
        plan.batch_gap_ms = 1_000;
    });
    world.run_ms(1_000);
    // One record, and a gap on both sides of it.
    world.leave_gap(10);
    let records = world.reference.partitions[0].records.len();
    world.run_until_true("a batch is written", |world| world.reference.partitions[0].records.len() > records);
    world.leave_gap(1_000);
    world.reference.partitions[0].was_doubled = true;
    world.target.cluster.repeat_markers("orders", 0, 20);
    world.run_ms(30_000);
    assert_eq!(world.stop_of(0), Some(StopKind::OtherWriter));
    world.ends_well();
}

#[test]
fn without_the_right_to_control_records_it_appends_or_stops_at_the_first_gap() {
    let mut world = twin(|plan| plan.cannot_fill = Some("of the scenario".to_owned()));
    world.leave_gap(10);
    world.ends_well();
    let lane = world.ledger_view.lane("orders", 0).unwrap();
    assert_eq!((lane.mode, world.stop_of(0)), (OffsetMode::Append, None));
    assert!(world.log().log_end_offset() < world.source_end());

    let mut world = twin(|plan| (plan.batch_gap_ms, plan.gap_transactions_max) = (1_000, 9));
    world.run_ms(100);
    world.target.cluster.deny(ApiKey::WriteTxnMarkers, None);
    world.plan.faults.push((crate::sim::plan::Fault::FillDenied, 0));
    world.leave_gap(10);
    world.ends_well();
    assert_eq!(world.stop_of(0), Some(StopKind::Unauthorized));

    let mut world = twin(|plan| (plan.hides_fills, plan.gap_transactions_max) = (true, 9));
    world.leave_gap(10);
    world.ends_well();
    assert_eq!(world.stop_of(0), Some(StopKind::TargetRefuses));
}

#[test]
fn a_gap_that_is_too_large_stops_the_lane() {
    let mut world = twin(|plan| plan.gap_offsets_max = 100);
    world.leave_gap(101);
    world.ends_well();
    assert_eq!(world.stop_of(0), Some(StopKind::GapTooLarge));
}

/// Where control records may not be written, empty transactions leave as many.
#[test]
fn without_the_right_to_control_records_transactions_fill_gaps_on_demand() {
    let mut world = twin(|plan| {
        plan.cannot_fill = Some("of the scenario".to_owned());
        plan.demands_identical = true;
        plan.partitions = 2;
        plan.gaps_percent = 40;
        plan.transactions_percent = 30;
    });
    world.leave_gap(30);
    world.ends_well();
    assert_eq!(world.stop_of(0), None);
    assert_eq!(world.log().log_end_offset(), world.source_end());
    assert!(world.markers(false) >= 30 && world.transactional_batches() == 0);
}

/// A kill, a second instance and brokers that go away in the middle of a transaction that fills a gap: the log end tells how far
/// it got.
#[test]
fn a_gap_that_transactions_fill_is_filled_exactly_whatever_happens() {
    for (large_gaps, trouble) in [
        (LargeGaps::Halt, 0),
        (LargeGaps::Halt, 1),
        (LargeGaps::Halt, 2),
        (LargeGaps::AbortedRecords, 0),
        (LargeGaps::AbortedRecords, 1),
        (LargeGaps::AbortedRecords, 2),
    ] {
        for after in 0..12 {
            let mut world = twin(|plan| {
                plan.hides_fills = true;
                plan.gap_transactions_max = if large_gaps == LargeGaps::Halt { 1_000 } else { 0 };
                plan.large_gaps = large_gaps;
                plan.batches = 30;
            });
            world.leave_gap(60);
            world.run_until_true("the gap is being filled", |world| {
                world.log().log_end_offset() > 0
                    && world.log().batches().any(crate::broker::Batch::is_transactional)
            });
            let until_us = world.now_us + after * 173;
            world.run_until(until_us).unwrap();
            match trouble {
                0 => {
                    world.kill(0);
                    world.start_instance();
                }
                1 => world.start_instance(),
                _ => {
                    // What is under way is lost, or done without anybody hearing of it.
                    for node in [0, 1] {
                        world.target.set_up(node, false);
                        world.target.cluster.node_down(node);
                    }
                    world.run_ms(300);
                }
            }
            world.ends_well();
            assert_eq!(world.stop_of(0), None, "{large_gaps:?}, trouble {trouble} after {after}");
            assert_eq!(world.log().log_end_offset(), world.source_end());
        }
    }
}

#[test]
fn of_two_instances_the_second_fills_the_rest() {
    let mut world = twin(|plan| plan.batches = 30);
    world.leave_gap(3_000);
    world.run_until_true("a part of the gap is filled", |world| world.log().log_end_offset() >= 2_000);
    world.start_instance();
    world.ends_well();
    assert!(!world.instances[0].is_running(), "the first is locked out");
    assert_eq!(world.log().log_end_offset(), world.source_end());
}

/// Once control has heard that nothing is under way any more, nothing is: a successor does not wait.
#[test]
fn an_answer_that_comes_while_the_mirror_stops_makes_it_send_nothing() {
    for after_us in 0..40 {
        let mut world = twin(|plan| {
            plan.batches = 40;
            plan.transactions_percent = 80;
            plan.batch_gap_ms = 1;
            plan.backlog_percent = 0;
        });
        let until_us = world.now_us + 20_000 + after_us * 97;
        world.run_until(until_us).unwrap();
        world.stop_instance(0);
        world.run_until_true("it has ended", |world| !world.instances[0].is_running());
        let end = world.log().log_end_offset();
        // Whatever it sent has arrived by then.
        world.run_until(world.now_us + 5_000).unwrap();
        assert_eq!(world.log().log_end_offset(), end);
    }
}

/// Where the source has lost records that were read ahead, numbers stand for others than before.
#[test]
fn a_position_within_a_gap_is_not_taken_from_what_was_read_before() {
    let mut world = twin(|plan| {
        plan.batches = 30;
        plan.backlog_percent = 100;
        plan.gaps_percent = 60;
    });
    world.run_until_true("some of it is there", |world| world.checks.twin(0).next_record() > 10);
    // The target takes nothing for a while, and what was read ahead is deleted at the source.
    for node in [0, 1] {
        world.target.set_up(node, false);
        world.target.cluster.node_down(node);
    }
    let source = &mut world.reference.partitions[0];
    let before = source.batches[source.batches.len() - 4].base_offset;
    world.source.cluster.delete_records("orders", 0, before);
    source.log_start = before;
    world.run_ms(300);
    world.ends_well();
    assert_eq!(world.stop_of(0), None);
}

/// A link whose records are too old for sequences, and that may use transactions.
fn backlog(change: impl FnOnce(&mut Plan)) -> World {
    world(|plan| {
        plan.exactly_once = ExactlyOnce::Auto;
        plan.partitions = 1;
        plan.ages = Ages::ThreeDays;
        plan.batch_gap_ms = 40;
        change(plan);
    })
}

impl World {
    fn transactional_batches(&self) -> usize {
        self.log().batches().filter(|batch| batch.is_transactional() && !batch.is_control()).count()
    }

    fn markers(&self, commits: bool) -> usize {
        let markers = self.log().batches().filter_map(Marker::of_batch);
        markers.filter(|marker| marker.commits == commits).count()
    }
}

#[test]
fn old_records_go_in_transactions_and_a_killed_one_is_aborted_and_sent_again() {
    let mut world = backlog(|_| {});
    for instance in 0..4 {
        world.run_until_true("a batch is in a transaction", |world| world.transactional_batches() > instance);
        world.kill(instance);
        world.start_instance();
    }
    world.ends_well();
    assert!(world.markers(true) > 0 && world.markers(false) > 0, "committed and aborted ones");
}

#[test]
fn at_the_live_edge_a_lane_leaves_transactions_for_sequences() {
    let mut world = backlog(|plan| plan.batches = 60);
    world.run_until_true("records are committed", |world| world.markers(true) > 0);
    world.plan.ages = Ages::Fresh;
    let is_plain =
        |world: &World| world.log().batches().last().is_some_and(|batch| !batch.is_transactional());
    world.run_until_true("a batch goes by its sequence", is_plain);
    world.kill(0);
    world.start_instance();
    world.ends_well();
}

#[test]
fn of_two_instances_in_transactions_one_goes_on_and_nothing_is_committed_twice() {
    let mut world = backlog(|_| {});
    world.run_until_true("a batch is in a transaction", |world| world.transactional_batches() > 0);
    world.start_instance();
    world.run_ms(3_000);
    assert!(!world.instances[0].is_running(), "the first is locked out");
    world.ends_well();
}

/// As many gaps as that in one fetch answer: the link must not wait for the ledger to note more than the ledger takes.
#[test]
fn more_gaps_than_the_ledger_takes_are_mirrored_in_parts() {
    let mut world = twin(|plan| {
        plan.batches = 17_500;
        plan.batch_gap_ms = 0;
        plan.backlog_percent = 100;
        plan.markers_percent = 50;
        plan.fetch_bytes_max = 8 << 20;
        plan.buffer_bytes = 32 << 20;
    });
    let is_marker = |at: usize| world.reference.partitions[0].batches[at].versions.is_empty();
    let gaps = (1..17_500).filter(|&at| is_marker(at - 1) && !is_marker(at)).count();
    assert!(gaps > LEDGER_RUNS_MAX, "{gaps} gaps");
    world.ends_well();
}

/// A limit to the bandwidth holds for a backlog, and what comes is exact all the same.
#[test]
fn a_backlog_comes_no_faster_than_it_may() {
    const BYTES_PER_SECOND: u64 = 250_000;
    let mut world = twin(|plan| {
        plan.batches = 6_000;
        plan.batch_gap_ms = 0;
        plan.backlog_percent = 100;
        plan.bytes_per_second = Some(BYTES_PER_SECOND);
    });
    let source_end = world.source_end();
    let began_us = world.now_us;
    world.run_until_true("the backlog is there", |world| world.log().log_end_offset() >= source_end);
    let seconds = (world.now_us - began_us) as f64 / 1e6;
    let bytes = world.log().size_bytes();
    // What comes last is there before its time has passed.
    let least = bytes.saturating_sub(600_000) as f64 / BYTES_PER_SECOND as f64;
    let enough = 1.5 * bytes as f64 / BYTES_PER_SECOND as f64;
    assert!(
        (least..enough).contains(&seconds),
        "{bytes} bytes came in {seconds:.2} s, not {least:.2} to {enough:.2}"
    );
    world.ends_well();
}
