use super::*;
use crate::config::rate_hours;
use crate::edge::clock;
use crate::edge::outside::Wishes;
use crate::stats::live::LiveLook;
use crate::stats::{LaneCounts, LaneLook, Limits, Noted, Pulse, Report, Watch};
use crate::time::Now;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

const TOKEN: &str = "0123456789abcdef";

fn watch(stopped: Option<&str>) -> Watch {
    let lane = LaneLook {
        topic: "orders".into(),
        partition: 3,
        offsets: "append",
        state: "stream",
        position: Some(5),
        source_end: Some(9),
        mirrored_timestamp_ms: None,
        still_ms: 0,
        dead_letters: 0,
        stopped: stopped.map(Into::into),
        passed: None,
    };
    Watch {
        version: "1",
        link: "l".into(),
        source_cluster: "S".into(),
        target_cluster: "T".into(),
        at: clock::now(),
        report: Report { lag: Some(crate::stats::Lag::default()), ..Report::default() },
        lanes: vec![lane],
        lost_offsets: 0,
        left_out: Vec::new(),
        still_ms_max: Pulse::still_ms_max(0),
        limits: Limits::default(),
        instance: None,
    }
}

/// A listener, and what it is about.
struct World {
    outside: Arc<Outside>,
    listener: Listener,
}

impl World {
    fn new(token_file: Option<&NamedTempFile>) -> Self {
        let outside = Arc::new(Outside::new(Wishes::default(), true));
        let token_file = token_file.map(|file| file.path().to_path_buf());
        let changes = Changes::new(&outside, token_file).unwrap();
        let listener = Listener::start(loopback(), &outside, changes).unwrap();
        Self { outside, listener }
    }

    /// What comes back for these bytes.
    fn send(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.listener.0.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ask(&self, request: &str) -> String {
        self.send(format!("{request} HTTP/1.0\r\n\r\n").as_bytes())
    }

    fn post(&self, path: &str, token: &str, body: &str) -> String {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes())
    }

