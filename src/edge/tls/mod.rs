//! TLS, by rustls with ring's cryptography: what a cluster's settings make of it, read anew when the files behind them change.

mod explain;
mod jks;
mod session;
mod stores;
mod verify;

pub use session::{Session, State};

use crate::config::Address;
use crate::config::security::Tls;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use verify::Verifier;

/// What a Kafka broker does with TLS on a port where it expects none.
pub const CLOSED_IN_HANDSHAKE: &str = "it closed the connection during the TLS handshake; if it speaks no TLS on this port, set \
     security.protocol to PLAINTEXT or SASL_PLAINTEXT, or use the port of a TLS listener";

/// The TLS of one cluster.
pub struct Context {
    settings: Tls,
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    stamps: Vec<Option<Stamp>>,
}

/// Tells a file from what it was: length and time of the last change.
type Stamp = (u64, SystemTime);

impl Context {
    pub fn new(settings: &Tls) -> Self {
        Self { settings: settings.clone(), loaded: Mutex::new(None) }
    }

    /// What a new connection is made with. The files are read when they have changed since the last time; when they cannot be
    /// used (somebody may be in the middle of replacing them), what was read before serves on.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let files = stores::files(&self.settings.trust, self.settings.identity.as_ref());
        let stamps: Vec<Option<Stamp>> = files.iter().map(|path| stamp(path)).collect();
        if let Some(loaded) = &*loaded
            && loaded.stamps == stamps
        {
            return Ok(Arc::clone(&loaded.config));
        }
        match (build(&self.settings), &mut *loaded) {
            (Ok(config), loaded) => {
                if loaded.is_some() {
                    tracing::info!(?files, "certificates were read again; new connections use them");
                }
                let config = Arc::new(config);
                *loaded = Some(Loaded { config: Arc::clone(&config), stamps });
                Ok(config)
            }
            (Err(error), Some(loaded)) => {
                tracing::warn!(
                    error,
                    "the changed certificates cannot be used; new connections use those read before"
                );
                loaded.stamps = stamps;
                Ok(Arc::clone(&loaded.config))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The begin of a connection to a broker.
    pub fn session(&self, address: &Address) -> Result<Session, String> {
        let session = Session::new(self.config()?, server_name(address)?);
        session.map_err(|error| self.explain(&error))
    }

    /// What went wrong, and what to do about it.
    pub fn explain(&self, error: &rustls::Error) -> String {
        explain::explain(error, &self.settings)
    }

    /// The certificates that are trusted, for other connections that belong to the cluster.
    pub fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        stores::trusted(&self.settings.trust)
    }
}

/// How a broker's certificate must name it. A name goes into the greeting too (SNI).
pub fn server_name(address: &Address) -> Result<ServerName<'static>, String> {
    ServerName::try_from(address.host.clone())
        .map_err(|_| format!("`{}` is no host name that TLS could check a certificate against", address.host))
}

fn stamp(path: &str) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// The cryptography that everything here uses.
pub fn provider() -> CryptoProvider {
    ring::default_provider()
}

fn build(settings: &Tls) -> Result<ClientConfig, String> {
    let mut provider = provider();
    if !settings.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            // rustls marks those of TLS 1.3 in its names, the registry does not.
            let name = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
            settings.cipher_suites.contains(&name)
        });
    }
    let versions: Vec<_> = [
        settings.protocols.tls13.then_some(&version::TLS13),
        settings.protocols.tls12.then_some(&version::TLS12),
    ]
    .into_iter()
    .flatten()
    .collect();
    let trusted = stores::trusted(&settings.trust)?;
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(trusted.iter().cloned());
    if roots.is_empty() {
        return Err(format!("no certificate of {} can be used", stores::name(&settings.trust)));
    }
    if unusable > 0 {
        tracing::debug!(unusable, "trusted certificates that cannot be used are left out");
    }
    let verifier = Verifier {
        roots,
        trusted,
        check_host: settings.check_host,
        algorithms: provider.signature_verification_algorithms,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .map_err(|error| {
            format!("ssl.enabled.protocols and ssl.cipher.suites leave nothing to speak: {error}")
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &settings.identity {
        None => Ok(config.with_no_client_auth()),
        Some(identity) => {
            let (chain, key) = stores::identity(identity)?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("our certificate and its key cannot be used: {error}"))
        }
    }
}

#[cfg(test)]
mod tests;
