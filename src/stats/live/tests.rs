use super::*;
use crate::stats::watch::tests::{at, lane, watch};
use crate::stats::{Lag, LaneLook, Limits, Report};

/// `ms` after the start the shard had done so much.
fn look_at(ms: u64, bytes: u64, cpu_us: u64, lanes: Vec<LaneLook>) -> Watch {
    let counters = Counters { bytes, cpu_us, records: bytes / 100, ..Counters::default() };
    let report = Report {
        elapsed_us: ms * 1_000,
        totals: counters,
        shards: vec![counters],
        lag: Some(Lag { records: 10, bytes: None, ms: Some(9_000) }),
        ..Report::default()
    };
    Watch { at: at(ms), report, ..watch(lanes) }
}

fn live(looks: u64) -> (Live, Watch) {
    let mut live = Live::default();
    let look =
        |second: u64| look_at(second * 1_000, second * 50_000_000, second * 250_000, vec![lane(0, 5, 9)]);
    (0..looks).for_each(|second| live.note(&look(second)));
    (live, look(looks - 1))
}

#[test]
fn cells_tell_partitions_apart_that_are_not_alike() {
    let stopped = LaneLook { stopped: Some("x".into()), ..lane(2, 5, 9) };
    let stuck = LaneLook { still_ms: 999_999, ..lane(3, 5, 9) };
    let paused = LaneLook { state: "paused", ..lane(4, 5, 9) };
    let unknown = LaneLook { position: None, ..lane(5, 0, 9) };
    // The clock of these tests says 7,500 ms.
    let old = |ms: i64| LaneLook { mirrored_timestamp_ms: Some(7_500 - ms), ..lane(6, 5, 9) };
    let ageless = LaneLook { mirrored_timestamp_ms: None, ..lane(8, 5, 9) };
    let lanes =
        vec![lane(0, 9, 9), lane(1, 9, 9), stopped, stuck, paused, unknown, old(1_000), old(1_001), ageless];
    assert_eq!(cells(&watch(lanes)), "a2x1s1p1u1b1c1i1");
    assert_eq!(cells(&watch(vec![old(99_999_999)])), "i1");
    assert_eq!(cells(&watch(Vec::new())), "");
}

#[test]
fn figures_are_those_of_the_last_seconds() {
    let (live, watch) = live(20);
    let look = live.look(&watch, at(19_500), Vec::new());
    assert_eq!((look.bytes_per_second, look.records_per_second), (50_000_000.0, 500_000.0));
    assert_eq!((look.busy_cores, look.busiest_core, look.cores), (0.25, 0.25, 1));
    assert_eq!((look.silent_ms, look.lag_ms, look.sick_count), (500, Some(9_000), 0));
    let columns = &look.history.columns;
    assert_eq!(columns.len(), 20);
    let (_, bytes, busy, lag_records, lag_ms, rows) = &columns[19];
    assert_eq!((*bytes, *busy, *lag_records, *lag_ms), (50_000_000, 0.25, 10, 9_000));
    assert_eq!(rows.as_slice(), [0, 0, 1, 0, 0, 0, 0, 0, 0], "2.5 s");
    assert_eq!(rows.len(), look.history.rows_ms.len() + 2);
}

#[test]
fn a_long_run_keeps_its_last_hour() {
    let (live, watch) = live(20_000);
    let columns = live.look(&watch, at(0), Vec::new()).history.columns;
    assert!((120..=240).contains(&columns.len()), "{}", columns.len());
    assert!(columns.iter().all(|column| column.1 == 50_000_000 || column.1 == 0));
    let (first, last) = (columns[0].0, columns[columns.len() - 1].0);
    assert_eq!((first, last), (7_500, 7_500), "the wall stands still in these tests");
}

#[test]
fn a_session_that_begins_anew_counts_from_0() {
    let (mut live, _) = live(10);
    live.note(&look_at(500, 0, 0, vec![lane(0, 5, 9)]));
    live.note(&look_at(1_500, 1_000_000, 500_000, vec![lane(0, 5, 9)]));
    let watch = look_at(1_500, 1_000_000, 500_000, vec![lane(0, 5, 9)]);
    let look = live.look(&watch, at(1_500), Vec::new());
    assert_eq!((look.bytes_per_second, look.busy_cores), (1_000_000.0, 0.5));
    assert_eq!(look.history.columns.last().map(|column| column.1), Some(1_000_000));
}

