//! The ledger as somebody sees it who only reads the state topic: what is durable of the link, and checked from outside.

use crate::broker::Batch;
use crate::broker::topic::Partition;
use crate::control::ledger::decode_batches;
use crate::shard::{OffsetMode, SEED};
use bytes::{BufMut, BytesMut};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct LedgerView {
    read_to: i64,
    pids: Option<Pids>,
    transactional_pids: Vec<i64>,
    lanes: BTreeMap<(String, i64), LaneView>,
    losses: Vec<LossView>,
}

/// The link's producer ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pids {
    pub(super) data: i64,
    pub(super) data_epoch: i64,
    pub(super) marker: i64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LaneView {
    pub(super) mode: OffsetMode,
    /// (number, source offset, target offset), oldest first; those too that the ledger itself has dropped since.
    pub(super) runs: Vec<(i64, i64, i64)>,
    /// (number, source offset)
    pub(super) checkpoint: Option<(i64, i64)>,
}

pub(super) struct LossView {
    topic: String,
    partition: i64,
    from: i64,
    to: i64,
}

impl LedgerView {
    /// Reads what has been replicated since the last time. Returns the lanes with news.
    pub(super) fn follow(&mut self, topic: Option<&Partition>) -> Result<Vec<(String, i64)>, String> {
        let Some(topic) = topic else { return Ok(Vec::new()) };
        let end = topic.log.high_watermark();
        let mut news = Vec::new();
        if end <= self.read_to {
            return Ok(news);
        }
        for batch in topic.log.read(self.read_to, end) {
            self.read(batch, &mut news)?;
        }
        self.read_to = end;
        Ok(news)
    }

    fn read(&mut self, batch: &Batch, news: &mut Vec<(String, i64)>) -> Result<(), String> {
        let mut bytes = BytesMut::with_capacity(batch.size_bytes());
        bytes.put_slice(batch.header());
        bytes.put_slice(&batch.payload);
        let (records, _) = decode_batches(batch.base_offset(), bytes.freeze())?;
        for record in records {
            let key: Value = serde_json::from_slice(&record.key).map_err(|cause| cause.to_string())?;
            let value = record.value.as_deref().unwrap_or(b"null");
            let value: Value = serde_json::from_slice(value).map_err(|cause| cause.to_string())?;
            let place = || (key["topic"].as_str().unwrap_or_default().to_owned(), int(&key["partition"]));
            match key["t"].as_str() {
                Some("pid") => {
                    let transactional = value["transactional_pids"].as_array();
                    self.transactional_pids = transactional.into_iter().flatten().map(int).collect();
                    self.pids = Some(Pids {
                        data: int(&value["producer_id"]),
                        data_epoch: int(&value["producer_epoch"]),
                        marker: int(&value["marker_producer_id"]),
                    });
                }
                Some("lane") => {
                    self.lanes.entry(place()).or_default().follow(lane(&value));
                    news.push(place());
                }
                Some("loss") => {
                    let (topic, partition) = place();
                    self.losses.push(LossView {
                        topic,
                        partition,
                        from: int(&key["from"]),
                        to: int(&value["to"]),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn pids(&self) -> Option<Pids> {
        self.pids
    }

    /// Whether the link has published that it writes transactions with this producer id.
    pub(super) fn has_transactions_of(&self, producer_id: i64) -> bool {
        self.transactional_pids.contains(&producer_id)
    }

    pub(super) fn lane(&self, topic: &str, partition: i32) -> Option<&LaneView> {
        self.lanes.get(&(topic.to_owned(), i64::from(partition)))
    }

    /// Whether the gap ledger accounts for every offset of `from..to`.
    pub(super) fn accounts_for(&self, topic: &str, partition: i32, from: i64, to: i64) -> bool {
        let mut at = from;
        while at < to {
            let holds = |loss: &&LossView| {
                loss.topic == topic
                    && loss.partition == i64::from(partition)
                    && loss.from <= at
                    && at < loss.to
            };
            let Some(reach) = self.losses.iter().filter(holds).map(|loss| loss.to).max() else {
                return false;
            };
            at = reach;
        }
        true
    }
}

impl LaneView {
    fn follow(&mut self, newer: Self) {
        // Who tells how the log begins has sent nothing under the runs before.
        let from = newer.runs.first().map_or(i64::MAX, |run| if run.1 == SEED { i64::MIN } else { run.0 });
        self.runs.retain(|run| run.0 < from);
        self.runs.extend(newer.runs);
        self.checkpoint = newer.checkpoint;
        self.mode = newer.mode;
    }

    /// Where the link began to read.
    pub(super) fn began_at(&self) -> i64 {
        self.runs.iter().find(|run| run.1 != SEED).map_or(i64::MIN, |run| run.1)
    }

    /// Whether the record with this number only moves offsets on.
    pub(super) fn is_seed(&self, number: i64) -> bool {
        self.run_of(number).is_some_and(|run| run.1 == SEED)
    }

    /// The source offset of the record with this number.
    pub(super) fn source_of(&self, number: i64) -> Option<i64> {
        let run = self.run_of(number)?;
        Some(run.1 + (number - run.0))
    }

    /// The target offset of the record with this number.
    pub(super) fn target_of(&self, number: i64) -> Option<i64> {
        let run = self.run_of(number)?;
        Some(run.2 + (number - run.0))
    }

    /// The number of the record at this target offset.
    pub(super) fn number_at(&self, target_offset: i64) -> Option<i64> {
        let run = self.runs.iter().rev().find(|run| run.2 <= target_offset)?;
        Some(run.0 + (target_offset - run.2))
    }

    fn run_of(&self, number: i64) -> Option<&(i64, i64, i64)> {
        self.runs.iter().rev().find(|run| run.0 <= number)
    }
}

fn lane(value: &Value) -> LaneView {
    let pair = |pair: &Value| (int(&pair[0]), int(&pair[1]));
    let run = |run: &Value| (int(&run[0]), int(&run[1]), int(&run[2]));
    LaneView {
        mode: serde_json::from_value(value["mode"].clone()).unwrap_or_default(),
        runs: value["runs"].as_array().map(|runs| runs.iter().map(run).collect()).unwrap_or_default(),
        checkpoint: value["checkpoint"].is_array().then(|| pair(&value["checkpoint"])),
    }
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(i64::MIN)
}
