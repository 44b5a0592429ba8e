//! WriteTxnMarkers (27), versions 1 and 2 (with the version of the transaction protocol).
//!
//! Brokers send it among themselves; who may act for the cluster may, too. Each marker is one control record in each of its
//! partitions, appended one after the other and answered when all are replicated. As in `KafkaApis.handleWriteTxnMarkersRequest`
//! the answers of markers with one producer id are merged: of each partition the last one counts.
//!
//! The request is read by hand, as kafka-protocol knows version 1 only.

use super::Request;
use crate::broker::delayed::{Checked, Replication, Ticket, Waiting};
use crate::broker::marker::Marker;
use crate::broker::topic::PartitionKey;
use crate::broker::{Cluster, Reply, Response};
use crate::wire::cursor::{Cursor, Read, Unread};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{ProducerId, TopicName, WriteTxnMarkersResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kafka's `request.timeout.ms`: how long an answer waits for replicas.
const REPLICATION_TIMEOUT_MS: u64 = 30_000;
/// No version of the request has tagged fields; a peer may send some all the same.
const TAGGED_BYTES_MAX: usize = 1 << 10;
/// The answer is the same in all versions; kafka-protocol knows it as this one.
const ANSWER_VERSION: i16 = 1;

/// What each partition answers.
type Codes = BTreeMap<(Arc<str>, i32), i16>;

/// An answer that waits for replicas.
#[derive(Debug)]
pub struct PendingMarkers {
    request: Request,
    /// By producer id, of the markers that are complete.
    merged: BTreeMap<i64, Codes>,
    waiting: Vec<WaitingMarker>,
}

/// A marker that is not replicated in all of its partitions.
#[derive(Debug)]
struct WaitingMarker {
    producer_id: i64,
    codes: Codes,
    awaited: Vec<(Arc<str>, Replication)>,
}

/// One marker and where it is to be written.
struct Wanted {
    marker: Marker,
    transaction_version: i8,
    topics: Vec<(Arc<str>, Vec<i32>)>,
}

impl Cluster {
    pub(super) fn write_txn_markers(&mut self, request: Request, body: &Bytes) -> Option<Reply> {
        let wanted = read_request(body, request.version).ok()?;
        let waiting = wanted.iter().map(|wanted| self.write_marker(&request, wanted)).collect();
        let deadline_us = request.now.after_ms(REPLICATION_TIMEOUT_MS);
        let mut pending = PendingMarkers { request, merged: BTreeMap::new(), waiting };
        pending.collect(|replication| replication.look(&self.topics, false));
        if pending.waiting.is_empty() {
            return Some(Reply::Now(pending.answer()?));
        }
        let keys = pending.keys();
        let ticket = self.delayed.add(Waiting::Markers(pending), deadline_us);
        self.wait_for(ticket, keys);
        Some(Reply::Later(ticket))
    }

    fn write_marker(&mut self, request: &Request, wanted: &Wanted) -> WaitingMarker {
        let mut written = WaitingMarker {
            producer_id: wanted.marker.producer_id,
            codes: Codes::new(),
            awaited: Vec::new(),
        };
        for (topic, partitions) in &wanted.topics {
            for &index in partitions {
                let code = match self.write_marker_to(request, wanted, topic, index) {
                    Err(error) => error.code(),
                    Ok(replication) => {
                        written.awaited.push((Arc::clone(topic), replication));
                        0
                    }
                };
                written.codes.insert((Arc::clone(topic), index), code);
            }
        }
        written
    }

    fn write_marker_to(
        &mut self,
        request: &Request,
        wanted: &Wanted,
        topic: &str,
        index: i32,
    ) -> Result<Replication, ResponseError> {
        let fault = self.faults.take(request.api, request.node, topic, index);
        if let Some((error, false)) = fault {
            return Err(error);
        }
        let key = self.topics.key(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(request.node, -1)?;
        let leader_epoch = partition.leader_epoch;
        let (marker, version) = (wanted.marker, wanted.transaction_version);
        let appended = self.append_marker(request.now, key, marker, version)?;
        if self.faults.repeats_marker(topic, index) {
            self.append_marker(request.now, key, marker, version)?;
            return Err(ResponseError::NetworkException);
        }
        match fault {
            Some((error, _)) => Err(error),
            None => Ok(Replication { key, offset: appended.last_offset + 1, leader_epoch }),
        }
    }

    /// Looks whether a waiting answer is complete, or must go out as it is because it is `due`.
    pub(in crate::broker) fn check_markers(
        &mut self,
        ticket: Ticket,
        mut pending: PendingMarkers,
        due: bool,
    ) -> Checked {
        pending.collect(|replication| replication.look(&self.topics, due));
        if pending.waiting.is_empty() {
            return Checked::Answered(pending.answer().unwrap_or_default());
        }
        self.wait_for(ticket, pending.keys());
        Checked::StillWaiting(Waiting::Markers(pending))
    }
}

impl PendingMarkers {
    /// Takes the markers that are complete into the answer, in the order in which they became so.
    fn collect(&mut self, look: impl Fn(&Replication) -> Option<Result<(), ResponseError>>) {
        let merged = &mut self.merged;
        self.waiting.retain_mut(|marker| {
            let codes = &mut marker.codes;
            marker.awaited.retain(|(topic, replication)| {
                let Some(ended) = look(replication) else { return true };
                if let Err(error) = ended {
                    codes.insert((Arc::clone(topic), replication.key.partition), error.code());
                }
                false
            });
            let is_complete = marker.awaited.is_empty();
            if is_complete {
                merged.entry(marker.producer_id).or_default().append(&mut marker.codes);
            }
            !is_complete
        });
    }

    fn keys(&self) -> BTreeSet<PartitionKey> {
        let awaited = self.waiting.iter().flat_map(|marker| &marker.awaited);
        awaited.map(|(_, replication)| replication.key).collect()
    }

    fn answer(&self) -> Option<Response> {
        let markers = self.merged.iter().map(|(&producer_id, codes)| {
            let mut topics: Vec<WritableTxnMarkerTopicResult> = Vec::new();
            for ((topic, index), &code) in codes {
                let result = WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code);
                match topics.last_mut().filter(|last| last.name.as_str() == &**topic) {
                    Some(last) => last.partitions.push(result),
                    None => topics.push(
                        WritableTxnMarkerTopicResult::default()
                            .with_name(TopicName(super::text(topic)))
                            .with_partitions(vec![result]),
                    ),
                }
            }
            WritableTxnMarkerResult::default().with_producer_id(ProducerId(producer_id)).with_topics(topics)
        });
        let markers = markers.collect();
        let answer = WriteTxnMarkersResponse::default().with_markers(markers);
        Response::encode(self.request.api, ANSWER_VERSION, self.request.correlation_id, &answer)
    }
}

fn read_request(body: &[u8], version: i16) -> Read<Vec<Wanted>> {
    let mut cursor = Cursor::new(body);
    let mut markers = Vec::new();
    for _ in 0..cursor.length(true)? {
        markers.push(read_marker(&mut cursor, version)?);
    }
    skip_tagged_fields(&mut cursor)?;
    Ok(markers)
}

fn read_marker(cursor: &mut Cursor<'_>, version: i16) -> Read<Wanted> {
    let (producer_id, producer_epoch) = (cursor.i64()?, cursor.i16()?);
    let commits = cursor.u8()? != 0;
    let mut topics = Vec::new();
    for _ in 0..cursor.length(true)? {
        let name = cursor.string(true)?;
        let name = std::str::from_utf8(name).map_err(|_| Unread::Bad("a topic's name is not UTF-8"))?;
        let mut partitions = Vec::new();
        for _ in 0..cursor.length(true)? {
            partitions.push(cursor.i32()?);
        }
        skip_tagged_fields(cursor)?;
        topics.push((Arc::from(name), partitions));
    }
    let coordinator_epoch = cursor.i32()?;
    let transaction_version = if version >= 2 { cursor.u8()? as i8 } else { 0 };
    skip_tagged_fields(cursor)?;
    let marker = Marker { producer_id, producer_epoch, commits, coordinator_epoch };
    Ok(Wanted { marker, transaction_version, topics })
}

fn skip_tagged_fields(cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.tagged_fields(TAGGED_BYTES_MAX, |_, _| Ok(()))
}
