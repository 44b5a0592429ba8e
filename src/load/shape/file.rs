//! A shape's file: lines of JSON. The first is the [`Head`], each further one a list of whole numbers:
//!
//! ```text
//! [gap_us, lane, bytes, records, codec]
//! [gap_us, lane, bytes, records, codec, times]
//! ```
//!
//! `gap_us` counts from the batch before, `codec` is Kafka's number (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd), and `times` says how
//! often the same line would come in a row. A batch takes about 20 bytes, a third of that where the file is compressed (zstd).

use super::{BATCHES_MAX, Captured, Head, LANES_MAX, Seen};
use crate::limits::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES, RECORDS_BYTES_MAX};
use crate::load::Codec;
use std::fmt::Write;

const FORMAT: u32 = 1;
/// What is left of a record that has nothing in it.
const RECORD_BYTES_MIN: u64 = 7;
/// A hundred years.
const US_MAX: u64 = 100 * 365 * 86_400 * 1_000_000;

/// Why a file is no shape: file, line, what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadShape(pub String);

/// The text of a file.
pub fn write(captured: &Captured) -> String {
    let mut text = String::with_capacity(captured.batches.len() * 24 + 1024);
    // A head is numbers and names, which JSON can always say.
    text += &serde_json::to_string(&captured.head).unwrap_or_default();
    text.push('\n');
    let mut last: Option<(u64, Seen)> = None;
    let mut times = 0;
    let mut before_us = 0;
    for seen in &captured.batches {
        let line = (seen.at_us - before_us, Seen { at_us: 0, ..*seen });
        before_us = seen.at_us;
        if last == Some(line) {
            times += 1;
            continue;
        }
        put(&mut text, last, times);
        (last, times) = (Some(line), 1);
    }
    put(&mut text, last, times);
    text
}

fn put(text: &mut String, line: Option<(u64, Seen)>, times: u64) {
    let Some((gap_us, Seen { lane, bytes, records, codec, .. })) = line else { return };
    // Writing to a string cannot fail.
    let _ = write!(text, "[{gap_us},{lane},{bytes},{records},{}", codec.id());
    let _ = if times > 1 { writeln!(text, ",{times}]") } else { writeln!(text, "]") };
}

/// Reads a file's text. `file` is what it is called in errors.
pub fn read(file: &str, text: &str) -> Result<Captured, BadShape> {
    let mut lines = (1..).zip(text.lines());
    let bad = |line: usize, what: &str| BadShape(format!("{file}:{line}: {what}"));
    let (_, first) = lines.next().ok_or_else(|| BadShape(format!("{file} is empty; {HOW}")))?;
    let head = head(first).map_err(|what| bad(1, &what))?;
    let lanes = head.lanes();
    let mut batches: Vec<Seen> = Vec::new();
    let mut at_us = 0;
    for (number, line) in lines {
        if line.trim().is_empty() {
            continue;
        }
        let (gap_us, seen, times) = batch(line, lanes).map_err(|what| bad(number, &what))?;
        if batches.len() as u64 + times > BATCHES_MAX as u64 {
            return Err(bad(number, &format!("there are more than {BATCHES_MAX} batches")));
        }
        for _ in 0..times {
            at_us += gap_us;
            batches.push(Seen { at_us, ..seen });
        }
        if at_us > US_MAX {
            return Err(bad(number, "it goes on for more than a hundred years"));
        }
    }
    if batches.is_empty() {
        return Err(BadShape(format!("{file} has no batches; there is nothing to replay")));
    }
    Ok(Captured::new(head, batches))
}

const HOW: &str = "`twinlog shape capture` writes such files";

fn head(line: &str) -> Result<Head, String> {
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("it is no JSON: {error}; {HOW}"))?;
    match value.get("twinlog_shape").and_then(serde_json::Value::as_u64) {
        None => return Err(format!("`twinlog_shape` is missing, so this is no shape; {HOW}")),
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => {
            return Err(format!(
                "it is a shape of format {format}, and this Twinlog reads format {FORMAT}; take the Twinlog that wrote it"
            ));
        }
    }
    let head: Head = serde_json::from_value(value).map_err(|error| error.to_string())?;
    match head.topics.iter().map(|topic| u64::from(topic.partitions)).sum::<u64>() {
        0 => Err("it names no partitions".into()),
        lanes if lanes > LANES_MAX as u64 => Err(format!("{lanes} partitions are more than {LANES_MAX}")),
        _ if head.us > US_MAX => Err("`us` is more than a hundred years".into()),
        _ => Ok(head),
    }
}

