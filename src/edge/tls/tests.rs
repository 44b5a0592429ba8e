//! Sessions against rustls's own server, with certificates made for the occasion.

use super::*;
use crate::config::Secret;
use crate::config::security::{Identity, Protocols, Trust};
use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::io::{IoSlice, Read, Write};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate in PEM and DER, and its key.
struct Made {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

fn certificate(authority: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let made = params.signed_by(&key, authority).unwrap();
    Made { pem: made.pem(), der: made.der().clone(), key }
}

fn settings(trusted: &str) -> Tls {
    Tls {
        trust: Trust::Pem(trusted.to_owned()),
        identity: None,
        check_host: true,
        protocols: Protocols { tls12: true, tls13: true },
        cipher_suites: Vec::new(),
    }
}

fn with_identity(trusted: &str, made: &Made) -> Tls {
    let (chain, key) = (made.pem.clone(), Secret::from(made.key.serialize_pem()));
    Tls { identity: Some(Identity::Pem { chain, key, key_password: None }), ..settings(trusted) }
}

fn server(made: &Made, clients: Option<&Authority>) -> ServerConnection {
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(made.key.serialize_der()).unwrap();
    let config = config.with_single_cert(vec![made.der.clone()], key).unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

fn client(context: &Context, host: &str) -> Session {
    context.session(&Address { host: host.into(), port: 9092 }).unwrap()
}

/// Hands bytes from one side to the other, in pieces of at most `step`. False: there were none.
fn to_server(
    client: &mut Session,
    server: &mut ServerConnection,
    heard: &mut Vec<u8>,
    step: usize,
) -> Result<bool, rustls::Error> {
    let n = client.outgoing().len().min(step);
    let mut piece = client.outgoing()[..n].to_vec();
    client.sent(n);
    let mut piece: &[u8] = &mut piece;
    while !piece.is_empty() {
        server.read_tls(&mut piece).unwrap();
        server.process_new_packets()?;
        let _ = server.reader().read_to_end(heard);
    }
    Ok(n > 0)
}

fn to_client(
    server: &mut ServerConnection,
    client: &mut Session,
    into: &mut BytesMut,
    step: usize,
) -> Result<bool, rustls::Error> {
    let mut wire = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut wire).unwrap();
    }
    for piece in wire.chunks(step) {
        let mut piece = piece;
        while !piece.is_empty() {
            let room = client.room();
            let n = room.len().min(piece.len());
            room[..n].copy_from_slice(&piece[..n]);
            piece = &piece[n..];
            client.received(n, into)?;
        }
    }
    Ok(!wire.is_empty())
}

/// The client's word on a handshake that does not come about, or that the server ends just behind it.
fn trouble(settings: &Tls, host: &str, mut server: ServerConnection) -> String {
    let context = Context::new(settings);
    let mut client = client(&context, host);
    let mut into = BytesMut::with_capacity(1024);
    loop {
        // Before it goes the server says why.
        let heard = to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX);
        match to_client(&mut server, &mut client, &mut into, usize::MAX) {
            Err(error) => return context.explain(&error),
            Ok(false) if !matches!(heard, Ok(true)) => panic!("nothing is wrong"),
            Ok(_) => {}
        }
    }
}

