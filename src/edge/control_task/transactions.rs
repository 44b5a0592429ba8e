//! What control does for transactions: it passes their steps on, and the answers back.

use super::{Session, TICK_MS};
use crate::control::transactions::{Done, Place, Step};
use crate::edge::mirror::MirrorError;
use crate::edge::transactions::TransactionTask;
use crate::shard::{Command, GapsDone, GapsStep, LaneId, TransactionDone};
use std::sync::Arc;
use std::time::Duration;

/// The longest pause in which nobody listens for an answer, while a shard waits for one.
const BUSY_TICK_MS: u64 = 5;

impl Session<'_> {
    /// How long control may wait for events.
    pub(super) fn tick(&self) -> Duration {
        let is_busy = self.transactions.as_ref().is_some_and(|task| task.open > 0) || self.letters.is_busy();
        Duration::from_millis(if is_busy { BUSY_TICK_MS } else { TICK_MS })
    }

    pub(super) fn take_step(&mut self, shard: usize, step: Step) {
        let places = self.places(&step.lanes());
        self.tell_of(&step);
        if self.transactions.is_none() {
            match TransactionTask::start(self.config, self.ledger.transactional_ids()) {
                Ok(task) => self.transactions = Some(task),
                Err(error) => {
                    // Without a thread nothing can go on, and the next start may have one.
                    self.ended.get_or_insert(Err(MirrorError::Transactions(error)));
                    return;
                }
            }
        }
        if let Some(task) = &mut self.transactions {
            task.send(shard, step, places);
        }
    }

    /// Says once what consumers of the target should know.
    fn tell_of(&mut self, step: &Step) {
        let is_first = match step {
            Step::Transaction(_) => !std::mem::replace(&mut self.told_of_transactions, true),
            Step::Gaps(GapsStep::Claim) => false,
            Step::Gaps(GapsStep::Fill { lanes, .. }) => {
                let has_records = lanes.iter().any(|(_, fill)| fill.records > 0);
                has_records && !std::mem::replace(&mut self.told_of_aborted_records, true)
            }
        };
        match step {
            _ if !is_first => {}
            Step::Transaction(_) => tracing::info!(
                "records older than the target's producer.id.expiration.ms go in transactions from here on; consumers of the \
                 target should read committed records only"
            ),
            Step::Gaps(_) => tracing::info!(
                "large gaps of the source's offsets are filled with records of aborted transactions from here on; consumers of \
                 the target should read committed records only"
            ),
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
            if let Done::Transaction(TransactionDone::Refused(stop)) | Done::Gaps(GapsDone::Refused(stop)) =
                &done
            {
                tracing::warn!("no transactions: {stop}");
            }
            self.transactions_done.push((shard, done));
        }
        for (shard, done) in std::mem::take(&mut self.transactions_done) {
            if done.to_publish().is_some_and(|producer_id| !self.ledger.publish(producer_id)) {
                self.transactions_done.push((shard, done));
                continue;
            }
            self.shards[shard].send(match done {
                Done::Transaction(done) => Command::Transaction(done),
                Done::Gaps(done) => Command::Gaps(done),
            });
        }
    }
}
