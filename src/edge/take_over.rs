//! A link that goes on where another mirror stopped: behind that one's records on the target, with the source's next one.

use super::admin::{Admin, AdminError};
use super::clock;
use super::groups::group_positions;
use super::held_link::HeldLink;
use super::mirror::MirrorError;
use super::offsets::{LinkState, OffsetsError};
use super::verify::Reader;
use crate::config::{Isolation, Mirror};
use crate::control::offsets;
use crate::control::reading::ASKED_BYTES_MAX;
use crate::control::take_over::{Found, Print, Search, TAIL_RECORDS, prints};
use crate::control::topics;
use crate::shard::{OffsetMode, Side};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Offsets at a log's end that are looked at for its last records; ten times as many where those are control records.
const TAIL_OFFSETS: i64 = 1_000;
/// Somebody who writes to the target is noticed if it happens within this time.
const STILL_MS: u64 = 2_000;
const TELL_MS: u64 = 5_000;

pub struct Settings {
    pub config: Mirror,
    /// The other mirror's consumer group on the source.
    pub group: Option<String>,
    /// Where it stood, by its own account: source offsets of the next records.
    pub told: BTreeMap<(String, i32), i64>,
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub partitions: Vec<Taken>,
    /// Partitions that the link could not take over, and why.
    pub left_out: Vec<(String, i32, String)>,
    /// The link goes on there.
    pub is_done: bool,
}

/// A partition, and from where on the link mirrors it.
#[derive(Debug, Serialize)]
pub struct Taken {
    pub topic: String,
    pub partition: i32,
    pub source_offset: i64,
    pub target_offset: i64,
    pub offsets: OffsetMode,
    /// So many of the target's last records stand before that offset of the source. None: it is the other mirror's own account.
    pub found_by: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Link(OffsetsError),
    #[error("{0}")]
    Refused(String),
}

/// Finds out where the other mirror stood, and makes the link begin there.
pub fn run(settings: &Settings, stop: &AtomicBool) -> Result<Outcome, TakeOverError> {
    let mut look = Look::at(settings)?;
    let places = look.places()?;
    if places.is_empty() {
        return Err(TakeOverError::Refused(
            "no matching topic exists on both clusters with records on the target, so there is nothing to take over; check \
             --topics, --prefix and --rename. What is not on the target yet `twinlog mirror` begins by itself"
                .into(),
        ));
    }
    let began = clock::now();
    let ends = look.target.end_offsets_of(&places, Isolation::ReadUncommitted);
    let mut outcome = Outcome::default();
    let mut tell_us = began.after_ms(TELL_MS);
    for (at, (topic, partition)) in places.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(outcome);
        }
        if clock::now().mono_us >= tell_us {
            tell_us = clock::now().after_ms(TELL_MS);
            tracing::info!("{at} of {} partitions looked at", places.len());
        }
        let taken = match ends.get(&(topic.clone(), *partition)) {
            Some(&end) => look.find(topic, *partition, end, stop),
            None => Err("the target does not say where it ends".into()),
        };
        match taken {
            Ok(Some(taken)) => outcome.partitions.push(taken),
            Ok(None) => {}
            Err(why) => outcome.left_out.push((topic.clone(), *partition, why)),
        }
    }
    leave_out_whole_topics(&mut outcome);
    let stood_us = began.after_ms(STILL_MS).saturating_sub(clock::now().mono_us);
    std::thread::sleep(Duration::from_micros(stood_us.min(STILL_MS * 1_000)));
    look.check_still(&ends)?;
    if !settings.dry_run && !outcome.partitions.is_empty() && !stop.load(Ordering::Relaxed) {
        look.write(&outcome.partitions)?;
        outcome.is_done = true;
    }
    Ok(outcome)
}

