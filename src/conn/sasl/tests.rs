use super::*;
use bytes::Buf;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

fn versions() -> Versions {
    let api = |key, max| ApiVersion::default().with_api_key(key).with_max_version(max);
    (&ApiVersionsResponse::default().with_api_keys(vec![api(HANDSHAKE_KEY, 1), api(AUTHENTICATE_KEY, 2)]))
        .into()
}

fn scram(mechanism: Mechanism, nonce: &str) -> Scram {
    Scram::new(mechanism, "user".into(), "pencil".into(), nonce.into(), Arc::default())
}

/// RFC 7677, section 3.
#[test]
fn the_example_of_scram_sha_256() {
    let mut client = scram(Mechanism::ScramSha256, "rOprNGfwEbeRWgbNEkqO");
    assert_eq!(client.first().expose(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let server_first =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let last = client.answer(server_first).unwrap().unwrap();
    assert_eq!(
        last.expose(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(client.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap(), None);
    assert!(client.answer(b"v=").is_err());
}

/// No RFC has one for SHA-512: the same steps, with Python's hashlib and hmac.
#[test]
fn an_example_of_scram_sha_512() {
    let mut client = scram(Mechanism::ScramSha512, "fyko+d2lbbFgONRv9qkxdawL");
    let server_first = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
    let last = client.answer(server_first).unwrap().unwrap();
    assert_eq!(last.expose(), SHA_512_LAST);
    assert_eq!(client.answer(SHA_512_SERVER.as_bytes()).unwrap(), None);
}

const SHA_512_LAST: &str = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
     p=VdS8LkrURiej1tG6iX+fqCXQfUnBb//d9llXYaH+ylUb\
     DwBUz9geyR9fC4TewskRUM2tlYSalhAT4Aay1Q5dTA==";
const SHA_512_SERVER: &str =
    "v=14PAAuavk9hxBEkgB0brDxUhvWu+N16meYk+qxVNFqchR8QPohM09Y4Z6WaTCuX4C6nqMB9KIJTDm6RpSM990g==";

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let begin = || {
        let mut client = scram(Mechanism::ScramSha256, "abc");
        let answer = client.answer(b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        (client, answer)
    };
    let (mut client, answer) = begin();
    answer.unwrap();
    assert_eq!(client.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Err(SaslError::NotGenuine));
    let (mut client, _) = begin();
    assert_eq!(client.answer(b"v="), Err(SaslError::NotGenuine));
    for bad in [
        &b"r=abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"[..],
        b"r=xyzdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
        b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
        b"r=abcdef,s=?,i=4096",
        b"e=other-error",
        b"\xff",
    ] {
        assert!(scram(Mechanism::ScramSha256, "abc").answer(bad).is_err());
    }
}

#[test]
fn names_with_the_fields_own_signs_are_escaped() {
    let client = Scram::new(Mechanism::ScramSha256, "a=b,c".into(), "p".into(), "n".into(), Arc::default());
    assert_eq!(client.first().expose(), "n,,n=a=3Db=2Cc,r=n");
}

#[test]
fn a_salted_password_is_computed_once_for_each_salt() {
    let salted = Arc::new(SaltedPasswords::default());
    let get = |password: &str, salt: &[u8]| salted.get(Mechanism::ScramSha512, &password.into(), salt, 4096);
    let first = get("a", b"1");
    assert_eq!(first, get("a", b"1"));
    assert_ne!(first, get("b", b"1"));
    assert_ne!(first, get("a", b"2"));
    assert_eq!(format!("{salted:?}"), "SaltedPasswords");
}

#[test]
fn plain_and_oauth_messages_are_those_of_their_rfcs() {
    assert_eq!(plain::message("tim", &"tanstaaftanstaaf".into()).expose(), "\0tim\0tanstaaftanstaaf");
    let extensions = [("logicalCluster".to_owned(), "lkc-1".to_owned())];
    assert_eq!(
        oauth::message(&"vF9dft4qmT".into(), &extensions).expose(),
        "n,,\u{1}auth=Bearer vF9dft4qmT\u{1}logicalCluster=lkc-1\u{1}\u{1}"
    );
}

/// Plays the broker: takes the request apart and answers it.
fn sent(exchange: &Exchange) -> Bytes {
    let mut frame = exchange.request(7, "twinlog").slice(4..);
    let header = control::decode_request_header(&mut frame).unwrap();
    assert_eq!(header.request_api_key, exchange.api_key());
    match header.request_api_key {
        HANDSHAKE_KEY => {
            let request = SaslHandshakeRequest::decode(&mut frame, 1).unwrap();
            Bytes::copy_from_slice(request.mechanism.as_bytes())
        }
        _ => SaslAuthenticateRequest::decode(&mut frame, 2).unwrap().auth_bytes,
    }
}

fn handshake(code: i16, mechanisms: &[&'static str]) -> Bytes {
    let mechanisms = mechanisms.iter().map(|name| StrBytes::from_static_str(name)).collect();
    let answer = SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(mechanisms);
    control::encode_response(&answer, 1, 7).slice(4..)
}

fn authenticate(code: i16, message: &'static str, bytes: &'static [u8], lifetime_ms: i64) -> Bytes {
    let answer = SaslAuthenticateResponse::default()
        .with_error_code(code)
        .with_error_message(Some(StrBytes::from_static_str(message)))
        .with_auth_bytes(Bytes::from_static(bytes))
        .with_session_lifetime_ms(lifetime_ms);
    control::encode_response(&answer, 2, 7).slice(4..)
}

fn plain() -> Exchange {
    let login = Login::Plain { username: "alice".into(), password: "hunter2".into() };
    assert!(!format!("{login:?}").contains("hunter2"));
    Exchange::new(login, &versions()).unwrap()
}

#[test]
fn a_login_takes_its_steps() {
    let mut exchange = plain();
    assert_eq!(&sent(&exchange)[..], b"PLAIN");
    assert_eq!(exchange.answer(handshake(0, &["PLAIN"])), Ok(Step::Next));
    assert_eq!(&sent(&exchange)[..], b"\0alice\0hunter2");
    assert_eq!(exchange.answer(authenticate(0, "", b"", 60_000)), Ok(Step::Done { lifetime_ms: 60_000 }));
}

#[test]
fn a_token_that_is_refused_ends_with_the_brokers_reason() {
    let login = Login::OauthBearer { token: "abc".into(), extensions: Vec::new() };
    let mut exchange = Exchange::new(login, &versions()).unwrap();
    exchange.answer(handshake(0, &[])).unwrap();
    assert_eq!(exchange.answer(authenticate(0, "", b"{\"status\":\"invalid_token\"}", 0)), Ok(Step::Next));
    assert_eq!(&sent(&exchange)[..], b"\x01");
    let error = exchange.answer(authenticate(58, "{\"status\":\"invalid_token\"}", b"", 0)).unwrap_err();
    assert!(error.to_string().contains("invalid_token"), "{error}");
}

/// Stands for a Kerberos library: a token is good when it is this one, and a wrapped message has brackets around it.
struct Brackets {
    is_established: bool,
}

impl SecurityContext for Brackets {
    fn step(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        self.is_established = token == b"AP-REP";
        if self.is_established { Ok(Vec::new()) } else { Err("Message stream modified".into()) }
    }

    fn is_established(&self) -> bool {
        self.is_established
    }

    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        Ok([b"[", message, b"]"].concat())
    }

    fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let inside = message.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
        inside.map(<[u8]>::to_vec).ok_or_else(|| "A token was invalid".to_owned())
    }
}

/// Past the handshake, with its first token under way.
fn kerberos() -> Exchange {
    let login = Login::Gssapi(Gssapi::new(Box::new(Brackets { is_established: false }), b"AP-REQ".to_vec()));
    assert_eq!(format!("{login:?}"), "Gssapi(Gssapi)");
    let mut exchange = Exchange::new(login, &versions()).unwrap();
    assert_eq!(&sent(&exchange)[..], b"GSSAPI");
    exchange.answer(handshake(0, &["GSSAPI"])).unwrap();
    assert_eq!(&sent(&exchange)[..], b"AP-REQ");
    exchange
}

/// As `GssKrb5Server` of the JDK plays its part: an empty message has to come between its token and its offer.
#[test]
fn kerberos_proves_both_sides_and_takes_no_security_layer() {
    let mut exchange = kerberos();
    assert_eq!(exchange.answer(authenticate(0, "", b"AP-REP", 0)), Ok(Step::Next));
    assert_eq!(&sent(&exchange)[..], b"");
    assert_eq!(exchange.answer(authenticate(0, "", b"[\x07\0\xff\xff]", 0)), Ok(Step::Next));
    assert_eq!(&sent(&exchange)[..], b"[\x01\0\0\0]");
    assert_eq!(exchange.answer(authenticate(0, "", b"", 60_000)), Ok(Step::Done { lifetime_ms: 60_000 }));
}

#[test]
fn a_broker_that_plays_its_part_of_kerberos_wrongly_is_refused() {
    let failure = |answers: &[&'static [u8]]| {
        let mut exchange = kerberos();
        let (last, before) = answers.split_last().unwrap();
        for answer in before {
            assert_eq!(exchange.answer(authenticate(0, "", answer, 0)), Ok(Step::Next));
        }
        exchange.answer(authenticate(0, "", last, 0)).unwrap_err().to_string()
    };
    assert!(failure(&[b"forged"]).contains("(Message stream modified); check that its keytab"));
    assert!(failure(&[b""]).contains("could not prove"));
    assert!(failure(&[b"AP-REP", b"no brackets"]).contains("A token was invalid"));
    assert!(failure(&[b"AP-REP", b"[\x06\0\0\0]"]).contains("insists on a security layer"));
    assert!(failure(&[b"AP-REP", b"[\x01\0\0]"]).contains("not four bytes"));
    assert!(failure(&[b"AP-REP", b"[\x01\0\0\0]", b"more"]).contains("more than there is to say"));
    let refused =
        kerberos().answer(authenticate(58, "Authentication failed", b"", 0)).unwrap_err().to_string();
    assert!(refused.contains("Authentication failed; check that the broker's keytab"), "{refused}");
}

#[test]
fn refusals_say_what_to_do() {
    let error = plain().answer(handshake(33, &["SCRAM-SHA-512", "GSSAPI"])).unwrap_err().to_string();
    assert!(
        error.contains("PLAIN on this listener, but SCRAM-SHA-512, GSSAPI; set sasl.mechanism"),
        "{error}"
    );
    assert_eq!(plain().answer(handshake(34, &[])), Err(SaslError::NotSasl));
    let mut exchange = plain();
    exchange.answer(handshake(0, &[])).unwrap();
    let error = exchange.answer(authenticate(58, "no\nsuch user", b"", 0)).unwrap_err().to_string();
    assert!(error.contains("(SASL_AUTHENTICATION_FAILED): nosuch user; check sasl.username"), "{error}");
    let old =
        Exchange::new(Login::Plain { username: "a".into(), password: "b".into() }, &Versions::default());
    assert!(old.err().unwrap().to_string().contains("SaslHandshake"));
}

proptest! {
    #[test]
    fn no_message_of_a_server_breaks_the_client(
        first in "r=abc[ -~]{0,20},s=[A-Za-z0-9+/=]{0,12},i=[0-9]{0,12}|\\PC*",
        last in "(v|e)=[A-Za-z0-9+/=]{0,50}|\\PC*",
    ) {
        let mut client = scram(Mechanism::ScramSha256, "abc");
        // Iterations above the least only take time here.
        if !first.contains("i=") || first.ends_with("i=4096") {
            let _ = client.answer(first.as_bytes());
        }
        prop_assert!(client.answer(last.as_bytes()).ok().flatten().is_none());
    }

    #[test]
    fn no_answer_breaks_the_exchange(bytes in proptest::collection::vec(any::<u8>(), 0..64), shaken: bool) {
        let mut exchange = plain();
        if shaken {
            exchange.answer(handshake(0, &[])).unwrap();
        }
        // An array's announced length is believed by the codec (see `control::decode`), so it is kept small.
        let mut frame = [&[0, 0, 0, 7][..], &bytes].concat();
        if let Some(length) = frame.get_mut(6..8) {
            length.fill(0);
        }
        let _ = exchange.answer(Bytes::from(frame));
    }
}

#[test]
fn frames_that_break_off_are_refused() {
    for whole in [handshake(0, &["PLAIN"]), authenticate(0, "x", b"y", 1)] {
        for cut in 0..whole.remaining() {
            let mut exchange = plain();
            if whole.len() != handshake(0, &["PLAIN"]).len() {
                exchange.answer(handshake(0, &[])).unwrap();
            }
            assert!(exchange.answer(whole.slice(..cut)).is_err());
        }
    }
}
