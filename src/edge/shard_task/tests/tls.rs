//! The same relay between TLS connections.

use super::*;
use crate::config::Security;
use crate::config::security::{Protocols, Tls, Trust};
use crate::edge::tls::provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server's configuration, and what a client of it has to be told.
fn certificate(tls13: bool) -> (Arc<ServerConfig>, Security) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let tls = Tls {
        trust: Trust::Pem(made.cert.pem()),
        identity: None,
        check_host: true,
        protocols: Protocols { tls12: !tls13, tls13 },
        cipher_suites: Vec::new(),
    };
    (Arc::new(server), Security { tls: Some(tls), ..Security::default() })
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Accepts one connection and does something with it.
fn server<T: Send + 'static>(
    config: &Arc<ServerConfig>,
    buffer_bytes: Option<usize>,
    serve: impl FnOnce(&mut Stream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<(T, Stream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if let Some(bytes) = buffer_bytes {
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, bytes).unwrap();
    }
    let address = listener.local_addr().unwrap();
    let config = Arc::clone(config);
    let thread = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let served = serve(&mut stream);
        (served, stream)
    });
    (address, thread)
}

fn relay(tls13: bool, target_buffer: Option<usize>, change: fn(&mut Relay)) -> Snapshot<usize> {
    let sent: Vec<u8> = frames(17, 8 << 20).concat();
    let wanted = sent.clone();
    let (config, security) = certificate(tls13);
    let (source_at, source) = server(&config, None, move |stream| {
        let mut next = scramble(3);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let piece = if next().is_multiple_of(2) { next() % 100 } else { next() % 100_000 } as usize;
            let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
            stream.write_all(now).unwrap();
            rest = later;
        }
    });
    let bytes = wanted.len();
    let (target_at, target) = server(&config, target_buffer, move |stream| {
        let mut all = vec![0; bytes];
        for (i, piece) in all.chunks_mut(1 << 20).enumerate() {
            if i % 4 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
            stream.read_exact(piece).unwrap();
        }
        all
    });
    let access = Access::new(&security);
    let world = World::start_with([Arc::clone(&access), access], move || {
        let mut relay = Relay::new(How::Copy, source_at, target_at);
        change(&mut relay);
        relay
    });
    let (arrived, _target) = target.join().unwrap();
    assert!(arrived == wanted, "the stream was changed on its way");
    let last = world.shard.join().unwrap();
    drop(source.join().unwrap());
    last
}

#[test]
fn a_stream_over_tls_arrives_whole() {
    for tls13 in [true, false] {
        assert!(relay(tls13, None, |_| {}).pool_bytes <= BUFFER_BYTES);
    }
}

#[test]
fn a_slow_target_blocks_and_loses_nothing_over_tls_either() {
    assert!(relay(true, Some(4096), |_| {}).writer_waits > 0);
    relay(false, Some(4096), |relay| relay.queue_bytes_max = 100_000);
    // A mark that the last bytes cannot reach only costs time.
    relay(true, None, |relay| relay.wrong_mark = true);
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_as_the_cause() {
    let ((config, _), (_, others)) = (certificate(true), certificate(true));
    let (source_at, source) = server(&config, None, |stream| stream.write_all(b"x").is_err());
    let (target_at, target) = server(&config, None, |stream| stream.write_all(b"x").is_err());
    let access = Access::new(&others);
    let world =
        World::start_with([Arc::clone(&access), access], move || Relay::new(How::Copy, source_at, target_at));
    for _ in 0..2 {
        let (_, cause) = world.trouble();
        assert!(cause.contains("not signed by an authority in ssl.truststore.certificates"), "{cause}");
    }
    assert!(source.join().unwrap().0 && target.join().unwrap().0, "the servers were told");
}

#[test]
fn a_peer_that_speaks_no_tls_is_told_as_the_cause() {
    let (_, security) = certificate(true);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let access = Access::new(&security);
    let world = World::start_with([Arc::clone(&access), access], move || Relay::new(How::Copy, at, at));
    // One answers as a Kafka broker would, the other goes, as Kafka brokers do.
    let mut first = listener.accept().unwrap().0;
    first.write_all(b"\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0").unwrap();
    let (_, cause) = world.trouble();
    assert!(cause.contains("does not speak TLS"), "{cause}");
    drop(listener.accept().unwrap());
    let (_, cause) = world.trouble();
    assert!(cause.contains("closed the connection during the TLS handshake"), "{cause}");
}