/// Where one partition's records are not found, the other mirror may have spread those of all: what is found of the topic proves
/// nothing then.
fn leave_out_whole_topics(outcome: &mut Outcome) {
    let left: BTreeSet<String> = outcome.left_out.iter().map(|(topic, ..)| topic.clone()).collect();
    let (out, kept) = std::mem::take(&mut outcome.partitions)
        .into_iter()
        .partition::<Vec<Taken>, _>(|taken| taken.found_by.is_some() && left.contains(&taken.topic));
    outcome.partitions = kept;
    let why = "another partition of the topic is left out, so the other mirror may have chosen partitions by itself";
    outcome.left_out.extend(out.into_iter().map(|taken| (taken.topic, taken.partition, why.to_owned())));
}

struct Look<'a> {
    settings: &'a Settings,
    source: Admin,
    target: Admin,
    state: Option<LinkState>,
    /// Where the other mirror's group stood.
    committed: BTreeMap<(String, i32), i64>,
    cannot_fill: Option<String>,
}

impl<'a> Look<'a> {
    fn at(settings: &'a Settings) -> Result<Self, TakeOverError> {
        let config = &settings.config;
        let timeout = Duration::from_millis(config.request_timeout_ms);
        let mut source = Admin::new(&config.source, &config.client_id, timeout);
        let mut target = Admin::new(&config.target, &config.client_id, timeout);
        source.observe().map_err(at(Side::Source))?;
        target.observe().map_err(at(Side::Target))?;
        let state = match LinkState::read(&config.target, &config.link, &config.client_id, timeout) {
            Ok(state) => Some(state),
            Err(OffsetsError::NoLink(_)) => None,
            Err(error) => return Err(TakeOverError::Link(error)),
        };
        let mut committed = BTreeMap::new();
        if let Some(group) = &settings.group {
            let found = group_positions(&config.source, &config.client_id, timeout, group);
            let (has_members, positions) = found.map_err(at(Side::Source))?;
            if has_members {
                return Err(TakeOverError::Refused(format!(
                    "group {group} still has members: stop the other mirror first"
                )));
            }
            if positions.is_empty() {
                return Err(TakeOverError::Refused(format!(
                    "group {group} has committed nothing on the source; check --group"
                )));
            }
            committed = positions.into_iter().map(|(place, at)| (place, at.offset)).collect();
        }
        let cannot_fill = target.cannot_fill().map_err(at(Side::Target))?;
        Ok(Self { settings, source, target, state, committed, cannot_fill })
    }

    /// The partitions that exist on both sides and that the link has not begun.
    fn places(&self) -> Result<Vec<(String, i32)>, TakeOverError> {
        let there = &self.target.observed().topics;
        let mut places = Vec::new();
        for topic in topics::select(&self.settings.config, self.source.observed()) {
            let Some(twin) = there.get(&*topic.name).filter(|twin| twin.error == 0) else { continue };
            for (partition, _) in (0..).zip(&topic.partitions).take(twin.partitions.len()) {
                let begun = self.state.as_ref().and_then(|state| state.ledger.mode(&topic.name, partition));
                if begun.is_none() {
                    places.push((topic.name.to_string(), partition));
                }
            }
        }
        Ok(places)
    }

