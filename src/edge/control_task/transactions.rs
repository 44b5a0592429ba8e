//! What control does for the shards' transactions: it passes their steps on, and the answers back.

use super::{Session, TICK_MS};
use crate::control::transactions::Place;
use crate::edge::transactions::TransactionTask;
use crate::shard::{Command, LaneId, TransactionDone, TransactionStep};
use std::sync::Arc;
use std::time::Duration;

/// The longest pause in which nobody listens for an answer, while a shard waits for one.
const BUSY_TICK_MS: u64 = 5;

impl Session<'_> {
    /// How long control may wait for events.
    pub(super) fn tick(&self) -> Duration {
        let is_busy = self.transactions.as_ref().is_some_and(|task| task.open > 0);
        Duration::from_millis(if is_busy { BUSY_TICK_MS } else { TICK_MS })
    }

    pub(super) fn take_step(&mut self, shard: usize, step: TransactionStep) {
        let places = match &step {
            TransactionStep::Claim { lanes } | TransactionStep::Join { lanes } => self.places(lanes),
            TransactionStep::Commit { positions } => {
                let lanes: Vec<LaneId> = positions.iter().map(|(lane, _)| *lane).collect();
                self.places(&lanes)
            }
        };
        if self.transactions.is_none() {
            tracing::info!(
                "records older than the target's producer.id.expiration.ms go in transactions from here on; consumers of the \
                 target should read committed records only"
            );
            match TransactionTask::start(self.config, self.ledger.transactional_ids()) {
                Ok(task) => self.transactions = Some(task),
                Err(error) => tracing::error!(%error, "the thread for transactions cannot be started"),
            }
        }
        match &mut self.transactions {
            Some(task) => task.send(shard, step, places),
            None => self.shards[shard].send(Command::Transaction(TransactionDone::Broken)),
        }
    }

    fn places(&self, lanes: &[LaneId]) -> Vec<Place> {
        let place = |id: &LaneId| {
            let lane = self.lanes.get(id)?;
            Some(Place {
                lane: *id,
                topic: Arc::clone(&lane.topic),
                partition: lane.partition,
                topic_id: lane.topic_ids.1,
            })
        };
        lanes.iter().filter_map(place).collect()
    }

    /// Passes answers on to their shards; a claim when its producer id is published as the link's.
    pub(super) fn answer_transactions(&mut self) {
        let Some(task) = &mut self.transactions else { return };
        while let Ok((shard, done)) = task.done.try_recv() {
            task.open = task.open.saturating_sub(1);
            if let TransactionDone::Refused(stop) = &done {
                tracing::warn!("no transactions: {stop}");
            }
            self.transactions_done.push((shard, done));
        }
        for (shard, done) in std::mem::take(&mut self.transactions_done) {
            match done {
                TransactionDone::Claimed { producer_id, .. } if !self.ledger.publish(producer_id) => {
                    self.transactions_done.push((shard, done));
                }
                done => self.shards[shard].send(Command::Transaction(done)),
            }
        }
    }
}