fn batch(line: &str, lanes: usize) -> Result<(u64, Seen, u64), String> {
    let wanted = "expected [gap_us, lane, bytes, records, codec] or the same with `times` behind";
    let numbers: Vec<u64> = serde_json::from_str(line).map_err(|_| wanted.to_owned())?;
    let (gap_us, lane, bytes, records, codec, times) = match numbers[..] {
        [gap_us, lane, bytes, records, codec] => (gap_us, lane, bytes, records, codec, 1),
        [gap_us, lane, bytes, records, codec, times] => (gap_us, lane, bytes, records, codec, times),
        _ => return Err(wanted.into()),
    };
    let within = |what: &str, number: u64, min: u64, max: u64| match number {
        number if (min..=max).contains(&number) => Ok(number),
        number => Err(format!("{what} is {number}, and must be from {min} to {max}")),
    };
    let lane = within("lane", lane, 0, lanes as u64 - 1)?;
    let bytes = within("bytes", bytes, BATCH_HEADER_BYTES as u64 + 1, BATCH_BYTES_MAX as u64)?;
    let codec = within("codec", codec, 0, 4)?;
    let codec = Codec::of_id(codec as u8).ok_or("there is no such codec")?;
    let room =
        if codec == Codec::None { bytes - BATCH_HEADER_BYTES as u64 } else { RECORDS_BYTES_MAX as u64 };
    let records = within("records", records, 1, (room / RECORD_BYTES_MIN).max(1))?;
    let seen = Seen { at_us: 0, lane: lane as u32, bytes: bytes as u32, records: records as u32, codec };
    Ok((within("gap_us", gap_us, 0, US_MAX)?, seen, within("times", times, 1, BATCHES_MAX as u64)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::captured;
    use super::*;
    use proptest::prelude::*;

    fn seen() -> impl Strategy<Value = Seen> {
        (0u64..3, 0u32..4, prop_oneof![Just(1000u32), 500..100_000u32], 1u32..50, 0u8..5).prop_map(
            |(at_us, lane, bytes, records, codec)| Seen {
                at_us: at_us * 1000,
                lane,
                bytes,
                records,
                codec: Codec::of_id(codec).unwrap(),
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            batches in proptest::collection::vec(seen(), 1..100),
            repeats in proptest::collection::vec(1usize..4, 100),
        ) {
            let batches = batches.into_iter().zip(repeats);
            let batches = batches.flat_map(|(seen, times)| std::iter::repeat_n(seen, times)).collect();
            let captured = captured(batches);
            prop_assert_eq!(read("f", &write(&captured)).unwrap(), captured);
        }

        #[test]
        fn any_text_is_read_or_refused_by_its_name(tail in "[\\[\\]0-9, \n-]{0,100}") {
            let head = write(&captured(vec![]));
            if let Err(problem) = read("f.shape", &(head + &tail)) {
                prop_assert!(problem.0.starts_with("f.shape"), "{}", problem);
            }
        }
    }

    #[test]
    fn what_comes_evenly_takes_one_line() {
        let even = |n: u64| Seen { at_us: n * 500, lane: 1, bytes: 2000, records: 10, codec: Codec::Lz4 };
        let text = write(&captured((0..1000).map(even).collect()));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["[0,1,2000,10,3]", "[500,1,2000,10,3,999]"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let head = write(&captured(vec![]));
        let one = |line: &str| format!("{head}[0,0,100,1,0]\n{line}\n");
        for (text, words) in [
            (String::new(), "f is empty|twinlog shape capture"),
            ("{}".into(), "f:1: `twinlog_shape` is missing"),
            ("x".into(), "f:1: it is no JSON"),
            (head.replace("\"twinlog_shape\":1", "\"twinlog_shape\":9"), "f:1: |format 9|format 1"),
            (head.replace("\"us\"", "\"µs\""), "f:1: "),
            (head.clone(), "f has no batches"),
            (one("[1,2]"), "f:3: expected [gap_us"),
            (one("[1,4,100,1,0]"), "f:3: lane is 4|0 to 3"),
            (one("[1,0,61,1,0]"), "f:3: bytes is 61"),
            (one("[1,0,100,1,5]"), "f:3: codec is 5"),
            (one("[1,0,100,0,0]"), "f:3: records is 0"),
            (one("[1,0,100,6,0]"), "f:3: records is 6|from 1 to 5"),
            (one("[1,0,100,1,0,2000000]"), "f:3: times"),
            (one("[-1,0,100,1,0]"), "f:3: expected"),
        ] {
            let problem = read("f", &text).unwrap_err().0;
            for word in words.split('|') {
                assert!(problem.contains(word), "{text:?}: {problem}");
            }
        }
    }
}
