//! One partition of one cluster, read as a consumer of committed records reads it, but batch by batch.

use crate::control::verify::Held;
use crate::edge::admin::{Admin, check};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::ops::Range;

/// The versions that name topics and have transactions.
const FETCH: (i16, i16) = (4, 12);
const READ_COMMITTED: i8 = 1;
const FETCH_BYTES_MAX: i32 = 8 << 20;
const WAIT_MS: i32 = 200;
/// Answers without anything new before the log is given up.
const EMPTY_MAX: u32 = 50;

pub(in crate::edge) struct Reader {
    topic: String,
    partition: i32,
    range: Range<i64>,
    position: i64,
    aborted: Vec<(i64, i64)>,
    empty: u32,
}

impl Reader {
    pub(in crate::edge) fn new(topic: &str, partition: i32, range: Range<i64>) -> Self {
        let position = range.start;
        Self { topic: topic.to_owned(), partition, range, position, aborted: Vec::new(), empty: 0 }
    }

    pub(in crate::edge) fn is_done(&self) -> bool {
        self.position >= self.range.end
    }

    /// The next batches of committed records, and how many bytes the answer had. Gaps bring none.
    pub(in crate::edge) fn next(&mut self, admin: &mut Admin) -> Result<(Vec<Held>, u64), String> {
        let leader = admin
            .leader(&self.topic, usize::try_from(self.partition).unwrap_or(usize::MAX))
            .map_err(|error| error.to_string())?;
        let partition = FetchPartition::default()
            .with_partition(self.partition)
            .with_fetch_offset(self.position)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(FETCH_BYTES_MAX);
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partitions(vec![partition]);
        let answer = admin.client().call(leader, FETCH.0, FETCH.1, |_| {
            FetchRequest::default()
                .with_max_wait_ms(WAIT_MS)
                .with_min_bytes(1)
                .with_max_bytes(FETCH_BYTES_MAX)
                .with_isolation_level(READ_COMMITTED)
                .with_session_epoch(-1)
                .with_topics(vec![topic])
        });
        let answer = admin.noted(answer).map_err(|error| error.to_string())?;
        let partition =
            answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
        let partition = partition.ok_or("the broker left the partition out")?;
        check(partition.error_code, "reading").map_err(|error| error.to_string())?;
        for aborted in partition.aborted_transactions.unwrap_or_default() {
            self.aborted.push((aborted.producer_id.0, aborted.first_offset));
        }
        let mut records = partition.records.unwrap_or_default();
        let bytes = records.len() as u64;
        let before = self.position;
        let mut batches = Vec::new();
        while let Some(batch) = Held::take(&mut records)? {
            let header = batch.header;
            if header.base_offset >= self.range.end {
                self.position = self.range.end;
                break;
            }
            self.position = self.position.max(header.next_offset());
            if header.is_control() {
                self.aborted.retain(|&(id, first)| id != header.producer_id || first > header.base_offset);
                continue;
            }
            let is_aborted =
                |&(id, first): &(i64, i64)| id == header.producer_id && first <= header.base_offset;
            let is_left_out = header.is_transactional() && self.aborted.iter().any(is_aborted);
            if header.last_offset() >= self.range.start && header.record_count > 0 && !is_left_out {
                batches.push(batch);
            }
        }
        // Compaction may have taken all that is left.
        let end = if partition.last_stable_offset >= 0 {
            partition.last_stable_offset
        } else {
            partition.high_watermark
        };
        if bytes == 0 && self.position >= end {
            self.position = self.range.end;
        }
        self.empty = if self.position == before { self.empty + 1 } else { 0 };
        if self.empty > EMPTY_MAX {
            return Err(format!("offset {} cannot be read", self.position));
        }
        Ok((batches, bytes))
    }
}
