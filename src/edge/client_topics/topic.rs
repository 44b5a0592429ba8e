//! A compacted topic of one partition that is written now and then, as MirrorMaker 2 makes them
//! (`MirrorUtils.createSinglePartitionCompactedTopic`).

use super::by_its_own_names;
use crate::config::Cluster;
use crate::control::ledger::encode_batch;
use crate::edge::admin::{Admin, AdminError, check};
use crate::edge::ledger_io;
use bytes::Bytes;
use std::time::Duration;

/// MirrorMaker 2's default.
const REPLICATION: usize = 3;
/// Bytes of records in one batch, well within what brokers take (message.max.bytes is 1 MB).
const BATCH_BYTES_MAX: usize = 256 << 10;
/// What a record takes besides its key and its value, at most.
const RECORD_BYTES: usize = 32;
const NO_PRODUCER: (i64, i16, i32) = (-1, -1, -1);

pub(in crate::edge) struct WrittenTopic {
    admin: Admin,
    /// The cluster's name of it.
    name: String,
    replication_factor: Option<i16>,
    is_there: bool,
}

impl WrittenTopic {
    pub(in crate::edge) fn new(
        cluster: &Cluster,
        client_id: &str,
        timeout: Duration,
        name: String,
        replication_factor: Option<i16>,
    ) -> Self {
        let admin = Admin::new(&by_its_own_names(cluster), client_id, timeout);
        Self { admin, name, replication_factor, is_there: false }
    }

    pub(in crate::edge) fn name(&self) -> &str {
        &self.name
    }

    /// Creates the topic, unless it is there.
    pub(in crate::edge) fn create(&mut self) -> Result<(), AdminError> {
        if self.is_there {
            return Ok(());
        }
        self.admin.observe()?;
        if !self.admin.observed().topics.contains_key(&self.name) {
            let brokers = self.admin.observed().brokers.len();
            let possible = i16::try_from(brokers.clamp(1, REPLICATION)).unwrap_or(1);
            let replication_factor = self.replication_factor.unwrap_or(possible);
            let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
            let created = self.admin.create_topic(&self.name, 1, replication_factor, &configs);
            created.map_err(|error| self.explained(error, replication_factor))?;
        }
        self.is_there = true;
        Ok(())
    }

    /// What is to be done is another thing than for topics that are mirrored.
    fn explained(&self, error: AdminError, replication_factor: i16) -> AdminError {
        let AdminError::Refused { code, .. } = error else { return error };
        let what = format!(
            "creating topic {} with replication factor {replication_factor} (that takes CREATE on it; or create it by hand, with \
             one partition and cleanup.policy=compact)",
            self.name
        );
        AdminError::Refused { what, code }
    }

    /// Writes records with that time. After an error some of them may be there.
    pub(in crate::edge) fn append(
        &mut self,
        records: &[(Bytes, Bytes)],
        timestamp_ms: i64,
    ) -> Result<(), AdminError> {
        let (id, epoch, sequence) = NO_PRODUCER;
        for chunk in chunks(records) {
            let records: Vec<_> =
                chunk.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            self.append_batch(encode_batch(id, epoch, sequence, timestamp_ms, &records))?;
        }
        Ok(())
    }

    /// Writes a batch that has no producer.
    pub(in crate::edge) fn append_batch(&mut self, batch: Bytes) -> Result<(), AdminError> {
        self.create()?;
        let done = ledger_io::produce(&mut self.admin, &self.name, batch).and_then(|answer| {
            check(answer.error_code, &format!("writing to topic {} (that takes WRITE on it)", self.name))
        });
        if done.is_err() {
            // Somebody may have deleted it.
            self.is_there = false;
        }
        self.admin.note(done)
    }
}

/// As many records at a time as fit into a batch, one at least.
fn chunks(records: &[(Bytes, Bytes)]) -> impl Iterator<Item = &[(Bytes, Bytes)]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|(key, value)| {
            bytes += key.len() + value.len() + RECORD_BYTES;
            bytes <= BATCH_BYTES_MAX
        });
        let count = fitting.count().max(1).min(rest.len());
        let (chunk, behind) = rest.split_at(count);
        rest = behind;
        (count > 0).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ledger::decode_batches;

    #[test]
    fn records_go_in_batches_of_bounded_size() {
        let record = |bytes: usize| (Bytes::from_static(b"k"), Bytes::from(vec![0; bytes]));
        let sizes = |records: &[(Bytes, Bytes)]| chunks(records).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&vec![record(100); 5_000]), [1971, 1971, 1058]);
        assert_eq!(sizes(&[record(1), record(BATCH_BYTES_MAX), record(1), record(1)]), [1, 1, 2]);
    }

    #[test]
    fn batches_have_no_producer_and_offsets_from_0_on() {
        let (id, epoch, sequence) = NO_PRODUCER;
        let pair = |key: &'static str| (Bytes::from(key), Some(Bytes::from("v")));
        let batch = encode_batch(id, epoch, sequence, 5, &[pair("a"), pair("b"), pair("c")]);
        let header = crate::wire::batch::BatchHeader::parse(batch.first_chunk().unwrap()).unwrap();
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), NO_PRODUCER);
        assert_eq!((header.batch_bytes, header.record_count), (batch.len(), 3));
        assert_eq!(decode_batches(0, batch).unwrap().1, 3);
    }
}
