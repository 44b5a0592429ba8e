//! Compares what a link has mirrored with its source, beside a running mirror or without one.

mod reader;
mod tap;
#[cfg(test)]
mod tests;

pub(super) use reader::Reader;
pub(super) use tap::Tap;

use super::admin::{Admin, AdminError};
use super::offsets::{LinkState, OffsetsError};
use super::{clock, usage};
use crate::config::Mirror;
use crate::control::configs::{self, TopicConfigs};
use crate::control::ledger::Ledger;
use crate::control::offset_map::Unmapped;
use crate::control::reading::ASKED_BYTES_MAX;
use crate::control::topics;
use crate::control::verify::{Comparison, Difference, Halt, Held, Tally};
use crate::stats::units;

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Partitions that are compared at the same time.
const THREADS: usize = 4;
/// A partition is compared, and its progress kept, in pieces of so many offsets.
const PIECE_OFFSETS: i64 = 200_000;

/// What to compare, and how.
pub struct Settings {
    pub config: Mirror,
    /// Compute every checksum instead of believing the brokers'.
    pub deep: bool,
    /// Share of the pieces that are looked at, in percent.
    pub sample_percent: u8,
    /// Bytes a second to read, both clusters together.
    pub bytes_per_second: Option<u64>,
    /// Where progress is kept, to go on from there.
    pub resume: Option<PathBuf>,
}

/// What came of one partition.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    pub topic: String,
    pub partition: i32,
    /// Source offsets that were compared: the first, and the one after the last.
    pub from_offset: i64,
    pub to_offset: i64,
    pub batches: u64,
    pub records: u64,
    /// Records that had to be compared one by one.
    pub opened: u64,
    /// Records of a compacted topic that one side has compacted away.
    pub compacted: u64,
    pub bytes: u64,
    /// The first thing that is not as it should be.
    pub difference: Option<String>,
}

/// What came of it all.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub partitions: Vec<Verified>,
    /// Settings that differ, and partitions that could not be compared.
    pub problems: Vec<String>,
    /// Topics whose records are changed on their way, so that there is nothing to compare.
    pub left_out: Vec<String>,
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// It was interrupted; what was compared so far is in the resume file.
    pub is_partial: bool,
}

impl Outcome {
    pub fn is_same(&self) -> bool {
        self.problems.is_empty() && self.partitions.iter().all(|partition| partition.difference.is_none())
    }
}

