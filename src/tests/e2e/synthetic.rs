//! `twinlog broker` used by Kafka's own tools and clients.

use crate::await_until;
use crate::judge::Judge;
use crate::kafka::script;
use crate::mirror::{Running, Twinlog};
use crate::prometheus::Prometheus;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// A synthetic cluster, and its bootstrap address.
pub fn serve(port: u64, options: &[&str]) -> (Running, String) {
    let port = port.to_string();
    let running = Twinlog::new(&["broker", "--port", &port]).with(options).start();
    let address = format!("127.0.0.1:{port}");
    await_until("the synthetic broker listens", Duration::from_secs(20), || {
        TcpStream::connect(&address).is_ok()
    });
    (running, address)
}

pub fn base_port() -> u64 {
    crate::kafka::base_port() + 200
}

/// Runs one of Kafka's tools by its class, with Kafka 4.3.1's jars; its output.
pub fn kafka_tool(class: &str, arguments: &[&str], input: &str) -> String {
    let class_path = script(&["classpath"]).unwrap_or_else(|error| panic!("{error}"));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), input).expect("a temporary file");
    let output = Command::new("java")
        .args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
        ])
        .arg(class_path.trim())
        .arg(class)
        .args(arguments)
        .stdin(std::fs::File::open(file.path()).expect("a temporary file"))
        .output()
        .expect("java");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {arguments:?}:\n{text}{errors}");
    text
}

#[test]
#[ignore = "needs Kafka's jars: scripts/test e2e"]
fn kafkas_tools_work_with_the_synthetic_broker() {
    let (running, address) = serve(base_port(), &[]);
    let to = ["--bootstrap-server", address.as_str()];
    let create = [&to[..], &["--create", "--topic", "typed", "--partitions", "3"]].concat();
    kafka_tool("org.apache.kafka.tools.TopicCommand", &create, "");
    let described =
        kafka_tool("org.apache.kafka.tools.TopicCommand", &[&to[..], &["--describe"]].concat(), "");
    assert!(described.contains("PartitionCount: 3"), "{described}");

    let lines: String = (0..100).map(|line| format!("line {line}\n")).collect();
    kafka_tool("org.apache.kafka.tools.ConsoleProducer", &[&to[..], &["--topic", "typed"]].concat(), &lines);
    let consume = [
        "--topic",
        "typed",
        "--from-beginning",
        "--max-messages",
        "100",
        "--timeout-ms",
        "20000",
        "--group",
        "g",
    ];
    let read =
        kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &[&to[..], &consume].concat(), "");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&read), sorted(&lines));

    let load = ["--topic", "typed", "--num-records", "200000", "--record-size", "500", "--throughput", "-1"];
    let properties = ["--producer-props".to_owned(), format!("bootstrap.servers={address}")];
    let load: Vec<&str> = load.into_iter().chain(properties.iter().map(String::as_str)).collect();
    let report = kafka_tool("org.apache.kafka.tools.ProducerPerformance", &load, "");
    assert!(report.contains("200000 records sent"), "{report}");
    let read = ["--topic", "typed", "--messages", "200000", "--timeout", "30000"];
    kafka_tool("org.apache.kafka.tools.ConsumerPerformance", &[&to[..], &read].concat(), "");
    let groups = kafka_tool(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &[&to[..], &["--list"]].concat(),
        "",
    );
    assert!(groups.lines().any(|line| line == "g"), "{groups}");
    clean_end(running);
}

#[test]
#[ignore = "needs Kafka's jars: scripts/test e2e"]
fn two_synthetic_clusters_are_mirrored() {
    let (source, from) = serve(base_port(), &["--brokers", "3"]);
    let (target, to) = serve(base_port() + 10, &["--brokers", "3"]);
    let mut judge = Judge::start();
    judge.create(&from, "made", 5, 1, "");
    judge.produce(&from, "made", 1, 20 << 20, "codec=zstd");
    Twinlog::mirror(&from, &to, "made").until_caught_up().run().succeeded();
    assert_eq!(judge.read(&from, "made"), judge.read(&to, "made"));
    clean_end(source);
    clean_end(target);
}

