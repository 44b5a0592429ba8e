//! The shard's transaction on the target: one at a time, for all lanes that are in need of one (see `lane/transactions.rs`).
//!
//! ```text
//!        a lane enlists            a lane has a batch           time, or all is sent       all is answered
//! Idle ────────────────► Claiming ──────► Idle ──────► Open ──────────────────► Closing ────────────► Committing ──► Idle
//!   ▲  (no producer, or a position unknown)             │ │                        │                       │
//!   └──────────────── any doubt of any lane in it ◄─────┴─┴────────────────────────┴───────────────────────┘
//! ```
//!
//! The steps that coordinators answer ([`TransactionStep`]) are control's work, one at a time; the batches go from the shard
//! straight to the partitions' leaders, as always. A broken transaction is claimed anew, which aborts it and tells where each of
//! its lanes stands: what was appended in vain is read and sent again.

use super::Shard;
use super::api::{Checkpoint, Event, LaneId, Stop, TransactionDone, TransactionStep};
use super::source::Slot;
use crate::time::Now;
use std::collections::{BTreeMap, BTreeSet};

/// A transaction lasts about this long: its lanes pause for a commit, and what a crash makes them send again is what one holds.
/// Where they break, each is half as long as the one before, down to the second figure, so that some come through.
const TRANSACTION_MS: (u64, u64) = (1_000, 20);
/// Pause before a broken transaction is claimed anew.
const CLAIM_PAUSE_MS: u64 = 100;

pub(super) struct Transactions {
    step: Step,
    /// Control has a step and has not answered.
    is_asking: bool,
    /// In whose name batches are sent.
    producer: Option<(i64, i16)>,
    /// The lanes that the claim under way asks for.
    claiming: Vec<LaneId>,
    /// What the last claim told: by lane, the position that its last transaction committed, if there was one.
    positions: BTreeMap<LaneId, Option<Checkpoint>>,
    /// Lanes that go in transactions.
    enlisted: BTreeSet<Slot>,
    /// Those whose partitions are in the open one, and those for which that is asked.
    joined: BTreeSet<Slot>,
    joining: Vec<Slot>,
    opened_us: u64,
    lasts_ms: u64,
    pause_until_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Claiming,
    Open,
    Closing,
    Committing,
}

impl Default for Transactions {
    fn default() -> Self {
        Self {
            step: Step::Idle,
            is_asking: false,
            producer: None,
            claiming: Vec::new(),
            positions: BTreeMap::new(),
            enlisted: BTreeSet::new(),
            joined: BTreeSet::new(),
            joining: Vec::new(),
            opened_us: 0,
            lasts_ms: TRANSACTION_MS.0,
            pause_until_us: 0,
        }
    }
}

impl Transactions {
    pub(super) fn note(&mut self, slot: Slot, is_enlisted: bool) {
        if is_enlisted {
            self.enlisted.insert(slot);
        } else if !self.enlisted.is_empty() {
            self.enlisted.remove(&slot);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.joined.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        match self.step {
            Step::Idle if !self.enlisted.is_empty() => Some(self.pause_until_us),
            Step::Open => Some(self.opened_us + self.lasts_ms * 1_000),
            _ => None,
        }
    }
}

impl Shard {
    /// Takes the transaction as far as it goes now.
    pub(super) fn transact(&mut self, now: Now) {
        if self.transactions.enlisted.is_empty() && self.transactions.step == Step::Idle {
            return;
        }
        if self.is_transaction_broken() {
            self.break_transaction(now);
        }
        if self.transactions.step == Step::Idle && !self.transactions.is_asking {
            self.take_in(now);
        }
        if self.transactions.step == Step::Open {
            self.join(now);
        }
        if self.transactions.step == Step::Closing {
            self.commit(now);
        }
    }

    /// Whether a lane of the open transaction has met with something that it cannot go on from. What happens during the commit
    /// is that lane's affair: it is done, or it is not.
    fn is_transaction_broken(&self) -> bool {
        let Transactions { step, joined, .. } = &self.transactions;
        matches!(step, Step::Open | Step::Closing)
            && joined.iter().any(|&slot| !self.lanes[slot].lane.is_in_transaction())
    }

    fn break_transaction(&mut self, now: Now) {
        self.transactions.step = Step::Idle;
        self.transactions.producer = None;
        self.transactions.lasts_ms = (self.transactions.lasts_ms / 2).max(TRANSACTION_MS.1);
        self.transactions.pause_until_us = now.after_ms(CLAIM_PAUSE_MS);
        self.transactions.joining.clear();
        for slot in std::mem::take(&mut self.transactions.joined) {
            self.lanes[slot].lane.lose_part();
            self.refresh(now, slot);
        }
    }

