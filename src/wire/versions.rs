//! Which versions of which APIs both sides of a connection speak (KIP-35).

use super::{BadFrame, control};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use std::collections::BTreeMap;

/// Kafka's UNSUPPORTED_VERSION: the broker does not know the asked version of ApiVersions, and answers in version 0.
const UNSUPPORTED_VERSION: i16 = 35;

/// What a broker said that it speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    ranges: BTreeMap<i16, (i16, i16)>,
}

impl Versions {
    /// Reads the answer to an ApiVersions request of `version`, without its size prefix. None: the broker does not know that
    /// version; ask again with 0.
    pub fn read(version: i16, frame: Bytes) -> Result<Option<Self>, BadFrame> {
        let error = frame.get(4..6).map(|error| i16::from_be_bytes([error[0], error[1]]));
        if version > 0 && error == Some(UNSUPPORTED_VERSION) {
            return Ok(None);
        }
        let answer: ApiVersionsResponse = control::decode(version, frame)?;
        match answer.error_code {
            0 => Ok(Some(Self::from(&answer))),
            code => Err(BadFrame::new(
                "answer to ApiVersions",
                format!("the broker answers with error {code}"),
                0,
            )),
        }
    }

    /// What brokers speak that do not know ApiVersions: what Kafka 0.8.2 and 0.9 have in common, as far as it is of use.
    pub fn before_api_versions() -> Self {
        // Fetch, ListOffsets, Metadata, OffsetFetch, FindCoordinator
        Self { ranges: [(1, (0, 0)), (2, (0, 0)), (3, (0, 0)), (9, (1, 1)), (10, (0, 0))].into() }
    }

    /// Which Kafka it is, as far as its Fetch tells.
    pub fn kafka(&self) -> &'static str {
        const FETCH_KEY: i16 = 1;
        match self.ranges.get(&FETCH_KEY).map_or(-1, |&(_, max)| max) {
            ..=1 => "0.9 or older",
            2 => "0.10.0",
            3 => "0.10.1 or 0.10.2",
            4 | 5 => "0.11",
            6 => "1.0",
            7 => "1.1",
            8 | 9 => "2.0",
            10 => "2.1 or 2.2",
            11 => "2.3 to 2.6",
            _ => "2.7 or later",
        }
    }

    /// The newest version of an API that the broker speaks between `min` and `max`, both included.
    pub fn pick(&self, api_key: i16, min: i16, max: i16) -> Option<i16> {
        let (broker_min, broker_max) = *self.ranges.get(&api_key)?;
        let version = max.min(broker_max);
        (version >= min.max(broker_min)).then_some(version)
    }

    /// Why [`Versions::pick`] found nothing, for an error message.
    pub fn why_not(&self, api_key: i16, min: i16, max: i16) -> String {
        let api = api_name(api_key);
        match self.ranges.get(&api_key) {
            None => format!("the broker has no {api} API; Twinlog needs versions {min} to {max}"),
            Some((broker_min, broker_max)) => format!(
                "the broker speaks {api} versions {broker_min} to {broker_max}; Twinlog needs versions {min} to {max}"
            ),
        }
    }
}

impl From<&ApiVersionsResponse> for Versions {
    fn from(answer: &ApiVersionsResponse) -> Self {
        let range = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (api.api_key, (api.min_version, api.max_version))
        };
        Self { ranges: answer.api_keys.iter().map(range).collect() }
    }
}

/// An API's name as Kafka's documentation has it.
pub fn api_name(api_key: i16) -> String {
    ApiKey::try_from(api_key).map_or_else(|_| format!("API {api_key}"), |api| format!("{api:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use kafka_protocol::messages::api_versions_response::ApiVersion;

    fn answer() -> ApiVersionsResponse {
        let api = |key, min, max| {
            ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
        };
        ApiVersionsResponse::default().with_api_keys(vec![api(0, 3, 11), api(1, 4, 17)])
    }

    #[test]
    fn the_newest_version_that_both_speak_is_picked() {
        let versions = Versions::from(&answer());
        assert_eq!(versions.pick(0, 3, 13), Some(11));
        assert_eq!(versions.pick(1, 4, 13), Some(13));
        assert_eq!(versions.pick(0, 12, 13), None);
        assert_eq!(versions.pick(1, 0, 3), None);
        assert_eq!(versions.pick(61, 0, 0), None);
        assert_eq!(
            versions.why_not(0, 12, 13),
            "the broker speaks Produce versions 3 to 11; Twinlog needs versions 12 to 13"
        );
        assert!(versions.why_not(61, 0, 0).contains("DescribeProducers"));
        assert_eq!(api_name(9999), "API 9999");
    }

    #[test]
    fn old_brokers_are_known_by_their_fetch() {
        let old = Versions::before_api_versions();
        assert_eq!((old.pick(1, 0, 13), old.pick(3, 0, 12), old.pick(16, 0, 5)), (Some(0), Some(0), None));
        assert_eq!(old.kafka(), "0.9 or older");
        assert_eq!(Versions::from(&answer()).kafka(), "2.7 or later");
    }

    #[test]
    fn an_old_broker_is_recognised_by_its_answer_in_version_0() {
        let old = ApiVersionsResponse::default().with_error_code(UNSUPPORTED_VERSION);
        let mut frame = control::encode_response(&old, 0, 7);
        frame.advance(4);
        assert_eq!(Versions::read(3, frame).unwrap(), None);
        for version in 0..=3 {
            let mut frame = control::encode_response(&answer(), version, 7);
            frame.advance(4);
            assert_eq!(control::correlation_id(&frame).unwrap(), 7);
            assert_eq!(Versions::read(version, frame).unwrap(), Some(Versions::from(&answer())));
        }
    }
}
