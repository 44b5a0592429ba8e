//! What cannot be mirrored goes to the dead letters, and all else is mirrored, whatever happens in between.

use super::*;
use crate::config::Oversize;

/// Some batches are damaged, some records are too large.
fn misfits(change: impl FnOnce(&mut Plan)) -> World {
    world(|plan| {
        plan.has_dead_letters = true;
        plan.damaged_percent = 20;
        plan.target_batch_bytes_max = Some(150);
        plan.batch_gap_ms = 40;
        change(plan);
    })
}

impl World {
    /// Records in the dead letters, and how many of them are there more than once.
    fn letters(&self) -> (usize, usize) {
        let records = || self.reference.partitions.iter().flat_map(|partition| &partition.records);
        let written = |times: u32| records().filter(|record| record.letters >= times).count();
        (written(1), written(2))
    }

    /// Records that are in batches which are damaged at the source.
    fn damaged(&self) -> usize {
        let batches = self.reference.partitions.iter().flat_map(|partition| &partition.batches);
        batches.filter(|batch| batch.is_damaged).map(|batch| batch.records.len()).sum()
    }
}

#[test]
fn what_cannot_be_mirrored_is_in_the_dead_letters_once() {
    for identical_percent in [0, 100] {
        let mut world = misfits(|plan| plan.identical_percent = identical_percent);
        world.ends_well();
        let (letters, repeated) = world.letters();
        assert!(
            letters > world.damaged() && world.damaged() > 10,
            "{letters} letters, {} damaged",
            world.damaged()
        );
        assert_eq!((repeated, world.stop_of(0)), (0, None));
    }
}

#[test]
fn killed_again_and_again_it_loses_and_doubles_nothing() {
    for (identical_percent, ages) in [(0, Ages::Fresh), (100, Ages::Fresh), (0, Ages::ThreeDays)] {
        let mut world = misfits(|plan| {
            (plan.identical_percent, plan.ages) = (identical_percent, ages);
            plan.exactly_once = ExactlyOnce::Auto;
        });
        for instance in 0..12 {
            world.run_ms(130);
            world.kill(instance);
            world.start_instance();
        }
        world.ends_well();
        assert!(world.letters().0 > world.damaged());
    }
}

/// What was decided is not decided anew: a control record stands there already, and the checkpoint is not behind it yet.
#[test]
fn killed_as_soon_as_the_gap_is_filled_it_goes_on_behind_it() {
    let mut world = misfits(|plan| {
        (plan.identical_percent, plan.partitions, plan.batches) = (100, 1, 60);
    });
    for instance in 0..8 {
        let filled = world.checks.kinds[0];
        world.run_until_true("a gap is filled", |world| world.checks.kinds[0] > filled);
        world.kill(instance);
        world.start_instance();
    }
    world.ends_well();
    assert_eq!((world.stop_of(8), world.log().log_end_offset()), (None, world.source_end()));
}

#[test]
fn a_partition_of_nothing_else_is_passed_and_stays_so() {
    let mut world = misfits(|plan| {
        (plan.damaged_percent, plan.backlog_percent) = (100, 100);
        plan.target_batch_bytes_max = None;
    });
    world.run_ms(20_000);
    let records: usize = world.reference.partitions.iter().map(|partition| partition.records.len()).sum();
    assert_eq!((world.letters(), world.mirrored()), ((records, 0), 0));
    world.kill(0);
    world.start_instance();
    world.ends_well();
    assert_eq!(world.letters(), (records, 0), "the position is behind them");
}

#[test]
fn where_the_target_can_take_more_only_damage_goes_there() {
    let mut world = misfits(|plan| {
        (plan.oversize, plan.makes_room) = (Oversize::Raise, true);
    });
    world.ends_well();
    assert_eq!(world.letters(), (world.damaged(), 0));
}

#[test]
fn without_dead_letters_the_partition_stops() {
    let mut world = misfits(|plan| {
        plan.has_dead_letters = false;
        (plan.partitions, plan.target_batch_bytes_max) = (1, None);
    });
    world.plan.faults.clear();
    let stopped = (0..400).any(|_| {
        let until_us = world.now_us + 10_000;
        world.run_until(until_us).is_err()
    });
    assert!(stopped && world.letters() == (0, 0), "a lane that stops is more than this world allows");
}
