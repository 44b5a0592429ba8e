//! `twinlog load` against real brokers: Kafka's own tools count, decode and parse what it makes.

use crate::kafka::{Cluster, Place, script};
use crate::mirror::Twinlog;
use crate::pair::Pair;
use crate::synthetic::kafka_tool;
use regex::Regex;

const RECORDS: &str = "200000";

#[test]
#[ignore = "needs a Kafka cluster: scripts/test e2e"]
fn kafkas_consumer_counts_what_a_load_sent() {
    let cluster = Cluster::start(Place::Source, 3, &[]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, hlog) = (file("result.json"), file("latency.hlog"));
    let load = ["load", "--target", &cluster.bootstrap, "--topic", "loaded", "--create", "--partitions", "6"];
    let shape =
        ["--codec", "zstd", "--record-bytes", "lognormal:300,1", "--keys", "zipf:1000", "--headers", "2"];
    let rest = ["--records", RECORDS, "--rate", "40000", "--arrivals", "poisson", "--check"];
    let files = ["--json", json.as_str(), "--hlog", hlog.as_str()];
    let ended = Twinlog::new(&load).with(&shape).with(&rest).with(&files).run();
    ended.ended_with(0, &["(200,000 records", "0 lost, 0 duplicated, 0 reordered, 0 corrupted", "offered"]);

    // Every record decodes, and there are so many of them.
    let counted = script(&["tool", cluster.name(), "get-offsets", "--topic", "loaded"]).expect("get-offsets");
    let ends = counted.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok());
    assert_eq!(ends.sum::<u64>().to_string(), RECORDS, "{counted}");
    let consume = ["--topic", "loaded", "--num-records", RECORDS, "--timeout", "60000", "--hide-header"];
    let to = ["--bootstrap-server", cluster.bootstrap.as_str()];
    let read = kafka_tool("org.apache.kafka.tools.ConsumerPerformance", &[&to[..], &consume].concat(), "");
    let line = read.lines().find(|line| line.matches(',').count() > 5).unwrap_or_default();
    assert_eq!(line.split(", ").nth(4), Some(RECORDS), "{read}");

    // The keys are where Kafka's own producer puts them.
    let one = [
        "--topic",
        "loaded",
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        "50",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.headers=true",
        "--timeout-ms",
        "20000",
    ];
    let shown = kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &[&to[..], &one].concat(), "");
    assert!(shown.lines().all(|line| line.starts_with("h0:") && line.contains("\tkey-")), "{shown}");

    // HdrHistogram's own reader.
    let summary = kafka_tool("org.HdrHistogram.HistogramLogProcessor", &["-i", &hlog], "");
    assert!(summary.contains("Value") && summary.contains("#[Max"), "{summary}");
    let total = summary.lines().filter_map(|line| line.split_once("Total count")).next();
    let total = total.map(|(_, count)| count.trim_matches(|c: char| !c.is_ascii_digit()));
    assert_eq!(total, Some(RECORDS), "{summary}");

    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).expect("the results")).expect("JSON");
    assert!(result["aggregatedPublishLatency9999pct"].as_f64().is_some_and(|ms| ms > 0.0), "{result}");
    assert_eq!(result["twinlog"]["records"].to_string(), RECORDS);
}

