//! What each step does with a record.

use super::json::{self, Found};
use super::parts::{Header, Parts, put_bytes};
use crate::config::transforms::{Condition, Field, Part, Scalar, Step, Subject, Test};
use crate::wire::rebuild::{Changed, Record};
use regex::bytes::Regex;

/// Room that is used again for each record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    found: Vec<Found>,
    bytes: Vec<u8>,
}

/// With [`Changed::New`] the record's new body stands in `out`, which was empty. The error says nothing of its contents.
pub(super) fn apply(
    step: &Step,
    record: &Record<'_>,
    parts: &Parts<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<Changed, String> {
    let is_changed = match step {
        Step::Keep(condition) => return Ok(passed_if(holds(condition, parts, &mut scratch.found))),
        Step::Drop(condition) => return Ok(passed_if(!holds(condition, parts, &mut scratch.found))),
        Step::Sample { ppm } => return Ok(passed_if(is_in_sample(record, parts, *ppm))),
        Step::Timestamp(field) => return timestamp(field, record, parts, scratch, out),
        Step::Mask { field, with } => edit(field, parts, scratch, out, |text, found, new| {
            json::replace(text, found.iter().map(|each| &each.value), with, new);
            Ok(())
        })?,
        Step::RemoveField(field) => edit(field, parts, scratch, out, |text, found, new| {
            json::remove(text, found, new);
            Ok(())
        })?,
        Step::RenameField { from, to } => edit(from, parts, scratch, out, |text, found, new| {
            let mut taken = Vec::new();
            find(text, &from.way, to, &mut taken)?;
            if json::share_an_object(found, &taken) {
                return Err(format!("its value has a field {to} already, beside {from}"));
            }
            let name = serde_json::Value::from(to.as_str()).to_string();
            json::replace(text, found.iter().map(|each| &each.name), &name, new);
            Ok(())
        })?,
        Step::SetHeader { name, value } => set_header(name.as_bytes(), value.as_bytes(), parts, scratch, out),
        Step::RemoveHeader(pattern) => remove_header(pattern, parts, scratch, out),
        Step::RenameHeader { from, to } => rename_header(from.as_bytes(), to.as_bytes(), parts, scratch, out),
        // That is done by an instance of the module, in place of this.
        Step::Wasm(_) => false,
    };
    Ok(match is_changed {
        true => Changed::New { timestamp_ms: record.timestamp_ms },
        false => Changed::Same,
    })
}

fn passed_if(is_passed: bool) -> Changed {
    if is_passed { Changed::Same } else { Changed::Dropped }
}

/// Whether a condition holds.
fn holds(condition: &Condition, parts: &Parts<'_>, found: &mut Vec<Found>) -> bool {
    match condition {
        Condition::Not(inner) => !holds(inner, parts, found),
        Condition::All(all) => all.iter().all(|each| holds(each, parts, found)),
        Condition::Any(any) => any.iter().any(|each| holds(each, parts, found)),
        Condition::Test(Subject::Whole(part), test) => {
            passes(test, part_of(parts, *part).into_iter(), is_content)
        }
        Condition::Test(Subject::Header(name), test) => {
            let named = parts.headers.iter().filter(|header| header.name == name.as_bytes());
            passes(test, named.map(|header| header.value), |test, value| {
                value.is_some_and(|value| is_content(test, value))
            })
        }
        Condition::Test(Subject::Field(part, field), test) => {
            let (_, text) = json::split_frame(part_of(parts, *part).unwrap_or_default());
            if json::find(text, &field.way, &field.name, found).is_err() {
                found.clear();
            }
            let values = found.iter().map(|each| &text[each.value.clone()]);
            passes(test, values.filter(|value| *value != b"null"), is_value)
        }
    }
}

fn part_of<'a>(parts: &Parts<'a>, part: Part) -> Option<&'a [u8]> {
    match part {
        Part::Key => parts.key,
        Part::Value => parts.value,
    }
}

/// `present`: all that is there of what is looked at.
fn passes<T>(test: &Test, mut present: impl Iterator<Item = T>, is: impl Fn(&Test, T) -> bool) -> bool {
    match test {
        Test::Exists(exists) => present.next().is_some() == *exists,
        _ => present.any(|each| is(test, each)),
    }
}

/// Of bytes that may be anything.
fn is_content(test: &Test, content: &[u8]) -> bool {
    match test {
        Test::Equals(Scalar::Text(text)) => content == text.as_bytes(),
        Test::Matches(pattern) => pattern.is_match(content),
        _ => false,
    }
}

