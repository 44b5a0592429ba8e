//! Stores as keytool (of JDK 17) and OpenSSL 3 make them, beside this file: an authority, and a certificate of it for a client with
//! its EC key. Passwords: `store-secret`, and `key-secret` for keys that have one of their own. `old.p12` is encrypted as
//! JDK 8 did it.

use super::*;
use proptest::prelude::*;
use rustls::crypto::ring::sign::any_supported_type;

const CA_PEM: &str = include_str!("ca.pem");
const CLIENT_PEM: &str = include_str!("client.pem");
const ENCRYPTED_PEM: &str = include_str!("encrypted.pem");

fn path(name: &str) -> String {
    format!("{}/src/edge/tls/stores/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str, password: Option<&str>) -> StoreFile {
    StoreFile { path: path(name), format: None, password: password.map(Secret::from) }
}

fn store(name: &str, password: Option<&str>, key_password: Option<&str>) -> Identity {
    Identity::Store { file: file(name, password), key_password: key_password.map(Secret::from) }
}

fn authority() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CA_PEM.as_bytes()).unwrap()
}

fn client() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CLIENT_PEM.as_bytes()).unwrap()
}

#[test]
fn trust_stores_of_every_kind_hold_the_authority() {
    for (name, password) in [
        ("trust.p12", Some("store-secret")),
        ("trust.jks", Some("store-secret")),
        ("trust.jks", None),
        ("openssl-trust.p12", Some("store-secret")),
        ("ca.pem", None),
    ] {
        assert_eq!(trusted(&Trust::File(file(name, password))).unwrap(), [authority()], "{name}");
    }
    assert_eq!(trusted(&Trust::Pem(CA_PEM.into())).unwrap(), [authority()]);
    assert!(
        !trusted(&Trust::System).unwrap_or_default().is_empty()
            || !std::path::Path::new("/etc/ssl/certs").exists()
    );
}

#[test]
fn key_stores_of_every_kind_hold_the_key_and_its_chain() {
    for (name, key_password) in
        [("key.p12", None), ("key.jks", Some("key-secret")), ("old.p12", None), ("openssl.p12", None)]
    {
        let (chain, key) = identity(&store(name, Some("store-secret"), key_password)).unwrap();
        let lengths: Vec<usize> = chain.iter().map(|certificate| certificate.len()).collect();
        assert!(chain == [client(), authority()], "{name}: {lengths:?}");
        assert!(any_supported_type(&key).is_ok(), "{name}");
    }
    let both = Identity::Pem {
        // As it comes out of a properties file, where line breaks may be lost.
        chain: CLIENT_PEM.replace('\n', " "),
        key: ENCRYPTED_PEM.replace('\n', "").as_str().into(),
        key_password: Some("key-secret".into()),
    };
    let (chain, key) = identity(&both).unwrap();
    assert_eq!(chain, [client()]);
    assert!(any_supported_type(&key).is_ok());
    let files = Identity::PemFiles {
        chain: path("client.pem"),
        key: path("encrypted.pem"),
        key_password: Some("key-secret".into()),
    };
    assert_eq!(identity(&files).unwrap().0, [client()]);
}

#[test]
fn what_is_wrong_with_a_store_is_said_with_its_name() {
    let as_java = StoreFile { format: Some(StoreFormat::Java), ..file("ca.pem", None) };
    let as_pem = StoreFile { format: Some(StoreFormat::Pem), ..file("trust.jks", None) };
    for (outcome, expected) in [
        (
            trusted(&Trust::File(file("trust.p12", Some("wrong")))).map(drop),
            "trust.p12 cannot be read as PKCS12",
        ),
        (trusted(&Trust::File(file("trust.p12", None))).map(drop), "set ssl.truststore.password"),
        (
            trusted(&Trust::File(file("trust.jks", Some("wrong")))).map(drop),
            "trust.jks: the password is wrong",
        ),
        (trusted(&Trust::File(file("nowhere", None))).map(drop), "cannot read"),
        (trusted(&Trust::File(as_java)).map(drop), "set its type to PEM"),
        (trusted(&Trust::File(as_pem)).map(drop), "is no PEM file"),
        (trusted(&Trust::File(file("tests.rs", None))).map(drop), "tests.rs"),
        (trusted(&Trust::Pem("x".into())).map(drop), "ssl.truststore.certificates holds no certificate"),
        (
            identity(&store("key.jks", Some("store-secret"), Some("wrong"))).map(drop),
            "the password of its key is wrong",
        ),
        (identity(&store("trust.p12", Some("store-secret"), None)).map(drop), "holds no private key"),
        (identity(&store("encrypted.pem", None, None)).map(drop), "set ssl.key.password"),
        (identity(&store("encrypted.pem", None, Some("wrong"))).map(drop), "check ssl.key.password"),
        (identity(&store("client.pem", None, None)).map(drop), "no private key that can be read"),
    ] {
        let error = outcome.unwrap_err();
        assert!(error.contains(expected) && !error.contains("secret"), "{expected}: {error}");
    }
}

proptest! {
    #[test]
    fn damaged_stores_are_refused_and_never_panic(at in 0usize..2_000, byte: u8, cut in 0usize..2_000) {
        for bytes in [&include_bytes!("key.jks")[..], include_bytes!("trust.jks")] {
            let mut bytes = bytes.to_vec();
            let at = at % bytes.len();
            bytes[at] ^= byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            if let Ok(store) = jks::Store::read(&bytes, None) {
                for key in store.keys {
                    let _ = key.open("key-secret");
                }
            }
        }
    }
}
