//! What an error of TLS means for whoever set it up.

use super::stores;
use crate::config::security::Tls;
use rustls::{AlertDescription as Alert, CertificateError, Error, InvalidMessage};

pub(super) fn explain(error: &Error, settings: &Tls) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error, settings),
        Error::AlertReceived(alert) => self::alert(*alert, settings),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion | InvalidMessage::MessageTooLarge,
        ) => "the other side does not speak TLS on this port; set security.protocol to PLAINTEXT or SASL_PLAINTEXT, or use the \
              port of a TLS listener"
            .into(),
        Error::PeerIncompatible(cause) => format!(
            "the broker and we have no way of TLS in common ({cause:?}); look at ssl.enabled.protocols and ssl.cipher.suites on \
             both sides"
        ),
        Error::NoCertificatesPresented => "the broker has no certificate".into(),
        other => format!("TLS: {other}"),
    }
}

fn certificate(error: &CertificateError, settings: &Tls) -> String {
    let days = |seconds: u64| seconds / 86_400;
    match error {
        // A bad signature: an authority of the same name, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the broker's certificate is not signed by an authority in {}; put the brokers' CA there, or set \
             ssl.truststore.location to a store that has it",
            stores::name(&settings.trust)
        ),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the broker's certificate (or one that vouches for it) expired {} days ago; renew it on the broker",
            days(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        CertificateError::Expired => "the broker's certificate has expired; renew it on the broker".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet; check the clocks of both machines".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the broker's certificate is not for {}, but for {}; use one of those names, have the certificate made with this one \
             (subjectAltName), or, where that risk can be taken, set ssl.endpoint.identification.algorithm to nothing",
            expected.to_str(),
            match presented.as_slice() {
                [] => "no name at all".into(),
                names => names.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            }
        ),
        CertificateError::NotValidForName => "the broker's certificate is not for this host name".into(),
        other => format!("the broker's certificate is not good: {other:?}"),
    }
}

/// A name as webpki prints it (`DnsName("broker")`, `IpAddress(127.0.0.1)`), without what is around it.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn alert(alert: Alert, settings: &Tls) -> String {
    let has_identity = settings.identity.is_some();
    match alert {
        Alert::CertificateRequired | Alert::BadCertificate | Alert::HandshakeFailure if !has_identity => {
            format!(
                "the broker asks for a client certificate (it ends with {alert:?}); set ssl.keystore.location to a store with a \
             certificate that it trusts"
            )
        }
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::UnsupportedCertificate
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::AccessDenied
        | Alert::DecryptError
        | Alert::CertificateRequired
            if has_identity =>
        {
            format!(
                "the broker does not take our certificate ({alert:?}); the CA that signed what is in ssl.keystore.* must be in \
                 the broker's trust store, and the certificate must be valid"
            )
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => format!(
            "the broker and we have no way of TLS in common ({alert:?}); look at ssl.enabled.protocols and ssl.cipher.suites on \
             both sides"
        ),
        other => format!("the broker ends TLS with {other:?}; its server.log says why"),
    }
}