#[test]
fn bytes_come_through_whole_however_they_are_cut() {
    let authority = authority();
    let made = certificate(&authority, "broker", |_| ());
    let plain: Vec<u8> = (0..700_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (step, room, tls13) in
        [(1_000_000, 1 << 20, true), (1_000_000, 1 << 20, false), (7, 100, true), (4_321, 9_999, false)]
    {
        let plain = &plain[..plain.len().min(step * 2_000)];
        let protocols = Protocols { tls12: !tls13, tls13 };
        let context = Context::new(&Tls { protocols, ..settings(&authority.pem()) });
        let (mut client, mut server) = (client(&context, "broker"), server(&made, None));
        server.set_buffer_limit(None);
        let mut into = BytesMut::new();
        while client.state() == State::Handshaking {
            to_server(&mut client, &mut server, &mut Vec::new(), step).unwrap();
            to_client(&mut server, &mut client, &mut into, step).unwrap();
        }
        while to_server(&mut client, &mut server, &mut Vec::new(), step).unwrap() {}
        // To the server, out of slices of all sizes.
        let mut heard = Vec::new();
        let mut rest = plain;
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(61));
            let (large, tail) = tail.split_at(tail.len().min(130_000));
            let slices = [IoSlice::new(head), IoSlice::new(large), IoSlice::new(&tail[..tail.len().min(16)])];
            let n = client.encrypt(&slices).unwrap();
            assert!(n > 0);
            rest = &rest[n..];
            while to_server(&mut client, &mut server, &mut heard, step).unwrap() {}
        }
        assert!(heard == plain, "step {step}");
        // To the client, whose reader has little room at a time and sends in between.
        let mut heard = Vec::new();
        for piece in plain.chunks(100_000) {
            server.writer().write_all(piece).unwrap();
            let mut into = BytesMut::with_capacity(room);
            to_client(&mut server, &mut client, &mut into, step).unwrap();
            client.encrypt(&[IoSlice::new(b"request")]).unwrap();
            loop {
                heard.extend_from_slice(&into);
                into.clear();
                client.take(&mut into).unwrap();
                if into.is_empty() {
                    break;
                }
                assert!(into.capacity() <= 2 * room, "the reader's buffer is never grown");
            }
            assert!(!client.has_plain());
        }
        assert!(heard == plain, "step {step}");
        server.send_close_notify();
        to_client(&mut server, &mut client, &mut BytesMut::new(), step).unwrap();
        assert_eq!(client.state(), State::Ended);
    }
}