    fn is_paused(&self, topic: &str, partition: i32) -> bool {
        self.outside.controls.wishes().pauses.is_paused(topic, partition)
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn token_file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn everything_is_told_that_is_known_and_nothing_before() {
    let world = World::new(None);
    for path in ["/metrics", "/health", "/ready", "/status", "/live", "/lanes"] {
        assert!(world.ask(&format!("GET {path}")).contains("503"), "{path} before anything is known");
    }
    world.outside.board.publish(watch(None));
    assert!(world.ask("GET /health").contains("healthy"));
    assert!(world.ask("GET /ready").contains("200"));
    let metrics = world.ask("GET /metrics?name=x");
    assert!(metrics.contains("text/plain; version=0.0.4") && !metrics.contains("# EOF"), "{metrics}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let open = world.send(format!("GET /metrics HTTP/1.1\r\n{accept}\r\n\r\n").as_bytes());
    assert!(
        open.contains("Content-Type: application/openmetrics-text") && open.ends_with("# EOF\n"),
        "{open}"
    );
    let series = r#"twinlog_partition_lag_records{link="l",topic="orders",partition="3"} 4"#;
    assert!(metrics.contains(series), "{metrics}");
    let status = world.ask("GET /status");
    assert!(status.contains(r#""position":5"#) && status.contains(r#""problems":[]"#), "{status}");
    world.outside.board.publish(watch(Some("too large")));
    let sick = world.ask("GET /health");
    assert!(sick.contains("503") && sick.contains("orders-3 has stopped: too large"), "{sick}");
    world.outside.board.publish(Watch { at: Now::default(), report: Report::default(), ..watch(None) });
    assert!(world.ask("GET /ready").contains("503"));
}

#[test]
fn a_paused_partition_is_told_of_and_is_no_problem() {
    let world = World::new(None);
    let mut look = watch(None);
    look.lanes[0].state = "paused";
    look.report.lanes = LaneCounts { total: 1, paused: 1, ..LaneCounts::default() };
    world.outside.board.publish(look);
    let health = world.ask("GET /health");
    assert!(health.contains("200 OK") && health.contains("1 partition is paused"), "{health}");
    assert!(world.ask("GET /status").contains(r#""state":"paused""#));
    let metrics = world.ask("GET /metrics");
    let series = r#"twinlog_partition_paused{link="l",topic="orders",partition="3"} 1"#;
    assert!(
        metrics.contains(series) && metrics.contains("twinlog_partitions_paused{link=\"l\"} 1"),
        "{metrics}"
    );
}

#[test]
fn the_page_is_whole_and_runs_nothing_else() {
    let world = World::new(None);
    let page = world.ask("GET /");
    assert!(
        page.contains("200 OK") && page.contains("<!doctype html>") && page.contains("'use strict';"),
        "{page}"
    );
    assert!(page.contains("Content-Security-Policy: default-src 'none'; script-src 'sha256-"));
    let (_, html) = page.split_once("\r\n\r\n").unwrap();
    for foreign in ["http://", "https://", "innerHTML", "src=", "href=", "style=", " onclick", "eval("] {
        assert!(!html.contains(foreign), "the page has {foreign}");
    }
    let script = html.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
    let hash = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        <sha2::Sha256 as sha2::Digest>::digest(script),
    );
    assert!(page.contains(&format!("script-src 'sha256-{hash}'")), "a browser would not run the script");
}

/// What the page asks for every second, with very many partitions, none like the other.
#[test]
fn ten_thousand_partitions_are_shown_quickly() {
    let world = World::new(None);
    let mut look = watch(None);
    let state = |at: i32| if at % 3 == 0 { "paused" } else { "stream" };
    let stopped = |at: i32| (at % 7 == 0).then(|| "<b>too large</b>".to_owned());
    look.lanes = (0..10_000)
        .map(|at| LaneLook {
            topic: format!("topic-{}", at / 10).into(),
            partition: at % 10,
            state: state(at),
            stopped: stopped(at),
            position: Some(i64::from(at)),
            source_end: Some(20_000),
            ..look.lanes[0].clone()
        })
        .collect();
    for second in 0..300 {
        look.report.elapsed_us = second * 1_000_000;
        world.outside.board.publish(look.clone());
    }
    for at_ms in 0..100 {
        world.outside.flight.note(Noted::of_lane(at_ms, "stopped", "orders", at_ms as i32, "too large"));
    }
    let begin = Instant::now();
    let live = world.ask("GET /live");
    let took = begin.elapsed();
    assert!(live.contains("200 OK") && live.contains("application/json"));
    assert!(live.len() < 100_000, "{} bytes", live.len());
    assert!(took < Duration::from_millis(100), "{took:?}");
    let (_, json) = live.split_once("\r\n\r\n").unwrap();
    let told: LiveLook = serde_json::from_str(json).unwrap();
    assert_eq!((told.sick.len(), told.sick_count, told.events.len()), (50, 1_429, 40));
    assert_eq!(told.events[39].partition, Some(99));
    let one = world.ask("GET /lanes?at=4243");
    assert!(
        one.contains(r#""topic":"topic-424","partition":3"#) && one.contains(r#""total":10000"#),
        "{one}"
    );
    let first = world.ask("GET /lanes?order=name&limit=2");
    assert!(
        first.contains(r#""at":0"#) && first.contains(r#""at":7"#) && !first.contains(r#""at":1,"#),
        "{first}"
    );
    for wrong in ["order=x", "limit=-1", "at=", "what"] {
        assert!(world.ask(&format!("GET /lanes?{wrong}")).contains(" 400 "), "{wrong}");
    }
    assert!(world.ask("GET /lanes?at=10000").contains(r#""lanes":[]"#));
    let events = world.ask("GET /events");
    assert_eq!(events.matches(r#""kind":"stopped""#).count(), 100);
}

#[test]
fn without_a_token_file_nothing_can_be_changed() {
    let world = World::new(None);
    world.outside.board.publish(watch(None));
    assert!(world.ask("GET /nowhere").contains("/metrics"));
    assert!(world.ask("POST /metrics").contains("405"));
    let refused = world.post("/pause", TOKEN, r#"{"topics": "orders"}"#);
    assert!(refused.contains(" 405 ") && refused.contains("--control-token-file"), "{refused}");
    assert!(!world.is_paused("orders", 0));
    let World { outside, listener } = world;
    let address = listener.0.address();
    let start = || Listener::start(address, &outside, Changes::new(&outside, None).unwrap());
    assert!(start().is_err(), "somebody listens there already");
    drop(listener);
    start().unwrap();
}

#[test]
fn who_has_the_token_pauses_resumes_and_throttles() {
    let file = token_file(&format!("{TOKEN}\n"));
    let world = World::new(Some(&file));
    world.outside.board.publish(watch(None));
    let paused = world.post("/pause", TOKEN, r#"{"topics": "orders|clicks"}"#);
    assert!(paused.contains("200 OK") && paused.contains(r#""matching":1"#), "{paused}");
    assert!(world.is_paused("orders", 9) && world.is_paused("clicks", 0) && !world.is_paused("orders2", 0));
    let resumed = world.post("/resume", TOKEN, r#"{"topics": "orders", "partitions": [3, 4]}"#);
    assert!(resumed.contains("200 OK"), "{resumed}");
    assert!(world.is_paused("orders", 9) && !world.is_paused("orders", 3));
    for (body, rate) in
        [(r#"{"max_rate_bytes": 5000000}"#, Some(5_000_000)), (r#"{"max_rate_bytes": null}"#, None)]
    {
        assert!(world.post("/throttle", TOKEN, body).contains("200 OK"));
        assert_eq!(world.outside.controls.wishes().bytes_per_second(clock::now()), rate);
    }
    let renewed = "fedcba9876543210";
    std::fs::write(file.path(), renewed).unwrap();
    assert!(world.post("/resume", TOKEN, r#"{"topics": ".*"}"#).contains(" 401 "));
    assert!(world.post("/resume", renewed, r#"{"topics": ".*"}"#).contains("200 OK"));
    assert!(world.outside.controls.wishes().pauses.is_empty());
}

#[test]
fn who_has_not_the_token_changes_nothing() {
    let file = token_file(TOKEN);
    let world = World::new(Some(&file));
    let body = r#"{"topics": "orders"}"#;
    for wrong in ["", "0123456789abcde", "0123456789abcdef0", "wrong"] {
        let refused = world.post("/pause", wrong, body);
        assert!(refused.contains(" 401 ") && refused.contains("WWW-Authenticate: Bearer"), "{refused}");
    }
    for header in
        ["", "Authorization: Basic MDEyMzQ1Njc4OWFiY2RlZg==\r\n", "Authorization: 0123456789abcdef\r\n"]
    {
        let request = format!("POST /pause HTTP/1.1\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len());
        assert!(world.send(request.as_bytes()).contains(" 401 "), "{header}");
    }
    let twice = format!(
        "POST /pause HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(world.send(twice.as_bytes()).contains(" 400 "));
    assert!(world.ask("GET /pause").contains(" 405 "));
    std::fs::write(file.path(), "").unwrap();
    assert!(world.post("/pause", "", body).contains(" 503 "));
    assert!(world.outside.controls.wishes().pauses.is_empty());
}

#[test]
fn a_token_file_that_says_nothing_is_refused_at_the_start() {
    let outside = Arc::new(Outside::new(Wishes::default(), true));
    let start = |path: PathBuf| Changes::new(&outside, Some(path)).err().unwrap();
    for (content, expected) in [(" \n", "it is empty"), ("two words", "one word")] {
        let file = token_file(content);
        assert!(start(file.path().into()).contains(expected));
    }
    assert!(start("/nowhere/at/all".into()).contains("/nowhere/at/all"));
}

#[test]
fn what_is_wrong_with_a_body_is_said() {
    let file = token_file(TOKEN);
    let world = World::new(Some(&file));
    for (path, body, code, expected) in [
        ("/pause", "", 400, "EOF"),
        ("/pause", "{", 400, "line 1 column 1"),
        ("/pause", r#"{"topic": "a"}"#, 400, "expected `topics` or `partitions`"),
        ("/pause", r#"{"topics": 5}"#, 400, "expected a string"),
        ("/pause", r#"{"topics": "("}"#, 400, "`(`"),
        ("/pause", r#"{"topics": ""}"#, 400, "found nothing"),
        ("/pause", r#"{"topics": "a", "partitions": [-1]}"#, 400, "no partition -1"),
        ("/pause", r#"{"topics": "a", "partitions": []}"#, 400, "leave it out"),
        ("/throttle", "{}", 400, "missing field `max_rate_bytes`"),
        ("/throttle", r#"{"max_rate_bytes": 5}"#, 400, "use /pause"),
        ("/throttle", r#"{"max_rate_bytes": -5}"#, 400, "expected u64"),
        ("/throttle", r#"{"max_rate_bytes": 50000} x"#, 400, "trailing characters"),
    ] {
        let refused = world.post(path, TOKEN, body);
        assert!(refused.contains(&format!(" {code} ")) && refused.contains(expected), "{body}: {refused}");
    }
    assert!(world.post("/pause", TOKEN, &" ".repeat(65_537)).contains(" 413 "));
    let padded = format!("{}{}", " ".repeat(65_000), r#"{"topics": "a"}"#);
    assert!(world.post("/pause", TOKEN, &padded).contains("200 OK"));
    assert!(!world.is_paused("orders", 0) && world.is_paused("a", 0));
}

#[test]
fn hostile_requests_are_answered_and_harm_nobody() {
    let file = token_file(TOKEN);
    let world = World::new(Some(&file));
    world.outside.board.publish(watch(None));
    let post =
        |headers: &str| format!("POST /pause HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n");
    for (request, code) in [
        ("nonsense HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000)), 431),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)), 431),
        (post("Content-Length: 18446744073709551615\r\n"), 413),
        (post("Content-Length: 99999999999999999999999\r\n"), 413),
        (post("Content-Length: -1\r\n"), 400),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n"), 411),
        ("GET /health HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n".to_owned(), 200),
        ("DELETE /status HTTP/1.1\r\n\r\n".to_owned(), 405),
    ] {
        let answer = world.send(request.as_bytes());
        assert!(answer.contains(&format!(" {code} ")), "{request:.60}: {answer}");
    }
    let head = world.ask("HEAD /health");
    assert!(head.contains("Content-Length: 8") && head.ends_with("\r\n\r\n"), "{head}");
    let body = r#"{"topics": "a"}"#;
    let patient = post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len()));
    let mut stream = TcpStream::connect(world.listener.0.address()).unwrap();
    stream.write_all(patient.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
}

/// Clients that say nothing, or do not read, keep nobody waiting.
#[test]
fn slow_clients_do_not_stand_in_the_way() {
    let world = World::new(None);
    world.outside.board.publish(watch(None));
    let address = world.listener.0.address();
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    let begin = Instant::now();
    assert!(world.ask("GET /health").contains("healthy"));
    assert!(begin.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[test]
fn what_is_wished_is_kept_in_order() {
    let hours = rate_hours("00:00-24:00=5MB/s").unwrap();
    let wishes = Wishes { bytes_per_second: Some(7), hours, ..Wishes::default() };
    let controls = Outside::new(wishes, false).controls;
    let before = controls.wishes();
    controls.throttle(None);
    let limits = [before, controls.wishes()].map(|wishes| wishes.bytes_per_second(clock::now()));
    assert_eq!(limits, [Some(5_000_000), None], "who throttles by hand means every hour");
}
