use super::*;
use crate::broker::SyntheticCluster;
use crate::edge::broker_task::{self, Server};
use crate::load::{Keys, Sizes, TransactionCounts};

fn cluster(brokers: i32) -> Server {
    let address = |_| Address { host: "127.0.0.1".into(), port: 0 };
    let settings = SyntheticCluster {
        cluster_id: "load".into(),
        brokers: (1..=brokers).map(|node| (node, address(node))).collect(),
        auto_create_topics: false,
        ..SyntheticCluster::default()
    };
    broker_task::spawn(settings).unwrap()
}

fn settings(server: &Server) -> Settings {
    Settings {
        target: Cluster::from(server.bootstrap()),
        read_from: None,
        topics: vec!["t".into()],
        create: Some(Create { partitions: 4, replication_factor: -1, configs: BTreeMap::new() }),
        shape: Shape::plain(10_000, 300, Codec::Lz4, 50),
        replay: None,
        timestamps: Timestamps::Sequence,
        rates: vec![Offer::RecordsPerSecond(20_000.0)],
        step_us: 0,
        pattern: Pattern::Constant,
        records: None,
        duration_us: Some(1_000_000),
        warmup_us: 0,
        transactions: None,
        acks: -1,
        in_flight_max: 5,
        request_bytes_max: 1 << 20,
        request_timeout_ms: 10_000,
        client_id: "test".into(),
        check: true,
        tick_us: 100_000,
        hlog: None,
    }
}

#[derive(Default)]
struct Seen {
    landed: u64,
    ticks: u64,
}

impl Watch for Seen {
    fn landed(&mut self, flight: &Flight, at_us: u64) {
        assert!(at_us >= flight.sent_us);
        self.landed += u64::from(flight.records);
    }

    fn tick(&mut self, tick: &Tick<'_>) {
        assert!(tick.end_us >= tick.begin_us);
        self.ticks += 1;
    }
}

fn run_it(settings: &Settings) -> (Outcome, Seen) {
    let mut seen = Seen::default();
    let outcome = run(settings, &mut seen, &AtomicBool::new(false)).unwrap();
    (outcome, seen)
}

#[test]
fn a_schedule_is_kept_and_everything_is_found_again() {
    let server = cluster(2);
    let (Outcome { report, omb, total }, seen) = run_it(&settings(&server));
    assert!(report.is_clean() && !report.partial, "{report}");
    // As many as were due in a second, give or take the last batch.
    assert!((19_900..=20_100).contains(&report.records), "{report}");
    assert_eq!((seen.landed, report.from_intended.count), (report.records, report.records));
    let checked = report.checked.unwrap();
    assert_eq!((checked.tally.arrived, checked.batches_sent), (report.batches, report.batches));
    assert_eq!(report.end_to_end.unwrap().count, report.records);
    assert!(report.from_intended.max_us >= report.from_sent.max_us, "{report}");
    assert!(seen.ticks > 3);
    let json = report.json("w", omb, &total);
    for field in ["publishRate", "publishLatency99pct", "publishDelayLatencyMax", "endToEndLatency50pct"] {
        assert!(json[field].as_array().is_some_and(|list| !list.is_empty()), "{field} in {json}");
    }
    assert!(json["aggregatedPublishLatencyQuantiles"]["99.9"].is_number(), "{json}");
    assert_eq!(json["twinlog"]["checked"]["lost"], 0);
    server.stop().unwrap();
}

