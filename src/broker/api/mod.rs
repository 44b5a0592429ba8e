//! The APIs, one file each, named after the API and its key. [`SUPPORTED`] is the list that clients are told.

pub mod add_offsets_to_txn_25;
pub mod add_partitions_to_txn_24;
pub mod alter_configs_33;
pub mod api_versions_18;
pub mod create_partitions_37;
pub mod create_topics_19;
pub mod delete_groups_42;
pub mod delete_records_21;
pub mod delete_topics_20;
pub mod describe_cluster_60;
pub mod describe_configs_32;
pub mod describe_groups_15;
pub mod describe_producers_61;
pub mod describe_transactions_65;
pub mod end_txn_26;
pub mod fetch_1;
pub mod find_coordinator_10;
pub mod heartbeat_12;
pub mod incremental_alter_configs_44;
pub mod init_producer_id_22;
pub mod join_group_11;
pub mod leave_group_13;
pub mod list_groups_16;
pub mod list_offsets_2;
pub mod list_transactions_66;
pub mod metadata_3;
pub mod offset_commit_8;
pub mod offset_fetch_9;
pub mod offset_for_leader_epoch_23;
pub mod produce_0;
pub mod sync_group_14;
pub mod txn_offset_commit_28;
pub mod write_txn_markers_27;

use super::groups::{GroupAnswer, Outcome};
use super::{Cluster, Reply, Response};
use crate::time::Now;
use bytes::{Buf, Bytes};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// (API, first version, last version): exactly what is served.
pub const SUPPORTED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 13),
    (ApiKey::Fetch, 4, 13),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 4),
    (ApiKey::EndTxn, 0, 4),
    (ApiKey::WriteTxnMarkers, 1, 2),
    (ApiKey::TxnOffsetCommit, 0, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 1),
];

/// A request's header, and where and when it came in.
#[derive(Clone, Debug)]
pub struct Request {
    pub now: Now,
    pub node: i32,
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: StrBytes,
}

impl Request {
    /// Answers at once. None closes the connection.
    pub fn answer(&self, body: &impl Encodable) -> Option<Reply> {
        self.encode(body).map(Reply::Now)
    }

    /// Clients before the version `fenced_from` of an API do not know PRODUCER_FENCED.
    fn fencing(&self, error: ResponseError, fenced_from: i16) -> ResponseError {
        match error {
            ResponseError::ProducerFenced if self.version < fenced_from => {
                ResponseError::InvalidProducerEpoch
            }
            other => other,
        }
    }

    pub fn encode(&self, body: &impl Encodable) -> Option<Response> {
        Response::encode(self.api, self.version, self.correlation_id, body)
    }
}

