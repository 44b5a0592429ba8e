//! Settings of TLS.

use super::{ConfigError, Reader, one_of, wrong};
use crate::config::properties::Value;
use crate::config::{Secret, nearest};

/// How a cluster's TLS connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub trust: Trust,
    /// Our certificate and key, for brokers that ask for one.
    pub identity: Option<Identity>,
    /// The broker's certificate must be for the host that was dialled.
    pub check_host: bool,
    pub protocols: Protocols,
    /// Names as the TLS registry has them (`TLS_AES_256_GCM_SHA384`). Empty: all that are safe.
    pub cipher_suites: Vec<String>,
}

/// Whose signature makes a broker's certificate good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The machine's own list of authorities.
    System,
    File(StoreFile),
    /// Certificates in PEM.
    Pem(String),
}

/// A file with certificates, and with a key where it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFile {
    pub path: String,
    /// None: what the file looks like.
    pub format: Option<StoreFormat>,
    pub password: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFormat {
    Pem,
    /// PKCS12 or JKS; the file itself says which. Java, too, reads either under either name.
    Java,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    Store {
        file: StoreFile,
        key_password: Option<Secret>,
    },
    /// Two files in PEM, as librdkafka has them.
    PemFiles {
        chain: String,
        key: String,
        key_password: Option<Secret>,
    },
    Pem {
        chain: String,
        key: Secret,
        key_password: Option<Secret>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    pub tls12: bool,
    pub tls13: bool,
}

/// Everything that rustls offers. The first three are TLS 1.3's.
const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

pub(super) fn read(reader: &mut Reader) -> Result<Tls, ConfigError> {
    let trust = trust(reader)?;
    let identity = identity(reader)?;
    let check_host = match reader.take("ssl.endpoint.identification.algorithm") {
        None => true,
        Some(value) => one_of(&value, &[("https", true), ("", false), ("none", false)])?,
    };
    if !check_host {
        reader.warnings.push(
            "ssl.endpoint.identification.algorithm is empty: whoever has any certificate of a trusted authority can pose as \
             a broker"
                .into(),
        );
    }
    let protocols = protocols(reader)?;
    let cipher_suites = cipher_suites(reader, protocols)?;
    Ok(Tls { trust, identity, check_host, protocols, cipher_suites })
}

fn trust(reader: &mut Reader) -> Result<Trust, ConfigError> {
    let format = format(reader.take("ssl.truststore.type").as_ref())?;
    let password = reader.take("ssl.truststore.password");
    let pem = reader.take("ssl.truststore.certificates");
    let ca_file = reader.take("ssl.ca.location");
    let file = reader.take("ssl.truststore.location");
    if let Some(second) = [&pem, &ca_file, &file].into_iter().flatten().nth(1) {
        return Err(wrong(second, "the trusted certificates are given twice; leave one of both out"));
    }
    if let Some(unused) = password.as_ref().filter(|_| file.is_none() || format == Some(StoreFormat::Pem)) {
        return Err(wrong(unused, "only a PKCS12 or JKS file at ssl.truststore.location has a password"));
    }
    let store = |value: Value, format| {
        let password = password.map(|value| value.text);
        Trust::File(StoreFile { path: value.text.expose().to_owned(), format, password })
    };
    Ok(match (pem, ca_file, file) {
        (Some(_), ..) if format == Some(StoreFormat::Java) => {
            return Err(ConfigError("ssl.truststore.certificates needs ssl.truststore.type=PEM".into()));
        }
        (Some(pem), ..) => Trust::Pem(pem.text.expose().to_owned()),
        (_, Some(value), _) => store(value, Some(StoreFormat::Pem)),
        (.., Some(value)) => store(value, format),
        (None, None, None) if format.is_some() => {
            return Err(ConfigError("ssl.truststore.type is set, and no ssl.truststore.location".into()));
        }
        (None, None, None) => Trust::System,
    })
}

fn identity(reader: &mut Reader) -> Result<Option<Identity>, ConfigError> {
    let format = format(reader.take("ssl.keystore.type").as_ref())?;
    let password = reader.take("ssl.keystore.password");
    let key_password = reader.take("ssl.key.password");
    let secret = |value: Option<Value>| value.map(|value| value.text);
    if let Some(key) = reader.take("ssl.keystore.key") {
        let why = "ssl.keystore.key needs the certificate that belongs to it";
        let chain = reader.need("ssl.keystore.certificate.chain", why)?;
        let key_password = secret(key_password);
        no_more(reader, &["ssl.keystore.location", "ssl.certificate.location"])?;
        return Ok(Some(Identity::Pem {
            chain: chain.text.expose().to_owned(),
            key: key.text,
            key_password,
        }));
    }
    if let Some(chain) = reader.take("ssl.certificate.location") {
        let key =
            reader.need("ssl.key.location", "ssl.certificate.location needs the key that belongs to it")?;
        let (chain, key) = (chain.text.expose().to_owned(), key.text.expose().to_owned());
        no_more(reader, &["ssl.keystore.location"])?;
        return Ok(Some(Identity::PemFiles { chain, key, key_password: secret(key_password) }));
    }
    if let Some(file) = reader.take("ssl.keystore.location") {
        if let Some(unused) = password.as_ref().filter(|_| format == Some(StoreFormat::Pem)) {
            return Err(wrong(
                unused,
                "a PEM file has no password of its own; that of its key is ssl.key.password",
            ));
        }
        let file = StoreFile { path: file.text.expose().to_owned(), format, password: secret(password) };
        return Ok(Some(Identity::Store { file, key_password: secret(key_password) }));
    }
    match password.or(key_password) {
        Some(unused) => Err(wrong(&unused, "there is a password, and no ssl.keystore.location")),
        None => Ok(None),
    }
}

fn no_more(reader: &mut Reader, keys: &[&str]) -> Result<(), ConfigError> {
    match keys.iter().find_map(|key| reader.take(key)) {
        Some(second) => Err(wrong(&second, "our certificate is given twice; leave one of both out")),
        None => Ok(()),
    }
}

fn format(value: Option<&Value>) -> Result<Option<StoreFormat>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    let formats = [("PEM", StoreFormat::Pem), ("PKCS12", StoreFormat::Java), ("JKS", StoreFormat::Java)];
    one_of(value, &formats).map(Some)
}