#[test]
fn the_limiter_is_named_where_it_can_be_told() {
    let (live, watch) = live(10);
    let named = |change: &dyn Fn(&mut Watch)| {
        let mut changed = watch.clone();
        change(&mut changed);
        live.look(&changed, at(0), Vec::new()).limiter
    };
    assert_eq!(named(&|_| {}), None);
    let nothing = named(&|watch| watch.report.lag = Some(Lag::default()));
    assert_eq!(nothing.as_deref(), Some("nothing is behind"));
    let limited = named(&|watch| watch.limits.bytes_per_second = Some(51_000_000));
    assert!(limited.unwrap().contains("--max-rate"));
    let full = named(&|watch| {
        watch.limits = Limits { buffer_bytes: 100, bytes_per_second: None };
        watch.report.totals.buffered_bytes = 95;
    });
    assert!(full.unwrap().contains("the target"));
    let keeps_up = named(&|watch| watch.report.lag = Some(Lag { ms: Some(100), records: 3, bytes: None }));
    assert_eq!(keeps_up.as_deref(), Some("it keeps up"));
    let mut busy = Live::default();
    (0..5).for_each(|second| busy.note(&look_at(second * 1_000, 0, second * 950_000, Vec::new())));
    let look = busy.look(&look_at(4_000, 0, 3_800_000, Vec::new()), at(0), Vec::new());
    assert_eq!(look.limiter.as_deref(), Some("CPU: its busiest core works for 95 % of the time"));
}

#[test]
fn partitions_are_listed_in_the_order_wanted_the_sick_ones_first() {
    let stopped = LaneLook { stopped: Some("because".into()), ..lane(3, 9, 9) };
    let old = LaneLook { mirrored_timestamp_ms: Some(0), ..lane(2, 5, 6) };
    let watch = watch(vec![lane(0, 9, 9), lane(1, 2, 9), old, stopped]);
    let order = |order| {
        let list = list(&watch, at(0), order, 3);
        assert_eq!(list.total, 4);
        list.lanes.iter().map(|lane| lane.partition).collect::<Vec<_>>()
    };
    assert_eq!(order(Order::Records), [3, 1, 2]);
    assert_eq!(order(Order::Age), [3, 2, 1]);
    assert_eq!(order(Order::Name), [3, 0, 1]);
    let line = &one(&watch, at(0), 3).lanes[0];
    assert_eq!((line.at, line.why.as_deref()), (3, Some("has stopped: because")));
    assert_eq!(one(&watch, at(0), 4).lanes, []);
}

/// However many partitions there are, and however unlike: what is sent every second stays small.
#[test]
fn ten_thousand_partitions_are_little_to_send() {
    let mut live = Live::default();
    let lanes = |second: i64| -> Vec<LaneLook> {
        let of = |at: i32| match at % 7 {
            0 => LaneLook {
                stopped: Some("the target refuses a message that is too large".into()),
                ..lane(at, 1, 9)
            },
            1 => lane(at, 9, 9),
            _ => LaneLook {
                mirrored_timestamp_ms: Some(i64::from(at % 60) * -10_000),
                ..lane(at, second, 99_999)
            },
        };
        (0..10_000).map(of).collect()
    };
    for second in 0..300 {
        live.note(&look_at(second * 1_000, second * 1_000, 0, lanes(second as i64)));
    }
    let watch = look_at(300_000, 300_000, 0, lanes(300));
    let events = vec![Noted::of_lane(1, "stopped", "orders", 1, "too large"); 50];
    let look = live.look(&watch, at(300_000), events);
    let text = serde_json::to_string(&look).unwrap();
    assert!(text.len() < 100_000, "{} bytes", text.len());
    assert_eq!((look.sick.len(), look.sick_count), (50, 1_429));
    assert_eq!(serde_json::from_str::<LiveLook>(&text).unwrap(), look);
}
