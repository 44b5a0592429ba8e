use super::*;
use crate::broker::SyntheticCluster;
use crate::config::LogFormat;
use crate::config::text;
use crate::edge::broker_task::{self, Server};
use crate::edge::load::{self, Again, Create, Flight, Offer, Tick, Timestamps, Watch};
use crate::load::shape::{Comparison, Summary};
use crate::load::{Codec, Pattern, Shape, Sizes};

fn cluster(id: &str, brokers: i32) -> Server {
    let address = |_| Address { host: "127.0.0.1".into(), port: 0 };
    let settings = SyntheticCluster {
        cluster_id: id.into(),
        brokers: (1..=brokers).map(|node| (node, address(node))).collect(),
        auto_create_topics: false,
        ..SyntheticCluster::default()
    };
    broker_task::spawn(settings).unwrap()
}

struct Deaf;

impl Watch for Deaf {
    fn landed(&mut self, _: &Flight, _: u64) {}
    fn tick(&mut self, _: &Tick<'_>) {}
}

fn load_of(server: &Server, topic: &str) -> load::Settings {
    let shape = Shape {
        sizes: Sizes::LogNormal { mean: 300, sigma: 0.5 },
        ..Shape::plain(8_000, 1, Codec::Zstd, 50)
    };
    load::Settings {
        target: Cluster::from(server.bootstrap()),
        read_from: None,
        topics: vec![topic.into()],
        create: Some(Create { partitions: 5, replication_factor: -1, configs: BTreeMap::new() }),
        shape,
        replay: None,
        timestamps: Timestamps::Now,
        rates: vec![Offer::BytesPerSecond(2e6)],
        step_us: 0,
        pattern: Pattern::Poisson,
        records: None,
        duration_us: Some(1_500_000),
        warmup_us: 0,
        transactions: None,
        acks: -1,
        in_flight_max: 5,
        request_bytes_max: 1 << 20,
        request_timeout_ms: 10_000,
        client_id: "test".into(),
        check: false,
        tick_us: 100_000,
        hlog: None,
    }
}

fn send(settings: &load::Settings) -> crate::load::LoadReport {
    let report = load::run(settings, &mut Deaf, &AtomicBool::new(false)).unwrap().report;
    assert!(report.is_clean() && report.unsent_records == 0, "{report}");
    report
}

fn capture_of(server: &Server, topics: &str, span: Span) -> Captured {
    let settings = Settings {
        cluster: Cluster::from(server.bootstrap()),
        topics: text::patterns(topics).unwrap(),
        exclude: Vec::new(),
        span,
        bytes_max: u64::MAX,
        client_id: "test".into(),
        timeout: Duration::from_secs(5),
    };
    capture(&settings, &AtomicBool::new(false), &Progress::new(LogFormat::Json)).unwrap()
}

const MINUTES: Span = Span::Last { ms: 600_000 };

#[test]
fn a_backlog_is_captured_and_its_replay_is_alike() {
    let server = cluster("shape", 3);
    let report = send(&load_of(&server, "first"));
    let captured = capture_of(&server, "first", MINUTES);
    let summary = Summary::of(&captured);
    assert_eq!(
        (summary.batches, summary.records, summary.bytes),
        (report.batches, report.records, report.wire_bytes)
    );
    assert_eq!((captured.head.clock, captured.head.ended), (Clock::Timestamps, Ended::AsAsked));
    // The silence before is no part of it.
    assert!(captured.batches[0].at_us == 0 && captured.head.us < 60_000_000, "{:?}", captured.head);

    let file = tempfile::Builder::new().suffix(".zst").tempfile().unwrap();
    write_file(file.path(), &captured).unwrap();
    assert_eq!(read_file(file.path()).unwrap(), captured);

    let again = Again { captured: Arc::new(captured), speed: 1.0, whole: true };
    let replay = load::Settings {
        replay: Some(again.clone()),
        rates: Vec::new(),
        duration_us: Some(again.captured.head.us),
        ..load_of(&server, "second")
    };
    let sent = send(&load::Settings { duration_us: None, records: Some(report.records), ..replay });
    assert_eq!(sent.batches, report.batches);
    let second = Summary::of(&capture_of(&server, "second", MINUTES));
    // When they arrived is not compared: a test must not depend on how busy the machine is.
    let comparison = Comparison::of(&summary, &second, 1.0, 2.0);
    let timed = ["bytes/s", "records/s", "batches/s", "arrival times, share of bytes apart"];
    let off: Vec<_> = comparison
        .rows
        .iter()
        .filter(|row| row.difference_percent.abs() > 2.0 && !timed.contains(&row.what))
        .collect();
    assert!(off.is_empty(), "{comparison}");
    server.stop().unwrap();
}

#[test]
fn what_comes_is_captured_by_the_clock_and_nothing_of_before() {
    let server = cluster("live", 2);
    send(&load::Settings { duration_us: Some(100_000), ..load_of(&server, "live") });
    let captured = thread::scope(|scope| {
        let watching = scope.spawn(|| capture_of(&server, "li.*", Span::Next { us: 4_000_000 }));
        // The watchers begin at the ends that they find; what is sent once they read is theirs.
        thread::sleep(Duration::from_millis(700));
        let report = send(&load_of(&server, "live"));
        let captured = watching.join().unwrap();
        assert!(captured.records() <= report.records, "{} of {}", captured.records(), report.records);
        captured
    });
    assert_eq!(captured.head.clock, Clock::Arrival);
    assert!(captured.batches.len() > 50 && captured.batches.iter().all(|seen| seen.codec == Codec::Zstd));
    server.stop().unwrap();
}

#[test]
fn a_capture_ends_at_its_bounds() {
    let server = cluster("bounds", 1);
    send(&load::Settings { duration_us: Some(500_000), ..load_of(&server, "bounded") });
    let settings = Settings {
        cluster: Cluster::from(server.bootstrap()),
        topics: text::patterns("bounded").unwrap(),
        exclude: Vec::new(),
        span: MINUTES,
        bytes_max: 100_000,
        client_id: "test".into(),
        timeout: Duration::from_secs(5),
    };
    let run =
        |settings: &Settings| capture(settings, &AtomicBool::new(false), &Progress::new(LogFormat::Json));
    let captured = run(&settings).unwrap();
    assert_eq!(captured.head.ended, Ended::BytesMax);
    assert!((90_000..=120_000).contains(&captured.bytes()), "{}", captured.bytes());
    let none = Settings { topics: text::patterns("nothing").unwrap(), ..settings };
    let problem = run(&none).unwrap_err();
    assert!(problem.contains("--topics") && problem.contains("bounded"), "{problem}");
    server.stop().unwrap();
}
