//! Certificates and keys out of the files that people have: PEM, PKCS12, JKS.

use super::jks;
use crate::config::Secret;
use crate::config::security::{Identity, StoreFile, StoreFormat, Trust};
use p12_keystore::Pkcs12Archive;
use pkcs8::der::Encode;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sec1::EcPrivateKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

pub(super) type Certificates = Vec<CertificateDer<'static>>;
pub(super) type Key = PrivateKeyDer<'static>;

const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// RFC 7468, section 2; the reader of encrypted keys insists on it.
const PEM_LINE_CHARS: usize = 64;

/// The certificates whose signature counts. Every error says in which file or setting it was met.
pub(super) fn trusted(trust: &Trust) -> Result<Certificates, String> {
    let certificates = match trust {
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err(
                    "this machine has no list of trusted authorities (package ca-certificates); set ssl.truststore.location \
                     to the brokers' CA"
                        .into(),
                );
            }
            found.certs
        }
        Trust::Pem(text) => certificates("ssl.truststore.certificates", in_lines(text).as_bytes())?,
        Trust::File(file) => {
            let bytes = read(&file.path)?;
            match kind(file, &bytes)? {
                Kind::Pem => certificates(&file.path, &bytes)?,
                kind => java_trusted(file, kind, &bytes)?,
            }
        }
    };
    match certificates.is_empty() {
        true => Err(format!("{} holds no certificate", name(trust))),
        false => Ok(certificates),
    }
}

/// What the trusted certificates are called in messages.
pub(super) fn name(trust: &Trust) -> String {
    match trust {
        Trust::System => "this machine's list of trusted authorities".into(),
        Trust::Pem(_) => "ssl.truststore.certificates".into(),
        Trust::File(file) => format!("the trust store {}", file.path),
    }
}

/// Our certificate with those that vouch for it, and its key.
pub(super) fn identity(identity: &Identity) -> Result<(Certificates, Key), String> {
    let (chain, key) = match identity {
        Identity::Pem { chain, key, key_password } => (
            certificates("ssl.keystore.certificate.chain", in_lines(chain).as_bytes())?,
            self::key("ssl.keystore.key", &in_lines(key.expose()), key_password.as_ref())?,
        ),
        Identity::PemFiles { chain, key, key_password } => (
            certificates(chain, &read(chain)?)?,
            self::key(key, &text(key, read(key)?)?, key_password.as_ref())?,
        ),
        Identity::Store { file, key_password } => {
            let bytes = read(&file.path)?;
            match kind(file, &bytes)? {
                Kind::Pem => (
                    certificates(&file.path, &bytes)?,
                    self::key(&file.path, &text(&file.path, bytes)?, key_password.as_ref())?,
                ),
                kind => java_identity(file, kind, &bytes, key_password.as_ref())?,
            }
        }
    };
    match chain.first() {
        None => Err("our key has no certificate with it".into()),
        Some(certificate) => {
            let key = with_public_key(&key, certificate).unwrap_or(key);
            Ok((chain, key))
        }
    }
}

/// Java leaves the public key out of an elliptic key; ring wants to see it there. It stands in the certificate. None: there is
/// nothing to add.
fn with_public_key(key: &Key, certificate: &CertificateDer<'_>) -> Option<Key> {
    let PrivateKeyDer::Pkcs8(der) = key else { return None };
    let info = PrivateKeyInfoRef::try_from(der.secret_pkcs8_der()).ok()?;
    let mut elliptic = EcPrivateKey::try_from(info.private_key.as_bytes()).ok()?;
    if elliptic.public_key.is_some() {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    elliptic.public_key = Some(&certificate.public_key().subject_public_key.data);
    let elliptic = Zeroizing::new(elliptic.to_der().ok()?);
    let whole = PrivateKeyInfoRef::new(info.algorithm, OctetStringRef::new(&elliptic).ok()?);
    Some(pkcs8_key(whole.to_der().ok()?))
}

/// The files that are read, so that a change can be noticed.
pub(super) fn files<'a>(trust: &'a Trust, identity: Option<&'a Identity>) -> Vec<&'a str> {
    let mut files = Vec::new();
    if let Trust::File(file) = trust {
        files.push(file.path.as_str());
    }
    match identity {
        Some(Identity::Store { file, .. }) => files.push(&file.path),
        Some(Identity::PemFiles { chain, key, .. }) => files.extend([chain.as_str(), key]),
        Some(Identity::Pem { .. }) | None => {}
    }
    files
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Pem,
    Pkcs12,
    Jks,
}

fn kind(file: &StoreFile, bytes: &[u8]) -> Result<Kind, String> {
    let path = &file.path;
    let is_pem = bytes.windows(10).any(|window| window == b"-----BEGIN");
    match (file.format, is_pem) {
        (Some(StoreFormat::Java), true) => Err(format!("{path} is a PEM file; set its type to PEM")),
        (Some(StoreFormat::Pem), false) => Err(format!("{path} is no PEM file")),
        (_, true) => Ok(Kind::Pem),
        _ if bytes.starts_with(&jks::MAGIC) => Ok(Kind::Jks),
        _ if bytes.starts_with(&jks::MAGIC_JCEKS) => Err(format!(
            "{path} is a JCEKS file; convert it with keytool -importkeystore -deststoretype PKCS12"
        )),
        // A DER sequence.
        _ if bytes.first() == Some(&0x30) => Ok(Kind::Pkcs12),
        _ => Err(format!("{path} is neither PEM nor PKCS12 nor JKS")),
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))
}

