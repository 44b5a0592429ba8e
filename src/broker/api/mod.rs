//! The APIs, one file each, named after the API and its key. [`SUPPORTED`] is the list that clients are told.

pub mod api_versions_18;
pub mod create_topics_19;
pub mod describe_configs_32;
pub mod describe_producers_61;
pub mod fetch_1;
pub mod init_producer_id_22;
pub mod list_offsets_2;
pub mod metadata_3;
pub mod offset_for_leader_epoch_23;
pub mod produce_0;

use super::{Cluster, Reply, Response};
use crate::time::Now;
use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// (API, first version, last version): exactly what is served.
pub const SUPPORTED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 13),
    (ApiKey::Fetch, 4, 13),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::DescribeProducers, 0, 0),
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
            ApiKey::ApiVersions => self.api_versions(&request),
            ApiKey::CreateTopics => self.create_topics(&request, decode(body, version)?),
            ApiKey::InitProducerId => self.init_producer_id(&request, &decode(body, version)?),
            ApiKey::OffsetForLeaderEpoch => self.offset_for_leader_epoch(&request, decode(body, version)?),
            ApiKey::DescribeConfigs => self.describe_configs(&request, decode(body, version)?),
            ApiKey::DescribeProducers => self.describe_producers(&request, decode(body, version)?),
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

fn decode<T: Decodable>(body: &mut Bytes, version: i16) -> Option<T> {
    T::decode(body, version).ok()
}

/// Text that outlives the request: a copy, as a slice would keep the whole request in memory.
fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_owned())
}