impl Cluster {
    /// Reads the header and hands the rest to the API's handler. None: what a broker closes the connection for.
    pub(super) fn dispatch(&mut self, now: Now, node: i32, mut frame: Bytes) -> Option<Reply> {
        let mut head = frame.get(0..8)?;
        let (key, version, correlation_id) = (head.get_i16(), head.get_i16(), head.get_i32());
        let api = ApiKey::try_from(key).ok()?;
        let mut request = Request { now, node, api, version, correlation_id, client_id: StrBytes::default() };
        if !self.versions(api)?.contains(&version) {
            // The one request that an unknown version does not end the connection for.
            return if api == ApiKey::ApiVersions { self.api_versions_unsupported(request) } else { None };
        }
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).ok()?;
        request.client_id = header.client_id.unwrap_or_default();
        let body = &mut frame;
        match api {
            ApiKey::Produce => self.produce(request, &decode(body, version)?),
            ApiKey::Fetch => self.fetch(request, &decode(body, version)?),
            ApiKey::ListOffsets => self.list_offsets(&request, decode(body, version)?),
            ApiKey::Metadata => self.metadata(&request, decode(body, version)?),
            ApiKey::OffsetCommit => self.offset_commit(&request, decode(body, version)?),
            ApiKey::OffsetFetch => self.offset_fetch(&request, decode(body, version)?),
            ApiKey::FindCoordinator => self.find_coordinator(&request, decode(body, version)?),
            ApiKey::JoinGroup => self.join_group(&request, decode(body, version)?),
            ApiKey::Heartbeat => self.heartbeat(&request, &decode(body, version)?),
            ApiKey::LeaveGroup => self.leave_group(&request, decode(body, version)?),
            ApiKey::SyncGroup => self.sync_group(&request, decode(body, version)?),
            ApiKey::DescribeGroups => self.describe_groups(&request, decode(body, version)?),
            ApiKey::ListGroups => self.list_groups(&request, &decode(body, version)?),
            ApiKey::ApiVersions => self.api_versions(&request),
            ApiKey::CreateTopics => self.create_topics(&request, decode(body, version)?),
            ApiKey::InitProducerId => self.init_producer_id(&request, &decode(body, version)?),
            ApiKey::DeleteTopics => self.delete_topics(&request, decode(body, version)?),
            ApiKey::DeleteRecords => self.delete_records_request(&request, decode(body, version)?),
            ApiKey::OffsetForLeaderEpoch => self.offset_for_leader_epoch(&request, decode(body, version)?),
            ApiKey::AddPartitionsToTxn => self.add_partitions_to_txn(&request, decode(body, version)?),
            ApiKey::AddOffsetsToTxn => self.add_offsets_to_txn(&request, &decode(body, version)?),
            ApiKey::EndTxn => self.end_txn(&request, &decode(body, version)?),
            ApiKey::WriteTxnMarkers => self.write_txn_markers(request, body),
            ApiKey::TxnOffsetCommit => self.txn_offset_commit(&request, decode(body, version)?),
            ApiKey::AlterConfigs => self.alter_configs(&request, decode(body, version)?),
            ApiKey::CreatePartitions => self.create_partitions(&request, decode(body, version)?),
            ApiKey::DeleteGroups => self.delete_groups(&request, decode(body, version)?),
            ApiKey::IncrementalAlterConfigs => {
                self.incremental_alter_configs(&request, decode(body, version)?)
            }
            ApiKey::DescribeCluster => self.describe_cluster(&request, &decode(body, version)?),
            ApiKey::DescribeConfigs => self.describe_configs(&request, decode(body, version)?),
            ApiKey::DescribeProducers => self.describe_producers(&request, decode(body, version)?),
            ApiKey::DescribeTransactions => self.describe_transactions(&request, decode(body, version)?),
            ApiKey::ListTransactions => self.list_transactions(&request, &decode(body, version)?),
            _ => None,
        }
    }

    /// The versions of an API that this cluster speaks; None when it does not know the API.
    pub(super) fn versions(&self, api: ApiKey) -> Option<std::ops::RangeInclusive<i16>> {
        let &(_, first, last) = SUPPORTED.iter().find(|(known, ..)| *known == api)?;
        let bound = self.settings.max_versions.iter().find(|(key, _)| *key == api as i16);
        let last = bound.map_or(last, |&(_, version)| version.min(last));
        (first <= last).then_some(first..=last)
    }
}

impl Cluster {
    /// Hands over what group members have waited for.
    pub(super) fn finish_group_answers(&mut self) {
        for GroupAnswer { ticket, request, answer } in self.groups.take_answers() {
            let response = match answer {
                Outcome::Joined(joined) => request.encode(&join_group_11::join_response(&request, joined)),
                Outcome::Synced(synced) => request.encode(&sync_group_14::sync_response(&request, synced)),
            };
            self.delayed.finish(ticket, response.unwrap_or_default());
        }
    }
}

fn decode<T: Decodable>(body: &mut Bytes, version: i16) -> Option<T> {
    T::decode(body, version).ok()
}

/// Text that outlives the request: a copy, as a slice would keep the whole request in memory.
fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_owned())
}
