//! A connection that has to log in, against a broker that is made up.

use super::*;
use bytes::Buf;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsResponse, SaslAuthenticateResponse, SaslHandshakeResponse};

fn at(ms: u64) -> Now {
    Now { mono_us: ms * 1000, wall_ms: 0 }
}

fn login() -> Login {
    Login::Plain { username: "alice".into(), password: "hunter2".into() }
}

/// Key and correlation id of the next request that goes out.
fn sent(conn: &mut Conn<u8>) -> Option<(i16, i32)> {
    let Some(Out::Bytes(mut bytes)) = conn.poll_transmit() else { return None };
    bytes.advance(4);
    let header = control::decode_request_header(&mut bytes).unwrap();
    Some((header.request_api_key, header.correlation_id))
}

fn versions() -> Bytes {
    let api = |key, max| ApiVersion::default().with_api_key(key).with_max_version(max);
    let answer = ApiVersionsResponse::default().with_api_keys(vec![api(17, 1), api(36, 2)]);
    control::encode_response(&answer, 3, -1)
}

fn handshake(correlation_id: i32) -> Bytes {
    control::encode_response(&SaslHandshakeResponse::default(), 1, correlation_id)
}

fn authenticated(correlation_id: i32, lifetime_ms: i64) -> Bytes {
    let answer = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime_ms);
    control::encode_response(&answer, 2, correlation_id)
}

fn read(conn: &mut Conn<u8>, ms: u64, answer: &Bytes) -> Result<Read<u8>, String> {
    conn.read(at(ms), &mut BytesMut::from(&answer[..]))
}

/// Logged in at 0 ms, for 1,000 ms.
fn ready() -> Conn<u8> {
    let mut conn = Conn::new(at(0), "twinlog".into(), 5_000, true);
    conn.handle_connected(at(0));
    assert_eq!(sent(&mut conn), Some((18, -1)));
    assert!(matches!(read(&mut conn, 0, &versions()), Ok(Read::Incomplete)));
    assert!(!conn.is_ready() && conn.poll_login(at(0)) && !conn.poll_login(at(0)));
    conn.handle_login(at(0), login()).unwrap();
    assert_eq!(sent(&mut conn), Some((17, 0)));
    assert!(matches!(read(&mut conn, 0, &handshake(0)), Ok(Read::Incomplete)));
    assert_eq!(sent(&mut conn), Some((36, 1)));
    assert!(!conn.is_ready());
    assert!(matches!(read(&mut conn, 0, &authenticated(1, 1_000)), Ok(Read::Ready)));
    assert!(conn.is_ready());
    conn
}

#[test]
fn a_connection_without_sasl_is_ready_when_the_versions_are_known() {
    let mut conn: Conn<u8> = Conn::new(at(0), "twinlog".into(), 5_000, false);
    conn.handle_connected(at(0));
    assert!(matches!(read(&mut conn, 0, &versions()), Ok(Read::Ready)));
    assert!(conn.is_ready() && !conn.poll_login(at(1 << 40)));
}

#[test]
fn a_broker_that_closes_on_the_first_question_is_asked_what_only_old_ones_answer() {
    let mut conn: Conn<u8> = Conn::new(at(0), "twinlog".into(), 5_000, false);
    conn.handle_connected(at(0));
    assert!(conn.was_refused(), "if it closes now");
    let mut next: Conn<u8> = Conn::new(at(0), "twinlog".into(), 5_000, false);
    next.suspect_old();
    next.handle_connected(at(0));
    let Some(Out::Bytes(question)) = next.poll_transmit() else { panic!("nothing is asked") };
    assert_eq!(question[4..8], [0, 1, 0, 99], "a Fetch that newer brokers do not know");
    assert!(!next.was_refused() && !next.is_ready());
    let answer = Bytes::from_static(b"\0\0\0\x08\xff\xff\xff\xff\0\0\0\0");
    assert!(matches!(read(&mut next, 0, &answer), Ok(Read::Ready)));
    assert_eq!((next.is_ready(), next.versions()), (true, &Versions::before_api_versions()));
    assert!(conn.read(at(0), &mut BytesMut::from(&versions()[..])).is_ok() && !conn.was_refused());
}

#[test]
fn the_next_login_goes_out_behind_what_is_under_way_and_ahead_of_what_follows() {
    let mut conn = ready();
    assert_eq!(conn.login_at_us(), Some(850_000));
    assert!(!conn.poll_login(at(849)) && conn.poll_login(at(850)));
    assert_eq!(conn.login_at_us(), None, "it was asked for");
    // While it is brought, requests go on.
    assert!(conn.is_ready());
    let id = conn.next_correlation_id();
    conn.send(at(860), 7, 0, Bytes::from_static(b"\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0"));
    assert!(conn.poll_transmit().is_some());
    conn.handle_login(at(870), login()).unwrap();
    assert!(!conn.is_ready(), "a broker takes nothing but logins now");
    assert_eq!(sent(&mut conn), Some((17, id + 1)));
    let mut answer = BytesMut::from(&[0, 0, 0, 4][..]);
    answer.extend_from_slice(&id.to_be_bytes());
    assert!(matches!(conn.read(at(880), &mut answer), Ok(Read::Answer { tag: 7, .. })));
    assert!(matches!(read(&mut conn, 880, &handshake(id + 1)), Ok(Read::Incomplete)));
    assert_eq!(sent(&mut conn), Some((36, id + 2)));
    assert_eq!(conn.deadline_us(), Some(5_870_000), "behind the request that was under way");
    assert!(matches!(read(&mut conn, 890, &authenticated(id + 2, 0)), Ok(Read::Ready)));
    assert!(conn.is_ready() && conn.login_at_us().is_none());
    assert_eq!(conn.next_correlation_id(), id + 3);
}

#[test]
fn answers_to_nothing_are_refused() {
    let mut conn = ready();
    assert!(read(&mut conn, 1, &authenticated(2, 0)).is_err(), "no login is under way");
    conn.poll_login(at(900));
    conn.handle_login(at(900), login()).unwrap();
    assert!(read(&mut conn, 901, &handshake(9)).is_err(), "that is no answer to it");
}

#[test]
fn a_login_that_nobody_answers_ends_the_connection() {
    let mut conn: Conn<u8> = Conn::new(at(0), "twinlog".into(), 5_000, true);
    conn.handle_connected(at(0));
    assert!(matches!(read(&mut conn, 10, &versions()), Ok(Read::Incomplete)));
    assert_eq!(conn.deadline_us(), Some(5_010_000));
    assert!(conn.overdue().contains("login"));
}