fn text(path: &str, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("{path} is not text"))
}

// PEM.

fn certificates(name: &str, pem: &[u8]) -> Result<Certificates, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{name} has a certificate that cannot be read: {error}"))
}

fn key(name: &str, pem: &str, password: Option<&Secret>) -> Result<Key, String> {
    let begin = pem.find(ENCRYPTED_BEGIN);
    let end = pem.find(ENCRYPTED_END).map(|at| at + ENCRYPTED_END.len());
    let Some(encrypted) = begin.zip(end).and_then(|(begin, end)| pem.get(begin..end)) else {
        return PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("{name} has no private key that can be read: {error}"));
    };
    let password = password.ok_or_else(|| format!("the key in {name} is encrypted; set ssl.key.password"))?;
    let (_, document) = SecretDocument::from_pem(&in_lines(encrypted))
        .map_err(|error| format!("the encrypted key in {name} cannot be read: {error}"))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| format!("the encrypted key in {name} cannot be read: {error}"))?;
    let key = info
        .decrypt(password.expose())
        .map_err(|_| format!("the key in {name} cannot be decrypted; check ssl.key.password"))?;
    Ok(pkcs8_key(key.as_bytes().to_vec()))
}

fn pkcs8_key(der: Vec<u8>) -> Key {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))
}

/// PEM as it stands in a `.properties` file, where line breaks may have become blanks or nothing.
fn in_lines(pem: &str) -> String {
    let mut lines = String::with_capacity(pem.len() + 64);
    for (index, part) in pem.split("-----").enumerate() {
        if index % 2 == 1 {
            // A marker.
            let begin = if lines.ends_with('\n') || lines.is_empty() { "" } else { "\n" };
            lines.push_str(&format!("{begin}-----{part}-----\n"));
        } else {
            let body: Vec<char> = part.chars().filter(|c| !c.is_whitespace()).collect();
            body.chunks(PEM_LINE_CHARS).for_each(|line| lines.extend(line.iter().chain(&['\n'])));
        }
    }
    lines
}

// Java's.

fn java_trusted(file: &StoreFile, kind: Kind, bytes: &[u8]) -> Result<Certificates, String> {
    let path = &file.path;
    let password = file.password.as_ref().map(Secret::expose);
    if kind == Kind::Jks {
        let store = jks::Store::read(bytes, password).map_err(|error| format!("{path}: {error}"))?;
        return Ok(store.trusted.into_iter().map(CertificateDer::from).collect());
    }
    let archive = pkcs12(path, bytes, password, "ssl.truststore.password")?;
    // Java marks those that are trusted; OpenSSL does not mark any.
    let is_marked = archive.certs.iter().any(|bag| bag.trusted);
    let trusted = archive.certs.iter().filter(|bag| bag.trusted || !is_marked);
    Ok(trusted.map(|bag| CertificateDer::from(bag.cert.as_der().to_vec())).collect())
}

fn java_identity(
    file: &StoreFile,
    kind: Kind,
    bytes: &[u8],
    key_password: Option<&Secret>,
) -> Result<(Certificates, Key), String> {
    let path = &file.path;
    let no_key = || format!("{path} holds no private key with its certificate");
    let password = file.password.as_ref().map(Secret::expose);
    if kind == Kind::Jks {
        let store = jks::Store::read(bytes, password).map_err(|error| format!("{path}: {error}"))?;
        let entry = store.keys.into_iter().next().ok_or_else(no_key)?;
        let key_password = key_password.map(Secret::expose).or(password);
        let key_password = key_password.ok_or_else(|| format!("{path}: set ssl.keystore.password"))?;
        let key = entry.open(key_password).map_err(|error| format!("{path}: {error}"))?;
        return Ok((entry.chain.into_iter().map(CertificateDer::from).collect(), pkcs8_key(key)));
    }
    let archive = pkcs12(path, bytes, password, "ssl.keystore.password")?;
    let bag = archive.keys.first().ok_or_else(no_key)?;
    let id = bag.local_key_id.as_ref().map(AsRef::as_ref);
    let ours = archive.certs.iter().find(|cert| id.is_some() && cert.local_key_id.as_deref() == id);
    let ours = ours.or(archive.certs.first()).ok_or_else(no_key)?;
    let mut chain = vec![&ours.cert];
    while let Some(issuer) = archive.certs.iter().map(|bag| &bag.cert).find(|cert| {
        let last = chain[chain.len() - 1];
        cert.subject() == last.issuer() && !chain.iter().any(|known| known.as_der() == cert.as_der())
    }) {
        chain.push(issuer);
    }
    let chain = chain.into_iter().map(|cert| CertificateDer::from(cert.as_der().to_vec())).collect();
    Ok((chain, pkcs8_key(bag.key.as_der().to_vec())))
}

fn pkcs12(path: &str, bytes: &[u8], password: Option<&str>, key: &str) -> Result<Pkcs12Archive, String> {
    let given =
        password.ok_or_else(|| format!("{path} is a PKCS12 file, which has a password; set {key}"))?;
    Pkcs12Archive::from_pkcs12(bytes, given)
        .map_err(|error| format!("{path} cannot be read as PKCS12: {error}; check {key}"))
}

#[cfg(test)]
mod tests;
