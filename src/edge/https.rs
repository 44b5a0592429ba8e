//! A client of HTTP and HTTPS, for what stands beside the clusters: token endpoints and Schema Registries.

use super::tls;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Trusts the authorities of `tls`, beside the machine's. Answers of failure are answers, too; redirects are not followed.
pub(super) fn agent(tls: Option<&tls::Context>, timeout: Duration) -> Result<ureq::Agent, String> {
    let mut trusted = rustls_native_certs::load_native_certs().certs;
    if let Some(tls) = tls {
        trusted.extend(tls.trusted()?);
    }
    let trusted = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(trusted)))
        .unversioned_rustls_crypto_provider(Arc::new(tls::provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls)
        .build();
    Ok(config.into())
}
