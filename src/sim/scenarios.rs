//! Stories of one small link, told step by step: the simulator's world without its dice.

use crate::sim::plan::Plan;
use crate::sim::traffic::Ages;
use crate::sim::world::World;

/// A world in which nothing goes wrong by itself, with one instance running.
fn world(change: impl FnOnce(&mut Plan)) -> World {
    let mut plan = Plan::quiet();
    change(&mut plan);
    let mut world = World::new(7, plan);
    world.start_instance();
    world
}

impl World {
    fn run_ms(&mut self, ms: u64) {
        let until_us = self.now_us + ms * 1000;
        self.run_until(until_us).unwrap_or_else(|broken| panic!("{broken}"));
    }

    fn ends_well(&mut self) {
        self.heal();
        self.catch_up().unwrap_or_else(|broken| panic!("{broken}"));
    }

    fn mirrored(&self) -> usize {
        (0..self.reference.partitions.len()).map(|at| self.checks.twin(at).next_source_index()).sum()
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