    /// Where the other mirror stood. None: it wrote nothing to the partition.
    fn find(
        &mut self,
        topic: &str,
        partition: i32,
        target_end: i64,
        stop: &AtomicBool,
    ) -> Result<Option<Taken>, String> {
        let place = [(topic.to_owned(), partition)];
        let start_of = |admin: &mut Admin| admin.start_offsets(&place).get(&place[0]).copied();
        let target_start = start_of(&mut self.target).ok_or("the target does not say where it begins")?;
        if target_start == target_end {
            return Ok(None);
        }
        let told = self.settings.told.get(&place[0]).or(self.committed.get(&place[0])).copied();
        let (source_offset, found_by) = match self.search(
            topic,
            partition,
            target_start..target_end,
            told,
            stop,
        )? {
            Found::Before { source_offset, records } => (source_offset, Some(records)),
            _ if told.is_some() => (told.unwrap_or_default(), None),
            Found::Ambiguous { records } => {
                return Err(format!(
                    "the target's last {records} records stand at several places of the source; say where the other mirror stood \
                     (--group, --offsets-file)"
                ));
            }
            Found::Few { records } => {
                return Err(format!(
                    "of the target's last records only {records} stand in a row in the source's partition: the other mirror chose \
                     partitions by itself, or did not keep their order; say where it stood (--group, --offsets-file)"
                ));
            }
            Found::Nowhere => {
                return Err(
                    "the target's last record is not in the source's partition: the other mirror chose partitions by itself, or \
                     changed records, or the source has deleted it; say where the other mirror stood (--group, --offsets-file)"
                        .into(),
                );
            }
        };
        let config = &self.settings.config;
        let source_start = start_of(&mut self.source).ok_or("the source does not say where it begins")?;
        let choice = offsets::choose(config, topic, self.cannot_fill.as_deref(), source_start);
        let offsets = match choice.mode {
            OffsetMode::Identical if source_offset == target_end => OffsetMode::Identical,
            _ => OffsetMode::Append,
        };
        let (topic, target_offset) = (topic.to_owned(), target_end);
        Ok(Some(Taken { topic, partition, source_offset, target_offset, offsets, found_by }))
    }

    /// Looks for the target's last records in the source.
    fn search(
        &mut self,
        topic: &str,
        partition: i32,
        target: std::ops::Range<i64>,
        told: Option<i64>,
        stop: &AtomicBool,
    ) -> Result<Found, String> {
        let with_times = !self.stamps(topic)?;
        let Tail { prints: tail, first_time_ms, is_all } =
            tail(&mut self.target, topic, partition, target, with_times)?;
        let place = [(topic.to_owned(), partition)];
        // It may have copied what was aborted, or is open still.
        let end = self.source.end_offsets_of(&place, Isolation::ReadUncommitted).get(&place[0]).copied();
        let end = end.ok_or("the source does not say where it ends")?;
        let start = self.source.start_offsets(&place).get(&place[0]).copied();
        let start = start.ok_or("the source does not say where it begins")?;
        // The tail's first record is no earlier than the first one of its time, and the other mirror claims no more than it wrote.
        let since = match with_times {
            true => self.source.offsets_since(&place, first_time_ms).get(&place[0]).copied().unwrap_or(start),
            false => start,
        };
        let told = told.map_or(start, |told| told.saturating_sub(tail.len() as i64));
        let from = if since < 0 { start } else { since }.max(told).max(start);
        let mut search = Search::new(tail, is_all);
        let reader = Reader::for_comparison(topic, partition, from..end, true, ASKED_BYTES_MAX);
        let mut reader = reader.with_undecided();
        while !reader.is_done() && !search.is_over() && !stop.load(Ordering::Relaxed) {
            let Some(batch) = reader.next(&mut self.source)? else { continue };
            for (offset, _, print) in prints(&batch, with_times)? {
                if offset >= from && !search.is_over() {
                    search.push(offset, print);
                }
            }
        }
        reader.close(&mut self.source);
        Ok(search.found())
    }

    /// Whether the target gives records times of its own.
    fn stamps(&mut self, topic: &str) -> Result<bool, String> {
        let configs = self.target.topic_configs([topic]).map_err(|error| error.to_string())?;
        let kind = configs.get(topic).and_then(|configs| configs.effective.get("message.timestamp.type"));
        Ok(kind.is_some_and(|kind| kind == "LogAppendTime"))
    }