#[test]
#[ignore = "needs a Kafka cluster: scripts/test e2e"]
fn the_output_is_that_of_kafkas_own_tool() {
    let cluster = Cluster::start(Place::Source, 1, &[]);
    let bootstrap = format!("bootstrap.servers={}", cluster.bootstrap);
    script(&["topics", cluster.name(), "--create", "--topic", "perf", "--partitions", "3"]).expect("a topic");
    let flags = [
        "--topic",
        "perf",
        "--num-records",
        "100000",
        "--record-size",
        "200",
        "--throughput",
        "40000",
        "--reporting-interval",
        "1000",
        "--print-metrics",
        "--producer-props",
        &bootstrap,
        "acks=all",
    ];
    let theirs = kafka_tool("org.apache.kafka.tools.ProducerPerformance", &flags, "");
    let ours = Twinlog::new(&["load", "--perf-test"]).with(&flags).run().succeeded().text;
    let window = r"^\d+ records sent, \d+\.\d records/sec \(\d+\.\d\d MB/sec\), \d+\.\d ms avg latency, \d+\.\d ms max latency\.$";
    let latencies = r"\d+\.\d\d ms avg latency, \d+\.\d\d ms max latency, \d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.$";
    let total = &format!(r"^100000 records sent, \d+\.\d{{6}} records/sec \(\d+\.\d\d MB/sec\), {latencies}");
    let metric = r"^producer-metrics:record-send-total:\{client-id=perf-producer-client\} +: 100000\.000$";
    for (whose, text) in [("Kafka's", &theirs), ("ours", &ours)] {
        for pattern in [window, total, metric] {
            let pattern = Regex::new(pattern).expect("a pattern");
            assert!(text.lines().any(|line| pattern.is_match(line)), "{whose} has no {pattern}:\n{text}");
        }
    }
    let counted = script(&["tool", cluster.name(), "get-offsets", "--topic", "perf"]).expect("get-offsets");
    let ends = counted.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok());
    assert_eq!(ends.sum::<u64>(), 200_000, "{counted}");
}

#[test]
#[ignore = "needs a Kafka cluster: scripts/test e2e"]
fn transactions_of_a_load_are_kafkas_and_their_twin_has_none() {
    let mut pair = Pair::start((1, 1), &[], &[]);
    let load = ["load", "--target", &pair.source.bootstrap, "--topic", "t", "--create", "--partitions", "2"];
    let transactions = ["--transactions", "100", "--aborted-percent", "30", "--check"];
    let ended = Twinlog::new(&load).with(&transactions).with(&["--rate", "5000", "--seconds", "5"]).run();
    ended.ended_with(
        0,
        &["transactions that were committed", "0 lost, 0 duplicated, 0 reordered, 0 corrupted"],
    );
    let mut records = |level: &str| -> u64 {
        let lines = pair.on_source("read", &format!("t {level}"));
        lines
            .iter()
            .map(|line| line.split(' ').nth(3).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0))
            .sum()
    };
    let (committed, all) = (records(""), records("uncommitted"));
    assert!(committed > all / 2 && committed < all * 9 / 10, "{committed} of {all} records are committed");
    pair.mirror("t", "t").run().succeeded();
    pair.same("t");
}

#[test]
fn a_load_that_makes_no_sense_exits_with_2() {
    let load = |rest: &[&str]| Twinlog::new(&["load", "--topic", "t"]).with(rest).patience(10).run();
    load(&[]).ended_with(2, &["--target"]);
    load(&["--target", "127.0.0.1:9", "--rate", "-5"]).ended_with(2, &["--rate"]);
    load(&["--target", "127.0.0.1:9", "--transactions", "9", "--acks", "1"]).ended_with(2, &["--acks"]);
    load(&["--target", "127.0.0.1:9", "--transactions", "0"]).ended_with(2, &["1 ms or longer"]);
    load(&["--target", "127.0.0.1:9", "--transactional-id", "x"]).ended_with(2, &["--transactions"]);
    load(&["--target", "127.0.0.1:9", "--record-bytes", "1MiB"]).ended_with(2, &["--batch-bytes"]);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "name: x\nproducersRate: 5\n").expect("a temporary file");
    let path = file.path().to_str().expect("UTF-8");
    load(&["--target", "127.0.0.1:9", "--workload", path])
        .ended_with(2, &[":2:", "producersRate", "producerRate"]);
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let load = Twinlog::new(&["load", "--topic", "t", "--target", "127.0.0.1:9"]).patience(60).run();
    load.ended_with(1, &["127.0.0.1:9"]);
}
