//! `twinlog shape` and `twinlog capacity` against real brokers, and between clusters in the process.

use crate::await_until;
use crate::kafka::{Cluster, Place, script};
use crate::mirror::Twinlog;
use crate::pair::{Case, run_cases};
use crate::synthetic::kafka_tool;
use std::path::Path;
use std::time::Duration;

struct World {
    source: Cluster,
    target: Cluster,
}

#[test]
#[ignore = "needs Kafka clusters: scripts/test e2e"]
fn shapes_and_capacity_between_real_clusters() {
    let mut world = World {
        source: Cluster::start(Place::Source, 2, &[]),
        target: Cluster::start(Place::Target, 1, &[]),
    };
    let cases: &[Case<World>] = &[
        ("a replay is like what was captured", a_replay_is_like_what_was_captured),
        ("a capacity is found and checked", a_capacity_is_found_and_checked),
        ("Ctrl-C tidies up and says what was found", ctrl_c_tidies_up),
    ];
    run_cases(&mut world, cases);
}

fn a_replay_is_like_what_was_captured(world: &mut World) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let to = ["--target", world.source.bootstrap.as_str()];
    let from = ["--source", world.source.bootstrap.as_str()];
    let shape = [
        "--codec",
        "zstd",
        "--record-bytes",
        "lognormal:300,1",
        "--keys",
        "zipf:1000",
        "--batch-bytes",
        "12KiB",
    ];
    let when = [
        "--rate",
        "500kB/s",
        "--arrivals",
        "poisson",
        "--seconds",
        "4",
        "--timestamps",
        "now",
        "--in-flight",
        "100",
    ];
    let load = Twinlog::new(&["load", "--topic", "orig", "--create", "--partitions", "5"]);
    load.with(&to).with(&shape).with(&when).run().succeeded();
    let capture = |topic: &str, out: &str| {
        let capture = Twinlog::new(&["shape", "capture", "--topics", topic, "--last", "10m", "--out", out]);
        capture
            .with(&from)
            .run()
            .ended_with(0, &["zstd 100.0 %", "5 of 5 partitions", "by their timestamps"]);
    };
    let original = file("original.shape.zst");
    capture("orig", &original);
    let mut records = Vec::new();
    for speed in ["1", "4"] {
        let (topic, out) = (format!("replay-{speed}"), file(&format!("{speed}.shape")));
        let replay =
            Twinlog::new(&["load", "--topic", &topic, "--create", "--shape", &original, "--speed", speed]);
        replay.with(&to).run().ended_with(0, &["codec zstd"]);
        capture(&topic, &out);
        let diff = Twinlog::new(&["shape", "diff", &original, &out, "--speed", speed]);
        println!("{}", diff.run().text);
        is_alike(&diff.with(&["--json"]).run().text);
        let ends =
            script(&["tool", world.source.name(), "get-offsets", "--topic", &topic]).expect("get-offsets");
        let ends = ends.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok());
        records.push(ends.sum::<u64>());
    }
    assert_eq!(records[0], records[1]);
    // Kafka's own consumer decodes every record.
    let count = records[1].to_string();
    let at = ["--bootstrap-server", world.source.bootstrap.as_str(), "--topic", "replay-4", "--hide-header"];
    let read = [&at[..], &["--num-records", &count, "--timeout", "60000"]].concat();
    let read = kafka_tool("org.apache.kafka.tools.ConsumerPerformance", &read, "");
    let line = read.lines().find(|line| line.matches(',').count() > 5).unwrap_or_default();
    assert_eq!(line.split(", ").nth(4), Some(count.as_str()), "{read}");
    // Nothing of what was in the records is in the file.
    let plain = std::fs::read_to_string(file("1.shape")).expect("a shape");
    assert!(
        plain.lines().skip(1).all(|line| line.chars().all(|c| "[],0123456789".contains(c))),
        "{plain:.300}"
    );
}

/// What does not depend on how busy this machine is differs by 2 % at the most. Of rates and arrival times that is printed.
#[track_caller]
fn is_alike(json: &str) {
    let comparison: serde_json::Value =
        serde_json::from_str(json).unwrap_or_else(|_| panic!("no JSON: {json}"));
    let rows = comparison["rows"].as_array().expect("rows");
    assert!(rows.len() > 10, "{json}");
    for row in rows {
        let what = row["what"].as_str().unwrap_or_default();
        let is_timed = what.ends_with("/s") || what.starts_with("arrival");
        let off = row["difference_percent"].as_f64().expect("a number").abs();
        assert!(is_timed || off <= 2.0, "{what}: {off} %, {json}");
    }
}

