//! Records that are changed on their way, judged by Kafka's console consumer.

use crate::await_until;
use crate::kafka::Cluster;
use crate::mirror::Twinlog;
use crate::pair::{Pair, run_cases};
use crate::synthetic::kafka_tool;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::time::Duration;

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn records_are_changed_on_their_way() {
    let mut pair = Pair::start((1, 1), &[], &[]);
    run_cases(
        &mut pair,
        &[
            ("filtered, masked and marked, through kills", filtered_masked_and_marked),
            ("identical offsets around what is dropped", identical_offsets_around_what_is_dropped),
            ("a handler in WebAssembly", a_handler_in_webassembly),
            ("a record that no step can handle", a_record_that_no_step_can_handle),
            (
                "what cannot be mirrored goes to the dead letters",
                what_cannot_be_mirrored_goes_to_the_dead_letters,
            ),
        ],
    );
}

/// Writes these lines, key and value apart by a tab, into a new topic of one partition.
fn write_lines(pair: &mut Pair, topic: &str, lines: &str) {
    pair.on_source("create", &format!("{topic} 1 1"));
    let to = ["--bootstrap-server", pair.source.bootstrap.as_str(), "--topic", topic];
    let keyed = ["--reader-property", "parse.key=true", "--producer-property", "linger.ms=5"];
    kafka_tool("org.apache.kafka.tools.ConsoleProducer", &[&to[..], &keyed].concat(), lines);
}

/// Offset, headers, key and value of what is there.
fn read_lines(cluster: &Cluster, topic: &str, records: usize) -> Vec<String> {
    let records = records.to_string();
    let from = ["--bootstrap-server", &cluster.bootstrap, "--topic", topic, "--from-beginning"];
    let until = ["--max-messages", records.as_str(), "--timeout-ms", "20000"];
    let mut shown = Vec::new();
    for property in ["print.offset=true", "print.headers=true", "print.key=true"] {
        shown.extend(["--formatter-property", property]);
    }
    let words = [&from[..], &until, &shown].concat();
    let text = kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &words, "");
    text.lines().map(str::to_owned).collect()
}

/// A mirror of one topic, with this transform.
fn changing(pair: &Pair, topic: &str, transform: &str) -> (Twinlog, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(file, "[[transform]]\ntopics = ['{topic}']\n{transform}\n").expect("a temporary file");
    let path = file.path().display().to_string();
    (pair.mirror(topic, topic).with(&["--config", &path]), file)
}

/// Orders of two countries, the second half behind a large batch's worth of the first.
fn orders(count: usize) -> String {
    let mut lines = String::new();
    for n in 0..count {
        let country = if n % 3 == 0 { "FR" } else { "DE" };
        let _ = writeln!(
            lines,
            "k{n}\t{{\"n\":{n}, \"country\":\"{country}\",\"card\":{{\"number\":\"4711{n}\"}}}}"
        );
    }
    lines
}

fn filtered_masked_and_marked(pair: &mut Pair) {
    const ORDERS: usize = 60_000;
    write_lines(pair, "orders", &orders(ORDERS));
    let transform = "compression = 'lz4'\nsteps = [\n\
        { keep = { field = 'country', equals = 'DE' } },\n\
        { mask = { field = 'card.number', with = '****' } },\n\
        { set-header = { name = 'origin', value = 'east' } },\n]";
    let (mirror, _file) = changing(pair, "orders", transform);
    let slow = mirror.clone().with(&["--max-rate-hours", "00:00-24:00=1MB/s"]);
    for run in 0..2 {
        let before = pair.target_end("orders");
        let running = slow.start();
        await_until("some of it is on the target", Duration::from_secs(60), || {
            pair.target_end("orders") > before
        });
        // Offsets cannot stay as they are, and that was chosen when the topic was new.
        assert!(run > 0 || running.text().contains("its transform can drop records"), "{}", running.text());
        running.kill();
    }
    mirror.run().succeeded();
    let kept = (0..ORDERS).filter(|n| n % 3 != 0);
    let expected: Vec<String> = kept
        .enumerate()
        .map(|(offset, n)| {
            format!(
                "Offset:{offset}\torigin:east\tk{n}\t{{\"n\":{n}, \"country\":\"DE\",\"card\":{{\"number\":\"****\"}}}}"
            )
        })
        .collect();
    assert_eq!(pair.target_end("orders"), expected.len() as i64);
    assert!(read_lines(&pair.target, "orders", expected.len()) == expected, "the records differ");
}

