use super::*;
use crate::config::LogFormat;
use crate::load::Codec;
use crate::load::shape::{self, Seen};

fn settings() -> Settings {
    Settings {
        slo: "p99=5s".parse().unwrap(),
        clusters: None,
        draft: Draft { buffer_bytes: Some(16 << 20), ..Draft::default() },
        shape: Shape::plain(16_000, 500, Codec::Lz4, 50),
        replay: None,
        partitions: 3,
        arrivals: Pattern::Constant,
        replication_factor: None,
        from: Some(1e6),
        up_to: Some(2e6),
        step_us: 500_000,
        warmup_us: 200_000,
        check_us: 500_000,
        want: Some(2e9),
        keep: false,
    }
}

fn run_it(settings: &Settings) -> CapacityReport {
    run(settings, &AtomicBool::new(false), &Progress::new(LogFormat::Json)).unwrap()
}

#[test]
fn what_holds_is_found_checked_and_planned_from() {
    let report = run_it(&settings());
    assert!(report.is_good(), "{report}");
    let found = report.found.as_ref().unwrap();
    assert_eq!(found.rate.bytes_per_second, 2e6);
    assert!(found.basis.mirror_busy > 0.0 && found.per_core_bytes_per_second > 2e6, "{found:?}");
    assert_eq!(report.checks.len(), 1);
    let plan = report.plan.as_ref().unwrap();
    assert!(plan.cores >= 1 && plan.buffer_bytes >= 64 << 20, "{plan:?}");
    let tried = &report.tried[0];
    assert!(tried.latency.count > 100 && tried.source.count > 100, "{tried:?}");
    assert!(tried.evidence.target_broker_busy.is_some_and(|busy| busy > 0.0), "{tried:?}");
    assert!(tried.evidence.target_answer_us.is_some(), "{tried:?}");
    let text = report.to_string();
    for words in ["per core", "plan        for 2.00 GB/s", "the SLO held", "mirror      1 of"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn a_promise_that_nothing_keeps_is_said_to_be_one() {
    let report = run_it(&Settings { slo: "max=1us".parse().unwrap(), step_us: 200_000, ..settings() });
    assert!(report.found.is_none() && !report.is_good(), "{report}");
    let text = report.to_string();
    assert!(text.contains("NO RATE HOLDS") && text.contains("round trips"), "{text}");
}

#[test]
fn a_captured_shape_is_what_is_sent() {
    let seen = |n: u64| Seen {
        at_us: n * 10_000,
        lane: (n % 4) as u32,
        bytes: 5_000 + (n % 3) as u32 * 1000,
        records: 20,
        codec: Codec::Zstd,
    };
    let text = shape::write(&Captured::new(
        shape::Head {
            twinlog_shape: 1,
            version: "0".into(),
            begin_ms: 0,
            us: 1_000_000,
            clock: shape::Clock::Arrival,
            ended: shape::Ended::AsAsked,
            topics: ["a", "b"].map(|name| shape::Topic { name: name.into(), partitions: 2 }).to_vec(),
            left_out: shape::LeftOut::default(),
        },
        (0..100).map(seen).collect(),
    ));
    let captured = shape::read("f", &text).unwrap();
    let report = run_it(&Settings { replay: Some(Arc::new(captured)), check_us: 0, ..settings() });
    assert!(report.is_good(), "{report}");
    assert!(report.to_string().contains("as captured: 4 partitions of 2 topics"), "{report}");
    let tried = &report.tried[0];
    assert!((tried.achieved.bytes_per_second / 1e6 - 1.0).abs() < 0.2, "{tried:?}");
}

#[test]
fn what_is_stopped_is_partial() {
    let stop = AtomicBool::new(true);
    let ended = run(&settings(), &stop, &Progress::new(LogFormat::Json));
    assert!(ended.is_err_and(|error| error.contains("stopped")));
    let stop = Arc::new(AtomicBool::new(false));
    let later = Arc::clone(&stop);
    thread::spawn(move || {
        thread::sleep(std::time::Duration::from_secs(3));
        later.store(true, Ordering::Relaxed);
    });
    let long = Settings { step_us: 60_000_000, ..settings() };
    let report = run(&long, &stop, &Progress::new(LogFormat::Json)).unwrap();
    assert!(report.partial && report.to_string().contains("PARTIAL"), "{report}");
}