#[test]
fn exactly_so_many_records_are_sent_and_keys_choose_partitions() {
    let server = cluster(3);
    let shape = Shape {
        sizes: Sizes::LogNormal { mean: 200, sigma: 1.0 },
        keys: Keys::Zipf { count: 500, exponent: 1.0 },
        ..Shape::plain(5_000, 1, Codec::Zstd, 50)
    };
    let settings = Settings {
        topics: vec!["a".into(), "b".into()],
        shape,
        rates: Vec::new(),
        records: Some(54_321),
        duration_us: None,
        ..settings(&server)
    };
    let (Outcome { report, .. }, _) = run_it(&settings);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.records, report.offered), (54_321, None));
    let counted: i64 = ["a", "b"]
        .iter()
        .flat_map(|topic| (0..4).map(move |partition| (*topic, partition)))
        .map(|(topic, partition)| {
            let mut end = 0;
            let mut each = |batch: &crate::broker::Batch| end = batch.last_offset() + 1;
            server.cluster().read(topic, partition, 0, usize::MAX, &mut each).unwrap();
            end
        })
        .sum();
    assert_eq!(counted, 54_321);
    // Again, onto what is there.
    let (Outcome { report, .. }, _) = run_it(&settings);
    assert!(report.is_clean(), "{report}");
    server.stop().unwrap();
}

#[test]
fn a_rate_out_of_reach_is_not_hidden() {
    let server = cluster(1);
    let settings = Settings {
        rates: vec![Offer::BytesPerSecond(500e9)],
        duration_us: Some(200_000),
        check: false,
        ..settings(&server)
    };
    let (Outcome { report, .. }, _) = run_it(&settings);
    assert!(report.unsent_records > 0, "{report}");
    let offered = report.offered.unwrap();
    assert!((offered.bytes_per_second / 500e9 - 1.0).abs() < 0.01, "{report}");
    assert!(report.achieved.bytes_per_second < 0.5 * offered.bytes_per_second);
    // What was never sent has waited for most of the time, and counts.
    assert_eq!(report.from_intended.count, report.records + report.unsent_records);
    assert!(report.from_intended.p50_us > report.from_sent.p50_us, "{report}");
    assert!(report.to_string().contains("not sent"), "{report}");
    server.stop().unwrap();
}

#[test]
fn steps_are_told_apart_and_acks_may_be_left_out() {
    let server = cluster(1);
    let settings = Settings {
        rates: vec![Offer::RecordsPerSecond(3_000.0), Offer::RecordsPerSecond(12_000.0)],
        step_us: 500_000,
        duration_us: Some(1_000_000),
        pattern: Pattern::Burst { on_us: 20_000, period_us: 100_000 },
        acks: 0,
        ..settings(&server)
    };
    let (Outcome { report, .. }, _) = run_it(&settings);
    assert!(report.is_clean(), "{report}");
    let [first, second] = &report.steps[..] else { panic!("{report}") };
    assert!((first.offered.records_per_second - 3_000.0).abs() < 1.0);
    let ratio = second.achieved.records_per_second / first.achieved.records_per_second;
    assert!((3.0..5.0).contains(&ratio), "{report}");
    server.stop().unwrap();
}

#[test]
fn a_warm_up_is_not_measured() {
    let server = cluster(1);
    let settings = Settings { warmup_us: 500_000, duration_us: Some(500_000), ..settings(&server) };
    let (Outcome { report, .. }, _) = run_it(&settings);
    assert!(report.is_clean(), "{report}");
    assert!((9_900..=10_100).contains(&report.records), "{report}");
    assert!(report.checked.unwrap().batches_sent > report.batches * 3 / 2, "{report}");
    server.stop().unwrap();
}

fn transactional(open_ms: u64) -> Option<Transactional> {
    Some(Transactional { transactional_id: "x".into(), open_us: open_ms * 1000, aborted_percent: 25 })
}

#[test]
fn transactions_follow_each_other_and_every_batch_is_in_one() {
    let server = cluster(2);
    let settings = Settings { transactions: transactional(20), ..settings(&server) };
    let (Outcome { report, .. }, _) = run_it(&settings);
    assert!(report.is_clean() && !report.partial, "{report}");
    let TransactionCounts { committed, aborted } = report.transactions.unwrap();
    // One more is committed at the end.
    assert!(aborted > 1 && (aborted * 3..=aborted * 3 + 4).contains(&committed), "{report}");
    assert!(report.to_string().contains("transactions that were committed"), "{report}");
    // With the markers between, and the batches of an aborted transaction read like others.
    assert!((19_900..=20_100).contains(&report.records), "{report}");
    assert_eq!(report.checked.unwrap().tally.arrived, report.batches);
    server.stop().unwrap();
}