    /// Nobody else writes to the target any more.
    fn check_still(&mut self, before: &BTreeMap<(String, i32), i64>) -> Result<(), TakeOverError> {
        let places: Vec<(String, i32)> = before.keys().cloned().collect();
        let ends = self.target.end_offsets_of(&places, Isolation::ReadUncommitted);
        match ends.iter().find(|(place, end)| before.get(place) != Some(end)) {
            Some(((topic, partition), _)) => Err(TakeOverError::Refused(format!(
                "somebody writes to {topic}-{partition} on the target: stop the other mirror first, and all who write there"
            ))),
            None => Ok(()),
        }
    }

    fn write(&mut self, partitions: &[Taken]) -> Result<(), TakeOverError> {
        let source_cluster = self.source.observed().cluster_id.clone();
        let mut held = HeldLink::take(&self.settings.config, &source_cluster)?;
        for taken in partitions {
            let topic_ids =
                [&self.source, &self.target].map(|admin| admin.observed().topic_id(&taken.topic)).into();
            let begins_at = (taken.source_offset, taken.target_offset);
            held.ledger(&taken.topic, taken.partition).go_on_behind_others(
                &taken.topic,
                taken.partition,
                topic_ids,
                taken.offsets,
                begins_at,
            );
        }
        Ok(held.release()?)
    }
}

/// The last records of a partition.
struct Tail {
    prints: Vec<Print>,
    first_time_ms: i64,
    /// There is nothing before them.
    is_all: bool,
}

fn tail(
    target: &mut Admin,
    topic: &str,
    partition: i32,
    range: std::ops::Range<i64>,
    with_times: bool,
) -> Result<Tail, String> {
    let mut offsets = TAIL_OFFSETS;
    loop {
        let from = range.end.saturating_sub(offsets).max(range.start);
        let reader = Reader::for_comparison(topic, partition, from..range.end, true, ASKED_BYTES_MAX);
        let mut reader = reader.with_undecided();
        let mut records = Vec::new();
        while !reader.is_done() {
            let Some(batch) = reader.next(target)? else { continue };
            let inside = prints(&batch, with_times)?.into_iter().filter(|(offset, ..)| *offset >= from);
            records.extend(inside.map(|(_, time_ms, print)| (time_ms, print)));
        }
        reader.close(target);
        if records.is_empty() && from > range.start {
            offsets = offsets.saturating_mul(10);
            continue;
        }
        let is_all = from == range.start && records.len() <= TAIL_RECORDS;
        let last = records.split_off(records.len().saturating_sub(TAIL_RECORDS));
        // Records are not always in the order of their times.
        let first_time_ms = last.iter().map(|(time_ms, _)| *time_ms).min().unwrap_or(0);
        return Ok(Tail {
            prints: last.into_iter().map(|(_, print)| print).collect(),
            first_time_ms,
            is_all,
        });
    }
}

fn at(side: Side) -> impl Fn(AdminError) -> MirrorError {
    move |error| MirrorError::Cluster { side, error }
}

/// The outcome for people.
pub fn show(outcome: &Outcome, settings: &Settings) -> String {
    let mut text = String::new();
    for taken in &outcome.partitions {
        let Taken { topic, partition, source_offset, target_offset, found_by, .. } = taken;
        let how = match found_by {
            Some(records) => format!("the target's last {records} records looked at stand before it"),
            None => {
                "by the other mirror's own account, since the target's last records were not found".into()
            }
        };
        text += &format!(
            "{topic}-{partition}: goes on with source offset {source_offset}, at target offset {target_offset}; {how}\n"
        );
    }
    for (topic, partition, why) in &outcome.left_out {
        text += &format!("left out: {topic}-{partition}: {why}\n");
    }
    let (count, link) = (outcome.partitions.len(), &settings.config.link);
    text += &match outcome.is_done {
        _ if count == 0 => "nothing is taken over\n".into(),
        true => format!(
            "{count} partitions taken over by link {link}; start `twinlog mirror` with the same flags, then `twinlog verify`\n"
        ),
        false => format!("{count} partitions would be taken over by link {link}\n"),
    };
    text
}
