//! Requests of an instance's control: one by one, late, lost on the way there or back, or handled long after they were given up.

use crate::shard::Side;
use crate::sim::brokers::Asker;
use crate::sim::errands::Errand;
use crate::sim::plan::Fault;
use crate::sim::world::{Broken, Moment, World};
use bytes::Bytes;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Call>,
    made: u64,
}

struct Call {
    instance: usize,
    errand: Errand,
    side: Side,
    node: i32,
    /// Taken when it arrives.
    frame: Option<Bytes>,
    answer: Option<Bytes>,
    /// The caller knows how it ended, or is gone.
    ended: bool,
}

/// How long control waits for an answer.
const TIMEOUT_MS: u64 = 1_000;

impl World {
    /// Sends a request (without size prefix) for an instance's control; [`World::errand_done`] is told how it ends.
    pub(super) fn call(
        &mut self,
        instance: usize,
        side: Side,
        node: i32,
        errand: Errand,
        frame: Bytes,
    ) -> u64 {
        self.calls.made += 1;
        let id = self.calls.made;
        self.calls.calls.insert(
            id,
            Call { instance, errand, side, node, frame: Some(frame), answer: None, ended: false },
        );
        let rough = self.plan_is_on(Fault::HalfOpen);
        let delay_us = 1 + self.net.around(self.plan.weather.delay_us * 2);
        let late = rough && self.net.percent(10);
        let arrives_us =
            self.now_us + if late { self.net.below(self.orphans_within_ms() * 1000) } else { delay_us };
        if !(rough && self.net.percent(5)) {
            self.schedule(arrives_us, Moment::CallArrives(id));
        }
        self.schedule(self.now_us + TIMEOUT_MS * 1000, Moment::CallTimesOut(id));
        id
    }

    pub(super) fn call_arrives(&mut self, id: u64) {
        let Some(call) = self.calls.calls.get_mut(&id) else { return };
        let (side, node) = (call.side, call.node);
        let Some(frame) = call.frame.take() else { return };
        self.ask_cluster(side, node, frame, Asker::Call(id));
        self.answer_later(side);
    }

    /// The broker has answered; the answer may get lost.
    pub(super) fn call_answered(&mut self, id: u64, answer: Option<Bytes>) {
        let lost = self.plan_is_on(Fault::HalfOpen) && self.net.percent(10);
        let delay_us = 1 + self.net.around(self.plan.weather.delay_us * 2);
        let Some(call) = self.calls.calls.get_mut(&id) else { return };
        call.answer = answer;
        if !lost {
            self.schedule(self.now_us + delay_us, Moment::CallAnswered(id));
        }
    }

    /// The caller learns the answer, or gives up.
    pub(super) fn call_ends(&mut self, id: u64, answered: bool) -> Result<(), Broken> {
        let Some(call) = self.calls.calls.get_mut(&id) else { return Ok(()) };
        if std::mem::replace(&mut call.ended, true) {
            return Ok(());
        }
        let (instance, errand) = (call.instance, call.errand);
        let answer = if answered { call.answer.take() } else { None };
        let caller = &mut self.instances[instance];
        let awaited = match errand {
            Errand::Trim { .. } => &mut caller.trims.call,
            errand if errand.is_of_transaction() => &mut caller.transaction_call,
            _ => &mut caller.call,
        };
        if *awaited != Some(id) {
            return Ok(());
        }
        if caller.paused_until_us > self.now_us {
            // It reads the answer when it goes on.
            let until_us = caller.paused_until_us;
            call.ended = false;
            call.answer = answer;
            self.schedule(
                until_us,
                if answered { Moment::CallAnswered(id) } else { Moment::CallTimesOut(id) },
            );
            return Ok(());
        }
        *awaited = None;
        self.errand_done(instance, errand, answer)
    }
}
