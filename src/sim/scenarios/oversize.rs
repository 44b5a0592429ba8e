//! Batches that are larger than what the target's topics take.

use super::*;
use crate::config::Oversize;

/// A few batches, all there from the beginning, some of them too large.
fn small_target(bytes: usize, change: impl FnOnce(&mut Plan)) -> World {
    world(|plan| {
        plan.backlog_percent = 100;
        plan.target_batch_bytes_max = Some(bytes);
        plan.oversize = Oversize::Raise;
        plan.makes_room = true;
        change(plan);
    })
}

/// What the largest batch and the largest record would take.
const LARGE_BATCH: usize = 700;

#[test]
fn the_target_takes_larger_batches_when_it_is_told_to() {
    let mut world = small_target(150, |_| {});
    world.run_ms(2_000);
    world.ends_well();
    assert_eq!((world.stop_of(0), world.mirrored()), (None, 60), "all of them in one piece");
    assert!(world.target.cluster.max_message_bytes("orders") > Some(150));
}

#[test]
fn what_it_cannot_be_told_to_take_is_split() {
    let mut world = small_target(LARGE_BATCH, |plan| plan.makes_room = false);
    world.run_ms(2_000);
    world.ends_well();
    assert_eq!(world.stop_of(0), None);
    assert!(world.mirrored() > 60, "60 batches became {}", world.mirrored());
    assert_eq!(world.target.cluster.max_message_bytes("orders"), Some(LARGE_BATCH));
}

#[test]
fn old_records_go_in_transactions_all_the_same() {
    for makes_room in [true, false] {
        let mut world = small_target(LARGE_BATCH, |plan| {
            (plan.ages, plan.exactly_once) = (Ages::ThreeDays, ExactlyOnce::Auto);
            plan.makes_room = makes_room;
        });
        world.run_ms(2_000);
        world.ends_well();
        assert_eq!(world.stop_of(0), None);
    }
}

#[test]
fn brokers_that_hear_of_it_late_are_waited_for() {
    let mut world = small_target(1 << 20, |_| {});
    world.target.cluster.inject(Injection {
        api: ApiKey::Produce,
        node: None,
        topic: Some("orders".to_owned()),
        partition: None,
        error: ResponseError::MessageTooLarge,
        applied: false,
        after: 0,
        times: 200,
    });
    world.run_ms(1_000);
    assert_eq!(world.mirrored(), 0, "none knows of it yet");
    world.target.cluster.clear_injections();
    world.ends_well();
    assert_eq!(world.mirrored(), 60);
}