/// The outcome for people: differences first, then what was compared.
pub fn show(outcome: &Outcome) -> String {
    let mut text = String::new();
    for partition in &outcome.partitions {
        if let Some(difference) = &partition.difference {
            text += &format!("different: {}-{}: {difference}\n", partition.topic, partition.partition);
        }
    }
    for problem in &outcome.problems {
        text += &format!("different: {problem}\n");
    }
    let total = |of: fn(&Verified) -> u64| outcome.partitions.iter().map(of).sum::<u64>();
    let bytes = total(|partition| partition.bytes);
    let gigabytes = bytes as f64 / 1e9;
    text += &format!(
        "compared {} records in {} partitions, {} of both sides, in {:.1} s ({}), CPU {:.2} s{}\n",
        units::count(total(|partition| partition.records)),
        outcome.partitions.len(),
        units::bytes(bytes),
        outcome.seconds,
        units::byte_rate(bytes as f64 / outcome.seconds.max(1e-6)),
        outcome.cpu_seconds,
        if gigabytes > 0.01 {
            format!(" ({:.3} s per GB)", outcome.cpu_seconds / gigabytes)
        } else {
            String::new()
        },
    );
    let (opened, compacted) = (total(|partition| partition.opened), total(|partition| partition.compacted));
    if opened > 0 {
        text += &format!(
            "{} records were compared one by one, since their batches had been rebuilt\n",
            units::count(opened)
        );
    }
    if compacted > 0 {
        text += &format!(
            "{} records of compacted topics are on one side only, compacted away on the other\n",
            units::count(compacted)
        );
    }
    if !outcome.left_out.is_empty() {
        text += &format!(
            "not compared, since their records are changed on their way: {}\n",
            outcome.left_out.join(", ")
        );
    }
    let differing = outcome.partitions.iter().filter(|partition| partition.difference.is_some()).count();
    text += &match (outcome.is_same(), outcome.is_partial) {
        (true, false) => "the same on both sides\n".to_owned(),
        (true, true) => "interrupted; the same so far\n".to_owned(),
        (false, _) => format!("{differing} partitions differ, {} other problems\n", outcome.problems.len()),
    };
    text
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Link(#[from] OffsetsError),
    #[error("{side}: {error}")]
    Cluster { side: &'static str, error: AdminError },
    #[error("{0}")]
    Nothing(String),
    #[error("the resume file {path}: {cause}")]
    Resume { path: String, cause: String },
}

/// Compares everything that the link has mirrored of the configuration's topics by now.
pub fn run(settings: &Settings, stop: &AtomicBool) -> Result<Outcome, VerifyError> {
    let begin = clock::now();
    let cpu_before = usage::process_cpu_us();
    let config = &settings.config;
    let timeout = Duration::from_millis(config.request_timeout_ms);
    let state = LinkState::read(&config.target, &config.link, &config.client_id, timeout)?;
    let admin = |cluster| Admin::new(cluster, &config.client_id, timeout);
    let (mut source, mut target) = (admin(&config.source), admin(&config.target));
    let at = |side: &'static str| move |error| VerifyError::Cluster { side, error };
    source.observe().map_err(at("source"))?;
    target.observe().map_err(at("target"))?;
    let (left_out, selected): (Vec<String>, Vec<String>) = topics::select(config, source.observed())
        .iter()
        .map(|topic| topic.name.to_string())
        .partition(|topic| config.transform(topic).is_some());
    let places: VecDeque<(String, i32)> = state
        .ledger
        .partitions()
        .filter(|(topic, _)| selected.iter().any(|name| name == topic))
        .map(|(topic, partition)| (topic.to_owned(), partition))
        .collect();
    if places.is_empty() && !left_out.is_empty() {
        return Err(VerifyError::Nothing(format!(
            "only topics match whose records are changed on their way, which cannot be compared: {}",
            left_out.join(", ")
        )));
    }
    if places.is_empty() {
        return Err(VerifyError::Nothing(format!(
            "link {} has mirrored none of the matching topics; check --topics and --link",
            config.link
        )));
    }
    let names = || selected.iter().map(String::as_str);
    let source_configs = source.topic_configs(names()).map_err(at("source"))?;
    let target_configs = target.topic_configs(names()).map_err(at("target"))?;
    let work = Work {
        settings,
        ledger: &state.ledger,
        source_configs: &source_configs,
        done: Mutex::new(read_progress(settings)?),
        left: Mutex::new(places),
        verified: Mutex::new(Vec::new()),
        problems: Mutex::new(config_problems(&selected, &source_configs, &target_configs)),
        bytes: AtomicU64::new(0),
        begin_us: begin.mono_us,
        stop,
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| work.run());
        }
    });
    let mut partitions = work.verified.into_inner().unwrap_or_default();
    partitions.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    Ok(Outcome {
        partitions,
        problems: work.problems.into_inner().unwrap_or_default(),
        left_out,
        seconds: (clock::now().mono_us - begin.mono_us) as f64 / 1e6,
        cpu_seconds: (usage::process_cpu_us() - cpu_before) as f64 / 1e6,
        is_partial: stop.load(Ordering::Relaxed),
    })
}

/// Settings that a twin should share and does not.
fn config_problems(
    topics: &[String],
    source: &BTreeMap<String, TopicConfigs>,
    target: &BTreeMap<String, TopicConfigs>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for topic in topics {
        let (Some(source), Some(target)) = (source.get(topic), target.get(topic)) else { continue };
        // The replication factor bounds min.insync.replicas; what the target has is what it could have.
        let copied = configs::for_target(source, i16::MAX).configs;
        // What was set on the target alone differs from what is in force on the source.
        let added = target.own.keys().filter(|name| !source.own.contains_key(*name));
        let added = added.filter_map(|name| Some((name.clone(), source.effective.get(name)?.clone())));
        for (name, value) in copied.into_iter().chain(added) {
            let on_target = target.effective.get(&name);
            if on_target.is_some_and(|on_target| *on_target != value) && name != "min.insync.replicas" {
                let on_target = on_target.map_or("unset", String::as_str);
                problems.push(format!(
                    "topic {topic}: {name} is {value} on the source and {on_target} on the target"
                ));
            }
        }
    }
    problems
}

type Progress = BTreeMap<String, i64>;