fn protocols(reader: &mut Reader) -> Result<Protocols, ConfigError> {
    let enabled = reader.take("ssl.enabled.protocols");
    let newest = reader.take("ssl.protocol");
    // As in Java, where it names the newest protocol that is spoken. Plain `TLS` means any.
    let tls13 = match &newest {
        None => true,
        Some(value) => one_of(value, &[("TLSv1.3", true), ("TLS", true), ("TLSv1.2", false)])?,
    };
    let Some(enabled) = enabled else { return Ok(Protocols { tls12: true, tls13 }) };
    let names: Vec<&str> = list(enabled.text.expose());
    for name in &names {
        if !["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3", "SSLv2Hello"].contains(name) {
            return Err(wrong(&enabled, format!("`{name}` is no protocol; there are TLSv1.2 and TLSv1.3")));
        }
    }
    let protocols =
        Protocols { tls12: names.contains(&"TLSv1.2"), tls13: tls13 && names.contains(&"TLSv1.3") };
    if !protocols.tls12 && !protocols.tls13 {
        return Err(wrong(
            &enabled,
            "Twinlog speaks TLSv1.2 and TLSv1.3, and this allows neither; older ones are broken",
        ));
    }
    let old = names.iter().filter(|name| !["TLSv1.3", "TLSv1.2"].contains(name));
    reader.warnings.extend(old.map(|name| format!("{}: {name} is broken and is not spoken", enabled.origin)));
    Ok(protocols)
}

fn cipher_suites(reader: &mut Reader, protocols: Protocols) -> Result<Vec<String>, ConfigError> {
    let Some(value) = reader.take("ssl.cipher.suites") else { return Ok(Vec::new()) };
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        list(value.text.expose()).into_iter().partition(|name| CIPHER_SUITES.contains(name));
    let is_usable = |name: &&str| match CIPHER_SUITES[..3].contains(name) {
        true => protocols.tls13,
        false => protocols.tls12,
    };
    if !known.iter().any(is_usable) {
        let hint = unknown.first().and_then(|name| nearest(name, CIPHER_SUITES));
        let hint = hint.map_or(String::new(), |near| format!("; did you mean {near}?"));
        return Err(wrong(
            &value,
            format!(
                "none of these can be spoken{hint} There are, for the protocols that are enabled: {}",
                CIPHER_SUITES.iter().filter(|name| is_usable(name)).copied().collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    reader
        .warnings
        .extend(unknown.iter().map(|name| format!("{}: {name} is not known and not spoken", value.origin)));
    Ok(known.into_iter().map(str::to_owned).collect())
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}
