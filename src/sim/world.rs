//! The world of one run: a clock that only moves when nothing is left to do, and an agenda of what happens when.

use crate::config::Mirror;
use crate::shard::Side;
use crate::sim::brokers::Half;
use crate::sim::calls::Calls;
use crate::sim::checks::Checks;
use crate::sim::control::Instance;
use crate::sim::ledger_view::LedgerView;
use crate::sim::plan::{Fault, Plan};
use crate::sim::pump::{Connection, Place};
use crate::sim::random::Random;
use crate::sim::reference::Reference;
use crate::time::Now;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What broke, in words.
#[derive(Debug)]
pub(super) struct Broken(String);

impl Broken {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that happens at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    Dialed(usize),
    ArrivedUp(usize),
    ArrivedDown(usize),
    Handle(usize),
    Orphan(Side, u64),
    Turn(Place),
    /// Control of an instance looks at what it has to do.
    Control(usize),
    /// A call of a control arrives at its broker, or has been waited for long enough.
    CallArrives(u64),
    CallAnswered(u64),
    CallTimesOut(u64),
    /// The next batch is written to a source partition.
    Write(usize),
    /// The fault at this place of the plan strikes.
    Strike(usize),
    Relief(Relief),
}

/// The end of something that was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relief {
    NodeUp { side: Side, node: i32, restarts: bool },
    WatermarkMoves { partition: usize },
    FollowerFollows { partition: usize, node: i32 },
    InstanceStarts,
}

/// What happens when; at one moment in the order of adding.
#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, Moment)>>,
    added: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at_us: u64, moment: Moment) {
        self.added += 1;
        self.heap.push(Reverse((at_us, self.added, moment)));
    }

    fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_us, ..))| *at_us)
    }

    fn pop(&mut self) -> Option<Moment> {
        self.heap.pop().map(|Reverse((.., moment))| moment)
    }
}

pub(super) struct World {
    pub(super) plan: Plan,
    /// How the link is configured, where that chooses offsets.
    pub(super) config: Option<Mirror>,
    pub(super) now_us: u64,
    pub(super) agenda: Agenda,
    pub(super) source: Half,
    pub(super) target: Half,
    pub(super) connections: Vec<Connection>,
    pub(super) instances: Vec<Instance>,
    pub(super) calls: Calls,
    pub(super) reference: Reference,
    pub(super) checks: Checks,
    pub(super) ledger_view: LedgerView,
    /// Until then the target checks for expired producers before each request: at any moment it may.
    pub(super) expiring_until_us: u64,
    /// Faults have ended; the mirror has to catch up.
    pub(super) healed: bool,
    pub(super) net: Random,
    pub(super) load: Random,
    pub(super) chaos: Random,
    pub(super) steps: u64,
    /// Sees every step, when somebody wants to.
    pub(super) observer: Option<super::Observer>,
}

/// The wall clock when the run begins: some day in 2027.
const WALL_START_MS: i64 = 1_800_000_000_000;
/// Steps of the same moment, before the world counts as standing still.
const STEPS_PER_MOMENT_MAX: u64 = 200_000;

impl World {
    pub(super) fn now(&self) -> Now {
        Now { mono_us: self.now_us, wall_ms: WALL_START_MS + (self.now_us / 1000) as i64 }
    }

    pub(super) fn schedule(&mut self, at_us: u64, moment: Moment) {
        self.agenda.add(at_us.max(self.now_us), moment);
    }

    pub(super) fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    pub(super) fn cluster(&self, side: Side) -> &Half {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    pub(super) fn plan_is_on(&self, fault: Fault) -> bool {
        !self.healed && self.plan.has(fault)
    }

    pub(super) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(observer) = &mut self.observer {
            observer(&format!("{:>12.6} {}", self.now_us as f64 / 1e6, line()));
        }
    }

    /// Lets everything happen that is due until `until_us`, and checks after each step.
    pub(super) fn run_until(&mut self, until_us: u64) -> Result<(), Broken> {
        let mut steps_of_moment = 0;
        while let Some(next_us) = self.next_us().filter(|&next_us| next_us <= until_us) {
            steps_of_moment = if next_us > self.now_us { 0 } else { steps_of_moment + 1 };
            if steps_of_moment > STEPS_PER_MOMENT_MAX {
                return Err(Broken::new("the clock does not move any more: somebody is due again and again"));
            }
            self.now_us = next_us.max(self.now_us);
            self.steps += 1;
            self.step()?;
            self.check()?;
        }
        self.now_us = self.now_us.max(until_us);
        Ok(())
    }

    /// When the next thing happens.
    fn next_us(&self) -> Option<u64> {
        let clusters = [self.source.cluster.poll_timeout(), self.target.cluster.poll_timeout()];
        let shards = self.instances.iter().flat_map(|instance| {
            instance
                .slots
                .iter()
                .filter_map(|slot| Some(slot.shard.poll_timeout()?.max(instance.paused_until_us)))
        });
        clusters.into_iter().flatten().chain(shards).chain(self.agenda.next_us()).min()
    }

    fn step(&mut self) -> Result<(), Broken> {
        for side in [Side::Source, Side::Target] {
            if self.cluster(side).cluster.poll_timeout().is_some_and(|due_us| due_us <= self.now_us) {
                self.answer_later(side);
            }
        }
        for instance in 0..self.instances.len() {
            for shard in 0..self.instances[instance].slots.len() {
                let due_us = self.instances[instance].slots[shard].shard.poll_timeout();
                if due_us.is_some_and(|due_us| due_us <= self.now_us) {
                    self.turn(Place { instance, shard })?;
                }
            }
        }
        while self.agenda.next_us().is_some_and(|at_us| at_us <= self.now_us) {
            let Some(moment) = self.agenda.pop() else { break };
            self.happen(moment)?;
        }
        Ok(())
    }

    fn happen(&mut self, moment: Moment) -> Result<(), Broken> {
        match moment {
            Moment::Dialed(index) => self.dialed(index),
            Moment::ArrivedUp(index) => {
                self.arrived_up(index);
                Ok(())
            }
            Moment::ArrivedDown(index) => self.arrived_down(index),
            Moment::Handle(index) => self.handle(index),
            Moment::Orphan(side, orphan) => {
                self.handle_orphan(side, orphan);
                Ok(())
            }
            Moment::Turn(place) => self.turn(place),
            Moment::Control(instance) => self.control(instance),
            Moment::CallArrives(call) => {
                self.call_arrives(call);
                Ok(())
            }
            Moment::CallAnswered(call) => self.call_ends(call, true),
            Moment::CallTimesOut(call) => self.call_ends(call, false),
            Moment::Write(partition) => {
                self.write_source(partition);
                Ok(())
            }
            Moment::Strike(place) => self.strike(place),
            Moment::Relief(relief) => {
                self.relieve(relief);
                Ok(())
            }
        }
    }
}