fn identical_offsets_around_what_is_dropped(pair: &mut Pair) {
    write_lines(pair, "alike", &orders(300));
    let (mirror, _file) =
        changing(pair, "alike", "steps = [{ drop = { field = 'country', equals = 'FR' } }]");
    mirror.with(&["--offsets", "identical"]).run().succeeded();
    let lines = read_lines(&pair.target, "alike", 200);
    let expected: Vec<String> = (0..300).filter(|n| n % 3 != 0).map(|n| format!("Offset:{n}\t")).collect();
    assert!(lines.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{lines:?}");
    assert_eq!(lines.len(), 200);
}

fn a_handler_in_webassembly(pair: &mut Pair) {
    write_lines(pair, "handled", &orders(300));
    let module = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(module.path(), wat::parse_str(HANDLER).expect("a module")).expect("a temporary file");
    let transform = format!("steps = [{{ wasm = {{ module = '{}' }} }}]", module.path().display());
    let (mirror, _file) = changing(pair, "handled", &transform);
    mirror.run().succeeded();
    let lines = read_lines(&pair.target, "handled", 150);
    assert!(
        lines.len() == 150 && lines[1].contains("\tk2\t") && lines[149].contains("\tk298\t"),
        "{lines:?}"
    );
}

fn a_record_that_no_step_can_handle(pair: &mut Pair) {
    write_lines(pair, "odd", "a\t{\"x\":1}\nb\tno JSON\nc\t{\"x\":2}\n");
    let steps = "steps = [{ mask = { field = 'x', with = 0 } }]";
    let (mirror, _file) = changing(pair, "odd", steps);
    mirror.run().ended_with(3, &["odd", "at offset 1", "step 1 (mask)", "on-error"]);
    let (mirror, _file) = changing(pair, "odd", &format!("on-error = 'drop'\n{steps}"));
    mirror.run().succeeded();
    let values: Vec<String> = read_lines(&pair.target, "odd", 2)
        .iter()
        .map(|line| line.rsplit('\t').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(values, ["{\"x\":0}", "{\"x\":0}"]);
}

/// What is to become of a topic of lines of which some are no JSON, one is too large, and one batch is damaged.
struct Misfits {
    mirrored: Vec<(i64, String)>,
    odd: BTreeSet<i64>,
    large: i64,
    damaged: (i64, i64),
}

const MISFITS: i64 = 6_000;

/// Fills a topic on the source. The target has it with less room.
fn misfits(pair: &mut Pair, topic: &str) -> Misfits {
    let large = MISFITS / 2;
    let mut lines = String::new();
    for n in 0..MISFITS {
        let _ = match n {
            _ if n == large => writeln!(lines, "k{n}\t{{\"x\":{n},\"y\":\"{}\"}}", "y".repeat(90_000)),
            _ if n % 100 == 7 => writeln!(lines, "k{n}\tno JSON"),
            _ => writeln!(lines, "k{n}\t{{\"x\":{n}}}"),
        };
    }
    write_lines(pair, topic, &lines);
    pair.on_target("create", &format!("{topic} 1 1 max.message.bytes=40000"));
    let damaged = damage_a_batch(pair, topic, large + 500);
    assert!(damaged.0 > large && damaged.1 < MISFITS - 1, "{damaged:?}");
    let odd = (0..MISFITS).filter(|n| n % 100 == 7).collect();
    let is_mirrored = |n: &i64| *n != large && !(damaged.0..=damaged.1).contains(n);
    let mirrored = (0..MISFITS).filter(is_mirrored).map(|n| (n, format!("k{n}"))).collect();
    Misfits { mirrored, odd, large, damaged }
}

/// A disk that gives back other bits than it was given. Returns the first and the last offset of the batch that has them.
fn damage_a_batch(pair: &Pair, topic: &str, offset: i64) -> (i64, i64) {
    let path = pair.source.log_file(0, topic, 0);
    let bytes = std::fs::read(&path).expect("the source's log");
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte))
    };
    let mut at = 0;
    loop {
        let (first, length, delta) = (number(at, 8), number(at + 8, 4) as usize + 12, number(at + 23, 4));
        if first + delta >= offset {
            let last = at + length - 1;
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the source's log");
            file.write_all_at(&[!bytes[last]], last as u64).expect("the source's log");
            return (first, first + delta);
        }
        at += length;
    }
}