fn a_capacity_is_found_and_checked(world: &mut World) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let json = folder.path().join("capacity.json");
    let clusters = ["--source", world.source.bootstrap.as_str(), "--target", world.target.bootstrap.as_str()];
    let load = ["--record-size", "500", "--batch-bytes", "16KiB", "--codec", "lz4", "--partitions", "4"];
    let search =
        ["--slo", "p50=10s", "--from", "500kB/s", "--up-to", "1MB/s", "--step", "1s", "--warmup", "500ms"];
    let rest = ["--check", "2s", "--want", "100MB/s", "--json", json.to_str().expect("UTF-8")];
    let ended = Twinlog::new(&["capacity"]).with(&clusters).with(&load).with(&search).with(&rest).run();
    ended.ended_with(0, &["1.00 MB/s, ", "the SLO held", "plan        for 100 MB/s", "per core"]);
    let report = report(&json);
    assert_eq!(report["tried"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(report["tried"][1]["evidence"]["target_answer_us"].as_u64().is_some_and(|us| us > 0), "{report}");
    nothing_is_left(world);
}

fn ctrl_c_tidies_up(world: &mut World) {
    let clusters = ["--source", world.source.bootstrap.as_str(), "--target", world.target.bootstrap.as_str()];
    let mut running = Twinlog::new(&["capacity", "--slo", "p99=10s", "--from", "500kB/s", "--step", "1s"])
        .with(&["--warmup", "100ms"])
        .with(&clusters)
        .start();
    await_until("the second rate is tried", Duration::from_secs(60), || running.text().contains("rate 2: "));
    running.interrupt();
    running.end().ended_with(130, &["PARTIAL", "found       ", "check       none was made"]);
    nothing_is_left(world);
}

/// No topic of the command's is on either side.
#[track_caller]
fn nothing_is_left(world: &World) {
    for cluster in [&world.source, &world.target] {
        let is_clean = || {
            let topics = script(&["topics", cluster.name(), "--list"]).expect("topics");
            !topics.contains("twinlog-capacity")
        };
        await_until("its topics are deleted", Duration::from_secs(30), is_clean);
    }
}

fn report(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("the results");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
#[ignore = "takes seconds: scripts/test e2e"]
fn capacity_needs_nothing_else() {
    let short =
        ["--from", "1MB/s", "--up-to", "2MB/s", "--step", "500ms", "--warmup", "300ms", "--check", "500ms"];
    let ended = Twinlog::new(&["capacity", "--slo", "p50=10s"]).with(&short).run();
    ended.ended_with(0, &["2.00 MB/s, ", "the SLO held", "plan        for 2.00 MB/s", "both clusters"]);
    let impossible =
        Twinlog::new(&["capacity", "--slo", "max=1us", "--step", "300ms", "--warmup", "100ms"]).run();
    impossible.ended_with(1, &["NO RATE HOLDS", "round trips"]);
}

#[test]
fn what_makes_no_sense_exits_with_2() {
    let run = |words: &[&str]| Twinlog::new(words).patience(20).run();
    run(&["capacity"]).ended_with(2, &["--slo"]);
    run(&["capacity", "--slo", "p99=5"]).ended_with(2, &["unit"]);
    run(&["capacity", "--slo", "p99=5ms", "--source", "a:1"]).ended_with(2, &["--target"]);
    run(&["shape", "capture", "--source", "a:1", "--topics", "t"]).ended_with(2, &["--out"]);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "{\"twinlog_shape\":7}\n").expect("a temporary file");
    let path = file.path().to_str().expect("UTF-8");
    run(&["shape", "show", path]).ended_with(2, &[":1:", "format 7"]);
    run(&["load", "--target", "127.0.0.1:9", "--topic", "t", "--shape", path])
        .ended_with(2, &[":1:", "format 7"]);
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let out = out.path().to_str().expect("UTF-8");
    run(&["shape", "capture", "--source", "127.0.0.1:9", "--topics", "t", "--out", out])
        .ended_with(1, &["127.0.0.1:9"]);
}