    /// Claims a producer, if there is none or a lane's position is to be told; then takes lanes in, and opens the transaction
    /// when one of them has something to send.
    fn take_in(&mut self, now: Now) {
        let lane = |slot: Slot| &self.lanes[slot].lane;
        let Transactions { producer, positions, enlisted, .. } = &self.transactions;
        let comers: Vec<Slot> = match self.draining {
            true => Vec::new(),
            false => enlisted.iter().copied().filter(|&slot| lane(slot).wants_part().is_some()).collect(),
        };
        let is_told =
            |&slot: &Slot| lane(slot).wants_part() == Some(true) || positions.contains_key(&lane(slot).id);
        let wants_to_send = enlisted.iter().any(|&slot| lane(slot).wants_join());
        let Some(producer) = producer.filter(|_| comers.iter().all(is_told)) else {
            let is_due = now.mono_us >= self.transactions.pause_until_us;
            if is_due && (!comers.is_empty() || wants_to_send) {
                let lanes: Vec<LaneId> = enlisted.iter().map(|&slot| lane(slot).id).collect();
                self.transactions.step = Step::Claiming;
                self.transactions.claiming.clone_from(&lanes);
                self.ask_control(TransactionStep::Claim { lanes });
            }
            return;
        };
        for slot in comers {
            let lane = &mut self.lanes[slot].lane;
            lane.take_part(producer, self.transactions.positions.remove(&lane.id).flatten());
            self.refresh(now, slot);
        }
        if self.transactions.enlisted.iter().any(|&slot| self.lanes[slot].lane.wants_join()) {
            self.transactions.step = Step::Open;
            self.transactions.opened_us = now.mono_us;
        }
    }

    /// Lanes join as they have something to send, until it is time to commit.
    fn join(&mut self, now: Now) {
        let Transactions { joined, enlisted, opened_us, is_asking, .. } = &self.transactions;
        if *is_asking {
            return;
        }
        let lanes = &self.lanes;
        let is_old = now.mono_us >= opened_us + self.transactions.lasts_ms * 1_000;
        let comers: Vec<Slot> =
            enlisted.iter().copied().filter(|&slot| lanes[slot].lane.wants_join()).collect();
        if !comers.is_empty() && (!is_old || joined.is_empty()) {
            let lanes = comers.iter().map(|&slot| lanes[slot].lane.id).collect();
            self.transactions.joining = comers;
            return self.ask_control(TransactionStep::Join { lanes });
        }
        if is_old || joined.iter().all(|&slot| lanes[slot].lane.has_run_dry()) {
            self.transactions.step = Step::Closing;
            for slot in self.transactions.joined.clone() {
                self.lanes[slot].lane.close();
                self.refresh(now, slot);
            }
        }
    }

    /// Commits when all that was sent is answered.
    fn commit(&mut self, now: Now) {
        let Transactions { joined, .. } = &self.transactions;
        if !joined.iter().all(|&slot| self.lanes[slot].lane.is_at_rest()) {
            return;
        }
        let mut positions = Vec::new();
        for slot in joined.clone() {
            let lane = &mut self.lanes[slot].lane;
            positions.extend(lane.begin_commit(&mut self.events).map(|position| (lane.id, position)));
            self.refresh(now, slot);
        }
        self.transactions.step = Step::Committing;
        self.ask_control(TransactionStep::Commit { positions });
    }

    fn ask_control(&mut self, step: TransactionStep) {
        self.transactions.is_asking = true;
        self.events.push_back(Event::Transaction(step));
    }

    /// A step is answered. If the transaction was broken meanwhile, the answer means nothing any more.
    pub(super) fn handle_transaction(&mut self, now: Now, done: TransactionDone) {
        self.transactions.is_asking = false;
        match (done, self.transactions.step) {
            (TransactionDone::Claimed { producer_id, producer_epoch, positions }, Step::Claiming) => {
                let producer = (producer_id, producer_epoch);
                self.transactions.step = Step::Idle;
                self.transactions.producer = Some(producer);
                // A lane that enlisted meanwhile was not asked for.
                let asked = std::mem::take(&mut self.transactions.claiming);
                for slot in asked.iter().filter_map(|lane| self.slots.get(lane)) {
                    self.lanes[*slot].lane.position_anew();
                }
                self.transactions.positions = asked.into_iter().map(|lane| (lane, None)).collect();
                let told = positions.into_iter().map(|(lane, position)| (lane, Some(position)));
                self.transactions.positions.extend(told);
            }
            (TransactionDone::Joined { refused }, Step::Open) if !refused.is_empty() => {
                self.transactions.joining.clear();
                for (lane, stop) in refused {
                    let slot = self.slots.get(&lane).copied();
                    self.stop_lane(now, slot, stop.kind, stop.detail);
                }
            }
            (TransactionDone::Joined { .. }, Step::Open) => {
                for slot in std::mem::take(&mut self.transactions.joining) {
                    self.lanes[slot].lane.join();
                    self.transactions.joined.insert(slot);
                    self.refresh(now, slot);
                }
            }
            (TransactionDone::Committed { is_last_word }, Step::Committing) => {
                self.transactions.step = Step::Idle;
                self.transactions.producer = self.transactions.producer.filter(|_| is_last_word);
                self.transactions.lasts_ms = (self.transactions.lasts_ms * 2).min(TRANSACTION_MS.0);
                for slot in std::mem::take(&mut self.transactions.joined) {
                    self.lanes[slot].lane.handle_committed(now, &self.settings);
                    self.tell_caught_up(slot);
                    self.refresh(now, slot);
                }
            }
            (TransactionDone::Refused(stop), _) => self.refuse_transactions(now, &stop),
            (_, Step::Idle) => {}
            _ => self.break_transaction(now),
        }
    }

    fn refuse_transactions(&mut self, now: Now, stop: &Stop) {
        self.break_transaction(now);
        for slot in self.transactions.enlisted.clone() {
            let lane = &mut self.lanes[slot].lane;
            lane.refuse_transactions(&self.settings, stop.kind, &stop.detail, &mut self.events);
            self.refresh(now, slot);
        }
    }
}