fn read_progress(settings: &Settings) -> Result<Progress, VerifyError> {
    let Some(path) = &settings.resume else { return Ok(Progress::new()) };
    let bad = |cause: String| VerifyError::Resume { path: path.display().to_string(), cause };
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| bad(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Progress::new()),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// What the threads share.
struct Work<'a> {
    settings: &'a Settings,
    ledger: &'a Ledger,
    source_configs: &'a BTreeMap<String, TopicConfigs>,
    /// By "topic-partition": source offsets below are compared.
    done: Mutex<Progress>,
    left: Mutex<VecDeque<(String, i32)>>,
    verified: Mutex<Vec<Verified>>,
    problems: Mutex<Vec<String>>,
    bytes: AtomicU64,
    begin_us: u64,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    fn run(&self) {
        let config = &self.settings.config;
        let timeout = Duration::from_millis(config.request_timeout_ms);
        let mut source = Admin::new(&config.source, &config.client_id, timeout);
        let mut target = Admin::new(&config.target, &config.client_id, timeout);
        while !self.stop.load(Ordering::Relaxed) {
            let next = self.left.lock().ok().and_then(|mut left| left.pop_front());
            let Some((topic, partition)) = next else { return };
            match self.partition(&mut source, &mut target, &topic, partition) {
                Ok(verified) => {
                    if let Ok(mut all) = self.verified.lock() {
                        all.push(verified);
                    }
                }
                Err(cause) => {
                    if let Ok(mut problems) = self.problems.lock() {
                        problems.push(format!("{topic}-{partition} could not be compared: {cause}"));
                    }
                }
            }
        }
    }

    fn partition(
        &self,
        source: &mut Admin,
        target: &mut Admin,
        topic: &str,
        partition: i32,
    ) -> Result<Verified, String> {
        let place = [(topic.to_owned(), partition)];
        let start = |admin: &mut Admin| admin.start_offsets(&place).get(&place[0]).copied();
        let source_start = start(source).ok_or("the source does not say where it begins")?;
        let target_start = start(target).ok_or("the target does not say where it begins")?;
        let Range { start: from, end } = self.range(topic, partition, source_start, target_start)?;
        let key = format!("{topic}-{partition}");
        let resumed = self.done.lock().ok().and_then(|done| done.get(&key).copied());
        let from = resumed.map_or(from, |resumed| from.max(resumed.min(end)));
        let mut verified = Verified {
            topic: topic.to_owned(),
            partition,
            from_offset: from,
            to_offset: from,
            ..Verified::default()
        };
        let mut at = from;
        while at < end && !self.stop.load(Ordering::Relaxed) {
            let is_sampled = self.is_sampled(at);
            let mut to = at;
            while to < end && self.is_sampled(to) == is_sampled {
                to = (to + PIECE_OFFSETS).min(end);
            }
            if is_sampled {
                let compared = self.stretch(source, target, topic, partition, at..to, &mut |offset| {
                    // To go on somewhere else would sample other pieces.
                    let pieces = (offset - from) / PIECE_OFFSETS;
                    let piece = from + pieces * PIECE_OFFSETS;
                    if piece > verified.to_offset {
                        verified.to_offset = piece;
                        self.keep(&key, piece);
                    }
                })?;
                match compared {
                    Ok(tally) => verified.add(tally),
                    Err(difference) => {
                        verified.difference = Some(words(&difference));
                        return Ok(verified);
                    }
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(verified);
                }
            }
            at = to;
            verified.to_offset = to;
            self.keep(&key, to);
        }
        if let Some(offset) = self.foreign(target, topic, partition, end)? {
            verified.difference =
                Some(format!("target offset {offset}: the target has records that this link did not write"));
        }
        Ok(verified)
    }

    /// The first record behind what is known to be mirrored that somebody else wrote. A running mirror may have written there.
    fn foreign(
        &self,
        target: &mut Admin,
        topic: &str,
        partition: i32,
        mirrored_to: i64,
    ) -> Result<Option<i64>, String> {
        let place = [(topic.to_owned(), partition)];
        let end = target.end_offsets(&place).get(&place[0]).copied().unwrap_or(0);
        let Ok(from) = self.ledger.target_of(topic, partition, mirrored_to) else { return Ok(None) };
        let mut reader = Reader::new(topic, partition, from..end);
        let mut foreign = None;
        while foreign.is_none() && !reader.is_done() && !self.stop.load(Ordering::Relaxed) {
            let held = self.read(target, &mut reader)?;
            foreign = held.map(|held| held.header).filter(|header| !self.ledger.is_ours(header.producer_id));
        }
        reader.close(target);
        Ok(foreign.map(|header| header.base_offset))
    }

    /// The source offsets that both sides have, as far as they are mirrored.
    fn range(
        &self,
        topic: &str,
        partition: i32,
        source_start: i64,
        target_start: i64,
    ) -> Result<Range<i64>, String> {
        let end = self.ledger.mirrored_to(topic, partition).ok_or("nothing is mirrored yet")?;
        // What the target does not have any more, or never had because the mirror began later, is left out.
        let on_target = match self.ledger.source_of(topic, partition, target_start) {
            Ok(offset) | Err(Unmapped::TooOld { known_from: offset }) => offset,
            Err(_) => end,
        };
        let known_from = match self.ledger.target_of(topic, partition, source_start) {
            Err(Unmapped::TooOld { known_from }) => known_from,
            _ => source_start,
        };
        let from = source_start.max(known_from).max(on_target).min(end);
        Ok(from..end)
    }

    /// Compares what both sides have of a range of source offsets, and tells `passed` how far it is.
    fn stretch(
        &self,
        source: &mut Admin,
        target: &mut Admin,
        topic: &str,
        partition: i32,
        range: Range<i64>,
        passed: &mut dyn FnMut(i64),
    ) -> Result<Result<Tally, Difference>, String> {
        let target_of = |offset: i64| self.ledger.target_of(topic, partition, offset).ok();
        let (Some(from), Some(to)) = (target_of(range.start), target_of(range.end)) else {
            return Err("the link's map of offsets does not cover it".into());
        };
        let is_compacted = self
            .source_configs
            .get(topic)
            .and_then(|configs| configs.effective.get("cleanup.policy"))
            .is_some_and(|policy| policy.contains("compact"));
        let mut comparison = Comparison::new(&target_of, self.settings.deep, is_compacted, from..to);
        let reader = |range| {
            let bytes = self.settings.bytes_per_second.map_or(ASKED_BYTES_MAX, |rate| rate / THREADS as u64);
            Reader::for_comparison(topic, partition, range, self.settings.deep, bytes)
        };
        let (mut here, mut there) = (reader(range), reader(from..to));
        let mut opened = 0;
        let outcome = loop {
            comparison.set_ended(here.is_done(), there.is_done());
            match comparison.step() {
                Ok(()) if here.is_done() && there.is_done() => break Ok(comparison.tally),
                Ok(()) => {}
                Err(Halt::Different(difference)) => break Err(difference),
                Err(Halt::Unseen) => {
                    let (from_here, from_there) = comparison.forget_unseen();
                    here.handle_missed(from_here);
                    there.handle_missed(from_there);
                    continue;
                }
            }
            if comparison.tally.opened > opened {
                opened = comparison.tally.opened;
                here.handle_used();
                there.handle_used();
            }
            if let Some(offset) = comparison.source_to() {
                passed(offset);
            }
            if self.stop.load(Ordering::Relaxed) {
                break Ok(comparison.tally);
            }
            if comparison.wants_source() && !here.is_done() {
                if let Some(batch) = self.read(source, &mut here)? {
                    comparison.push_source(batch);
                }
            } else if let Some(batch) = self.read(target, &mut there)? {
                comparison.push_target(batch);
            }
        };
        here.close(source);
        there.close(target);
        Ok(outcome)
    }

    fn read(&self, admin: &mut Admin, reader: &mut Reader) -> Result<Option<Held>, String> {
        let held = reader.next(admin)?;
        let bytes = reader.take_bytes();
        let read = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(rate) = self.settings.bytes_per_second.filter(|rate| *rate > 0) {
            let due_us = self.begin_us + read.saturating_mul(1_000_000) / rate;
            let ahead_us = due_us.saturating_sub(clock::now().mono_us);
            std::thread::sleep(Duration::from_micros(ahead_us));
        }
        Ok(held)
    }

    /// The same pieces in every run, spread over the partition.
    fn is_sampled(&self, at: i64) -> bool {
        let percent = u64::from(self.settings.sample_percent);
        percent >= 100 || (at / PIECE_OFFSETS).unsigned_abs().wrapping_mul(61) % 100 < percent
    }

    fn keep(&self, key: &str, offset: i64) {
        let Some(path) = &self.settings.resume else { return };
        let Ok(mut done) = self.done.lock() else { return };
        done.insert(key.to_owned(), offset);
        let written = serde_json::to_string_pretty(&*done).map_err(std::io::Error::other).and_then(|text| {
            let new = path.with_extension("new");
            std::fs::write(&new, text)?;
            std::fs::rename(&new, path)
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "progress cannot be kept");
        }
    }
}

impl Verified {
    fn add(&mut self, tally: Tally) {
        self.batches += tally.batches;
        self.records += tally.records;
        self.opened += tally.opened;
        self.compacted += tally.compacted;
        self.bytes += tally.bytes;
    }
}

fn words(difference: &Difference) -> String {
    let Difference { source_offset, target_offset, what } = difference;
    match source_offset {
        Some(source_offset) => {
            format!("source offset {source_offset}, target offset {target_offset}: {what}")
        }
        None => format!("target offset {target_offset}: {what}"),
    }
}