/// What a running mirror shows over HTTP is what it does, and a real Prometheus takes all of it; a partition that stops makes it
/// unhealthy, with the reason.
#[test]
#[ignore = "needs Kafka's jars: scripts/test e2e"]
fn a_mirror_can_be_watched() {
    let (source, from) = serve(base_port(), &[]);
    let (target, to) = serve(base_port() + 10, &[]);
    let port = (base_port() + 20).to_string();
    let mut judge = Judge::start();
    judge.create(&from, "made", 2, 1, "");
    judge.produce(&from, "made", 1, 1 << 20, "");
    judge.must(&format!("commit {from} made readers 0 5"));
    let mirror = Twinlog::mirror(&from, &to, "made|large")
        .with(&["--metadata-refresh-ms", "500", "--listen", &port, "--metrics-names", "both"])
        .with(&["--source-alias", "east", "--target-alias", "west"])
        .with(&["--checkpoints", "readers", "--checkpoints-interval-ms", "300"]);
    let running = mirror.start();
    let patience = Duration::from_secs(30);
    await_until("it is ready", patience, || {
        get(&port, "/ready").is_ok_and(|answer| answer.contains("200 OK"))
    });
    await_until("nothing is behind", patience, || {
        let metrics = get(&port, "/metrics").expect("metrics");
        let all = [0, 1].map(|partition| {
            metrics.contains(&format!(
                "twinlog_partition_lag_records{{link=\"mirror\",topic=\"made\",partition=\"{partition}\"}} 0.0"
            ))
        });
        all == [true; 2] && metrics.contains("twinlog_partitions{link=\"mirror\"} 2")
    });
    assert_eq!(judge.read(&from, "made"), judge.read(&to, "made"));
    assert!(get(&port, "/health").expect("health").contains("200 OK"));
    let prometheus = Prometheus::start(base_port() + 30, &port);
    if let Some(prometheus) = &prometheus {
        prometheus.takes(&[
            "twinlog_partition_position{link=\"mirror\",topic=\"made\",partition=\"1\"}",
            "kafka_connect_mirror_mirrorsourceconnector_byte_rate{source=\"east\",target=\"west\",topic=\"made\"}",
            "kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms_max{group=\"readers\",topic=\"made\"}",
        ]);
        let batches = prometheus.value("sum(twinlog_batches_total)").expect("batches");
        for stage in ["fetched", "sent", "acked", "total"] {
            let count = format!("twinlog_batch_latency_seconds_count{{stage=\"{stage}\"}}");
            assert_eq!(prometheus.value(&count), Some(batches), "{stage}");
        }
        let records = "sum(kafka_connect_mirror_mirrorsourceconnector_record_count)";
        assert_eq!(prometheus.value(records), prometheus.value("sum(twinlog_records_total)"));
    }

    judge.create(&to, "large", 1, 1, "max.message.bytes=10000");
    judge.create(&from, "large", 1, 1, "");
    judge.produce(&from, "large", 1, 100_000, "record=20000 batch=40000");
    await_until("a stopped partition makes it unhealthy", patience, || {
        let health = get(&port, "/health").expect("health");
        health.contains("503") && health.contains("large-0") && health.contains("max.message.bytes")
    });
    assert!(get(&port, "/status").expect("status").contains("\"state\":\"stopped\""));
    if let Some(prometheus) = &prometheus {
        prometheus.fires("TwinlogPartitionsStopped");
    }

    let second = mirror.with(&["--link", "another"]).patience(30).run();
    second.ended_with(1, &["--listen"]);
    clean_end(running);
    clean_end(source);
    clean_end(target);
}

/// The answer to a GET, head and body.
pub fn get(port: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Transactions of a Java producer, some aborted: committed reading leaves out their records, and the mirror keeps the offsets of
/// the others on a target that fills the gaps with markers.
#[test]
#[ignore = "needs Kafka's jars: scripts/test e2e"]
fn transactions_work_with_the_synthetic_broker() {
    let (source, from) = serve(base_port(), &["--brokers", "2"]);
    let (target, to) = serve(base_port() + 10, &[]);
    let mut judge = Judge::start();
    judge.create(&from, "decided", 2, 1, "");
    judge.must(&format!("transact {from} decided 1 30"));
    let uncommitted =
        |judge: &mut Judge, at: &str| judge.must(&format!("read {at} decided values uncommitted"));
    let committed = judge.must(&format!("read {from} decided values"));
    assert_ne!(committed, uncommitted(&mut judge, &from), "there were aborted records to leave out");
    Twinlog::mirror(&from, &to, "decided")
        .with(&["--offsets", "identical"])
        .until_caught_up()
        .run()
        .succeeded();
    assert_eq!(judge.read(&from, "decided"), judge.read(&to, "decided"));
    assert_eq!(committed, uncommitted(&mut judge, &to), "only what was committed came over");

    let to_source = ["--bootstrap-server", from.as_str()];
    let transactions = "org.apache.kafka.tools.TransactionsCommand";
    let listed = kafka_tool(transactions, &[&to_source[..], &["list"]].concat(), "");
    assert!(listed.contains("decided-1"), "{listed}");
    let describe = ["describe", "--transactional-id", "decided-1"];
    let described = kafka_tool(transactions, &[&to_source[..], &describe].concat(), "");
    assert!(described.contains("CompleteAbort"), "the last of 30 is aborted: {described}");
    let producers = ["describe-producers", "--topic", "decided", "--partition", "0"];
    let producers = kafka_tool(transactions, &[&to_source[..], &producers].concat(), "");
    assert!(producers.contains("None"), "no transaction is open: {producers}");
    clean_end(source);
    clean_end(target);
}

/// librdkafka, by its Python client from PyPI.
#[test]
#[ignore = "needs confluent-kafka from PyPI: scripts/test e2e"]
fn librdkafka_works_with_the_synthetic_broker() {
    let Some(python) = std::env::var_os("TWINLOG_E2E_PYTHON") else {
        println!("skipped: TWINLOG_E2E_PYTHON names no Python that has confluent-kafka");
        return;
    };
    let (running, address) = serve(base_port(), &[]);
    let program = crate::kafka::repository().join("scripts/judge/librdkafka.py");
    let output = Command::new(python).arg(program).arg(&address).output().expect("python");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    clean_end(running);
}

pub fn clean_end(mut running: Running) {
    running.interrupt();
    let ended = running.end();
    assert!(matches!(ended.code, Some(0 | 130)), "{:?}: {}", ended.code, ended.text);
}