#[test]
fn a_load_that_loses_its_transactional_id_ends() {
    struct Rob<'a>(Option<&'a Settings>);
    impl Watch for Rob<'_> {
        fn landed(&mut self, _: &Flight, _: u64) {
            if let Some(settings) = self.0.take() {
                Transactions::begin(settings.transactions.as_ref().unwrap(), settings, 4).unwrap();
            }
        }
        fn tick(&mut self, _: &Tick<'_>) {}
    }
    let server = cluster(1);
    let settings = Settings {
        transactions: transactional(50),
        duration_us: Some(600_000_000),
        check: false,
        ..settings(&server)
    };
    let report = run(&settings, &mut Rob(Some(&settings)), &AtomicBool::new(false)).unwrap().report;
    assert!(report.partial && report.records > 0, "{report}");
    let trouble = report.trouble.unwrap();
    assert!(trouble.contains("FENCED") || trouble.contains("INVALID_PRODUCER_EPOCH"), "{trouble}");
    server.stop().unwrap();
}

#[test]
fn a_stop_leaves_partial_results() {
    let server = cluster(1);
    let stop = AtomicBool::new(false);
    let mut seen = StopAfter { stop: &stop, landed: 0 };
    let settings = Settings { duration_us: Some(3_600_000_000), ..settings(&server) };
    let report = run(&settings, &mut seen, &stop).unwrap().report;
    assert!(report.partial && report.records > 1000, "{report}");
    assert!(report.to_string().contains("PARTIAL"));
    assert!(report.checked.unwrap().tally.is_perfect(), "{report}");
    server.stop().unwrap();
}

struct StopAfter<'a> {
    stop: &'a AtomicBool,
    landed: u64,
}

impl Watch for StopAfter<'_> {
    fn landed(&mut self, flight: &Flight, _: u64) {
        self.landed += u64::from(flight.records);
        if self.landed > 1000 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn tick(&mut self, _: &Tick<'_>) {}
}

#[test]
fn a_missing_topic_and_another_partition_count_are_named() {
    let server = cluster(1);
    let mut seen = Seen::default();
    let stop = AtomicBool::new(false);
    let missing = Settings { create: None, ..settings(&server) };
    let error = run(&missing, &mut seen, &stop).err().unwrap();
    assert!(error.contains("there is no topic t; add --create"), "{error}");
    run_it(&Settings { records: Some(10), ..settings(&server) });
    let create = Some(Create { partitions: 9, replication_factor: -1, configs: BTreeMap::new() });
    let error = run(&Settings { create, ..settings(&server) }, &mut seen, &stop).err().unwrap();
    assert!(error.contains("has 4 partitions, not 9"), "{error}");
    server.stop().unwrap();
}

#[test]
fn a_cluster_that_vanishes_ends_the_load_with_what_was_measured() {
    let server = std::cell::RefCell::new(Some(cluster(1)));
    struct Vanish<'a>(&'a std::cell::RefCell<Option<Server>>);
    impl Watch for Vanish<'_> {
        fn landed(&mut self, _: &Flight, _: u64) {
            if let Some(server) = self.0.borrow_mut().take() {
                server.stop().unwrap();
            }
        }
        fn tick(&mut self, _: &Tick<'_>) {}
    }
    let settings = Settings {
        duration_us: Some(600_000_000),
        request_timeout_ms: 2_000,
        check: false,
        ..settings(server.borrow().as_ref().unwrap())
    };
    let report = run(&settings, &mut Vanish(&server), &AtomicBool::new(false)).unwrap().report;
    assert!(report.partial && report.trouble.is_some(), "{report}");
    assert!(report.records > 0, "{report}");
    assert!(report.to_string().contains("ended early"), "{report}");
}