#[test]
fn a_certificate_is_checked_and_the_cause_is_told() {
    let (authority, other) = (authority(), self::authority());
    let made = certificate(&authority, "broker", |_| ());
    let trusted = settings(&authority.pem());
    let unknown = trouble(&settings(&other.pem()), "broker", server(&made, None));
    assert!(unknown.contains("not signed by an authority in ssl.truststore.certificates"), "{unknown}");
    let host = trouble(&trusted, "elsewhere", server(&made, None));
    assert!(
        host.contains("not for elsewhere, but for DnsName(\"broker\")") || host.contains("not for elsewhere"),
        "{host}"
    );
    assert!(host.contains("ssl.endpoint.identification.algorithm"), "{host}");
    let expired = certificate(&authority, "broker", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let expired = trouble(&trusted, "broker", server(&expired, None));
    assert!(expired.contains("expired") && expired.contains("days ago"), "{expired}");
    let early = certificate(&authority, "broker", |params| params.not_before = date_time_ymd(4000, 1, 1));
    let early = trouble(&trusted, "broker", server(&early, None));
    assert!(early.contains("not valid yet"), "{early}");
}

#[test]
fn a_client_certificate_is_shown_when_it_is_asked_for() {
    let (authority, other) = (authority(), self::authority());
    let made = certificate(&authority, "broker", |_| ());
    let asks = || server(&made, Some(&authority));
    let missing = trouble(&settings(&authority.pem()), "broker", asks());
    assert!(missing.contains("set ssl.keystore.location"), "{missing}");
    let foreign = certificate(&other, "client", |_| ());
    let foreign = trouble(&with_identity(&authority.pem(), &foreign), "broker", asks());
    assert!(foreign.contains("does not take our certificate"), "{foreign}");
    let ours = certificate(&authority, "client", |_| ());
    let context = Context::new(&with_identity(&authority.pem(), &ours));
    let (mut client, mut server) = (client(&context, "broker"), asks());
    while client.state() == State::Handshaking || !client.outgoing().is_empty() {
        to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap();
        to_client(&mut server, &mut client, &mut BytesMut::new(), usize::MAX).unwrap();
    }
    assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
}

#[test]
fn host_names_need_not_be_checked() {
    let authority = authority();
    let made = certificate(&authority, "broker", |_| ());
    let context = Context::new(&Tls { check_host: false, ..settings(&authority.pem()) });
    let (mut client, mut server) = (client(&context, "10.0.0.1"), server(&made, None));
    while client.state() == State::Handshaking {
        to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap();
        to_client(&mut server, &mut client, &mut BytesMut::new(), usize::MAX).unwrap();
    }
}

/// What `openssl req -x509` makes: an authority that is a server itself.
#[test]
fn a_brokers_own_certificate_may_stand_in_the_trust_store() {
    let make = |not_after: i32| {
        let mut params = CertificateParams::new(vec!["broker".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(not_after, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Made { pem: made.pem(), der: made.der().clone(), key }
    };
    let made = make(3000);
    let context = Context::new(&settings(&made.pem));
    let (mut client, mut server) = (client(&context, "broker"), server(&made, None));
    while client.state() == State::Handshaking {
        to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap();
        to_client(&mut server, &mut client, &mut BytesMut::new(), usize::MAX).unwrap();
    }
    let old = make(2020);
    let expired = trouble(&settings(&old.pem), "broker", self::server(&old, None));
    assert!(expired.contains("expired"), "{expired}");
}

#[test]
fn a_peer_without_tls_is_recognised() {
    let authority = authority();
    let context = Context::new(&settings(&authority.pem()));
    for answer in [&b"\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let mut client = client(&context, "broker");
        client.room()[..answer.len()].copy_from_slice(answer);
        let error = client.received(answer.len(), &mut BytesMut::new()).unwrap_err();
        let explained = context.explain(&error);
        assert!(explained.contains("does not speak TLS"), "{explained}");
    }
}

#[test]
fn damaged_bytes_end_a_session_and_never_panic() {
    let authority = authority();
    let made = certificate(&authority, "broker", |_| ());
    let context = Context::new(&settings(&authority.pem()));
    let mut unnoticed = 0;
    for at in 0..300 {
        let (mut client, mut server) = (client(&context, "broker"), server(&made, None));
        to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let at = at * wire.len() / 300;
        wire[at] ^= 0x55;
        client.room()[..wire.len()].copy_from_slice(&wire);
        let received = client.received(wire.len(), &mut BytesMut::new());
        unnoticed += usize::from(received.is_ok() && client.state() == State::Open);
    }
    // A record's version is not looked at (RFC 8446, section 5.1).
    assert!(unnoticed < 12, "{unnoticed} damaged bytes were not noticed");
}

#[test]
fn changed_files_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let (first, second) = (authority(), authority());
    std::fs::write(&path, first.pem()).unwrap();
    let file = crate::config::security::StoreFile {
        path: path.to_string_lossy().into_owned(),
        format: None,
        password: None,
    };
    let context = Context::new(&Tls { trust: Trust::File(file), ..settings("") });
    let made = certificate(&second, "broker", |_| ());
    let shakes_hands = || {
        let (mut client, mut server) = (client(&context, "broker"), server(&made, None));
        for _ in 0..3 {
            let _ = to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX);
            let _ = to_client(&mut server, &mut client, &mut BytesMut::new(), usize::MAX);
        }
        client.state() == State::Open
    };
    assert!(!shakes_hands());
    let before = context.config().unwrap();
    assert!(Arc::ptr_eq(&before, &context.config().unwrap()), "nothing has changed");
    // Half of a file is no reason to stop.
    std::fs::write(&path, "-----BEGIN").unwrap();
    assert!(Arc::ptr_eq(&before, &context.config().unwrap()));
    std::fs::write(&path, format!("{}\n{}", first.pem(), second.pem())).unwrap();
    assert!(shakes_hands());
}

#[test]
fn cipher_suites_and_protocols_are_those_that_were_chosen() {
    let authority = authority();
    let made = certificate(&authority, "broker", |_| ());
    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let context = Context::new(&Tls {
        protocols: Protocols { tls12: true, tls13: false },
        cipher_suites: vec![suite.into()],
        ..settings(&authority.pem())
    });
    let (mut client, mut server) = (client(&context, "broker"), server(&made, None));
    while client.state() == State::Handshaking {
        to_server(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap();
        to_client(&mut server, &mut client, &mut BytesMut::new(), usize::MAX).unwrap();
    }
    assert_eq!(format!("{:?}", server.negotiated_cipher_suite().unwrap().suite()), suite);
}
