//! ApiVersions (18), versions 0 to 4: exactly what is served, within what the settings pretend.
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and the list (KIP-511).

use super::{Request, SUPPORTED};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

impl Cluster {
    pub(super) fn api_versions(&self, request: &Request) -> Option<Reply> {
        request.answer(&self.supported())
    }

    pub(super) fn api_versions_unsupported(&self, mut request: Request) -> Option<Reply> {
        request.version = 0;
        request.answer(&self.supported().with_error_code(ResponseError::UnsupportedVersion.code()))
    }

    fn supported(&self) -> ApiVersionsResponse {
        let keys = SUPPORTED.iter().filter_map(|&(api, ..)| {
            let versions = self.versions(api)?;
            Some(
                ApiVersion::default()
                    .with_api_key(api as i16)
                    .with_min_version(*versions.start())
                    .with_max_version(*versions.end()),
            )
        });
        ApiVersionsResponse::default().with_api_keys(keys.collect())
    }
}