/// One topic's records are changed, the other's pass unopened as far as they can.
fn what_cannot_be_mirrored_goes_to_the_dead_letters(pair: &mut Pair) {
    let opened = misfits(pair, "opened");
    let passed = misfits(pair, "passed");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(file, "[[transform]]\ntopics = ['opened']\nsteps = [{{ mask = {{ field = 'x', with = 0 }} }}]\n")
        .expect("a temporary file");
    let path = file.path().display().to_string();
    let stopped = pair.mirror("passed", "stopped").with(&["--append", "passed", "--prefix", "stopped."]);
    pair.on_target("create", "stopped.passed 1 1 max.message.bytes=40000");
    stopped.run().ended_with(3, &["passed", "max.message.bytes"]);

    let mirror =
        pair.mirror("opened,passed", "misfits").with(&["--config", &path, "--dead-letter", "letters"]);
    let slow = mirror.clone().with(&["--max-rate", "100KB/s", "--cores", "0"]);
    for letters in [1, 40] {
        let running = slow.start();
        await_until("some of it is in the dead letters", Duration::from_secs(60), || {
            pair.target_end("letters") >= letters
        });
        running.kill();
    }
    let ended = mirror.run();
    ended.ended_with(0, &["to the dead letters: "]);

    let letters = usize::try_from(pair.target_end("letters")).expect("an end");
    let lines = read_lines(&pair.target, "letters", letters);
    for (topic, misfits, odd) in [("opened", &opened, &opened.odd), ("passed", &passed, &BTreeSet::new())] {
        let Misfits { mirrored, large, damaged, .. } = misfits;
        let of_topic = |word: &str| {
            lines
                .iter()
                .filter(|line| {
                    line.contains(&format!(
                        "twinlog.link:misfits,twinlog.topic:{topic},twinlog.partition:0,{word}"
                    ))
                })
                .collect::<Vec<_>>()
        };
        let batch = format!("twinlog.offset:{},twinlog.last-offset:{},", damaged.0, damaged.1);
        assert!(of_topic(&batch)[0].contains("checksum does not fit"), "{topic}: {:?}", of_topic(&batch));
        let alone = of_topic(&format!("twinlog.offset:{large},"))[0];
        assert!(
            alone.contains("max.message.bytes") && alone.ends_with(&format!("k{large}\tnull")),
            "{alone}"
        );
        // What stands in the damaged batch is there as a part of that.
        let odd: BTreeSet<i64> =
            odd.iter().copied().filter(|n| !(damaged.0..=damaged.1).contains(n)).collect();
        let found: BTreeSet<i64> = (0..MISFITS)
            .filter(|n| {
                of_topic(&format!("twinlog.offset:{n},twinlog.timestamp_ms:"))
                    .iter()
                    .any(|line| line.contains("step 1 (mask)") && line.ends_with(&format!("\tk{n}\tno JSON")))
            })
            .collect();
        assert_eq!(found, odd, "{topic}");
        assert!(of_topic("").len() <= 4 * (odd.len() + 2), "{topic}: they are written again and again");

        let expected: Vec<String> = mirrored
            .iter()
            .filter(|(n, _)| !odd.contains(n))
            .map(|(n, key)| format!("Offset:{n}\tNO_HEADERS\t{key}\t"))
            .collect();
        let lines = read_lines(&pair.target, topic, expected.len());
        let is_right = lines.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected));
        assert!(is_right && lines.len() == expected.len(), "{topic}: {} lines", lines.len());
        assert_eq!(pair.target_end(topic), MISFITS, "identical offsets to the end");
    }
}

/// Drops every other record, by the last digit of its key.
const HANDLER: &str = r#"(module
  (memory (export "memory") 2)
  (func (export "twinlog_buffer") (param i32) (result i32) i32.const 1024)
  (func (export "twinlog_record") (param $at i32) (param $bytes i32) (param i64) (result i64)
    (local $length i32)
    ;; The key's length, zigzag: these are short.
    (local.set $length (i32.shr_u (i32.load8_u (local.get $at)) (i32.const 1)))
    (i64.extend_i32_u
      (i32.and (i32.load8_u (i32.add (local.get $at) (local.get $length))) (i32.const 1)))))"#;