/// Of a JSON value. What is no string is matched as it is written.
fn is_value(test: &Test, value: &[u8]) -> bool {
    match test {
        Test::Equals(Scalar::Text(text)) => json::string(value).is_some_and(|string| string == *text),
        Test::Equals(Scalar::Boolean(is)) => value == if *is { &b"true"[..] } else { b"false" },
        Test::Equals(Scalar::Integer(wanted)) => match number::<i64>(value) {
            Some(number) => number == *wanted,
            None => number::<f64>(value) == Some(*wanted as f64),
        },
        Test::Equals(Scalar::Float(wanted)) => number::<f64>(value) == Some(*wanted),
        Test::Matches(pattern) => match json::string(value) {
            Some(string) => pattern.is_match(string.as_bytes()),
            None => pattern.is_match(value),
        },
        Test::Exists(_) => false,
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// By the key, so that a key's records stay together; records without one, by their offset.
fn is_in_sample(record: &Record<'_>, parts: &Parts<'_>, ppm: u32) -> bool {
    let hash = match parts.key {
        Some(key) => crc32c::crc32c(key),
        None => crc32c::crc32c(&record.offset.to_be_bytes()),
    };
    // The checksums of similar keys are similar in some bits; the upper half of the product depends on all of them.
    let spread = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (spread * 1_000_000) >> 32 < u64::from(ppm)
}

fn timestamp(
    field: &Field,
    record: &Record<'_>,
    parts: &Parts<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<Changed, String> {
    let Some(value) = parts.value else { return Ok(Changed::Same) };
    let (_, text) = json::split_frame(value);
    find(text, &field.way, &field.name, &mut scratch.found)?;
    let last = scratch.found.last().ok_or_else(|| format!("its value has no field {field}"))?;
    let timestamp_ms = number::<i64>(&text[last.value.clone()])
        .filter(|ms| *ms >= 0)
        .ok_or_else(|| format!("its field {field} is no whole number of milliseconds since 1970"))?;
    if timestamp_ms == record.timestamp_ms {
        return Ok(Changed::Same);
    }
    out.extend(record.body);
    Ok(Changed::New { timestamp_ms })
}

fn find(text: &[u8], way: &[String], name: &str, found: &mut Vec<Found>) -> Result<(), String> {
    json::find(text, way, name, found).map_err(|why| format!("its value {why}"))
}

/// Lets `change` write the value's text anew, if the field is there. Whether that made it another one.
fn edit(
    field: &Field,
    parts: &Parts<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
    change: impl FnOnce(&[u8], &[Found], &mut Vec<u8>) -> Result<(), String>,
) -> Result<bool, String> {
    let Some(value) = parts.value else { return Ok(false) };
    let (frame, text) = json::split_frame(value);
    find(text, &field.way, &field.name, &mut scratch.found)?;
    if scratch.found.is_empty() {
        return Ok(false);
    }
    scratch.bytes.clear();
    scratch.bytes.extend(frame);
    change(text, &scratch.found, &mut scratch.bytes)?;
    if scratch.bytes == value {
        return Ok(false);
    }
    Parts { value: Some(&scratch.bytes), ..*parts }.write(out);
    Ok(true)
}

fn set_header(
    name: &[u8],
    value: &[u8],
    parts: &Parts<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> bool {
    let is_named = |header: &Header<'_>| header.name == name;
    let mut named = parts.headers.iter().filter(is_named);
    if named.next().is_some_and(|header| header.value == Some(value)) && named.next().is_none() {
        return false;
    }
    scratch.bytes.clear();
    let mut count = 1;
    for header in parts.headers.iter().filter(|header| !is_named(header)) {
        scratch.bytes.extend(header.raw);
        count += 1;
    }
    put_bytes(&mut scratch.bytes, Some(name));
    put_bytes(&mut scratch.bytes, Some(value));
    parts.write_with(count, &scratch.bytes, out);
    true
}

fn remove_header(pattern: &Regex, parts: &Parts<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
    scratch.bytes.clear();
    let (mut count, mut kept) = (0, 0);
    for header in parts.headers.iter() {
        count += 1;
        if !pattern.is_match(header.name) {
            scratch.bytes.extend(header.raw);
            kept += 1;
        }
    }
    if kept < count {
        parts.write_with(kept, &scratch.bytes, out);
    }
    kept < count
}

fn rename_header(
    from: &[u8],
    to: &[u8],
    parts: &Parts<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> bool {
    scratch.bytes.clear();
    let (mut count, mut renamed) = (0, 0);
    for header in parts.headers.iter() {
        count += 1;
        if header.name == from {
            put_bytes(&mut scratch.bytes, Some(to));
            put_bytes(&mut scratch.bytes, header.value);
            renamed += 1;
        } else {
            scratch.bytes.extend(header.raw);
        }
    }
    if renamed > 0 {
        parts.write_with(count, &scratch.bytes, out);
    }
    renamed > 0
}
