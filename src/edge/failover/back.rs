//! Failback: what clients wrote to the standby since the failover goes to the old primary, and nothing else.
//!
//! A reverse link mirrors each partition from the offset where it was handed over. On the old primary its records stand behind
//! what is there. If that ends where the link had mirrored it to, both sides are the same afterwards, offsets included (with
//! identical offsets). If the old primary has more, its *divergent tail* was acknowledged there and never mirrored: it is
//! listed, and stays, if so told; then offsets differ from there on, and the reverse link's map knows how.
//!
//! In the end the forward link is told to go on behind what came back, so that nothing goes round in a circle.

use super::FailoverError;
use crate::config::Mirror;
use crate::control::ledger::Failover;
use crate::control::topics::is_selected;
use crate::edge::admin::Admin;
use crate::edge::groups::{Answers, Asked, GroupSync, Round};
use crate::edge::held_link::HeldLink;
use crate::edge::mirror::{self, MirrorError, Summary};
use crate::edge::offsets::LinkState;
use crate::edge::verify::Reader;
use crate::shard::{OffsetMode, Side};
use crate::stats::Report;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use uuid::Uuid;

/// Batches of a divergent tail that are listed one by one.
const TAIL_BATCHES_MAX: usize = 100;

pub struct FailbackSettings {
    /// The link that was failed over, source and target as they were then.
    pub config: Mirror,
    /// The reverse link's name.
    pub link: String,
    /// Keep what the old primary has and the standby has not.
    pub keep_tail: bool,
    pub dry_run: bool,
    /// Go on mirroring until stopped; the old primary is not handed back yet.
    pub follow: bool,
}

/// What the old primary has of a partition that was never mirrored.
#[derive(Debug, Serialize)]
pub struct Tail {
    pub topic: String,
    pub partition: i32,
    pub from_offset: i64,
    pub to_offset: i64,
    /// Of committed records, up to a hundred: first offset, last offset, records, largest timestamp (ms).
    pub batches: Vec<(i64, i64, i32, i64)>,
}

/// What came of a failback.
#[derive(Debug, Default, Serialize)]
pub struct Back {
    pub tails: Vec<Tail>,
    /// Partitions to be brought back, and offsets that clients wrote on the standby.
    pub partitions: usize,
    pub offsets: i64,
    /// It was carried out, and the forward link may go on.
    pub is_done: bool,
    #[serde(skip)]
    pub summary: Option<Summary>,
    #[serde(skip)]
    pub groups: Option<Round>,
}

struct Place {
    failover: Failover,
    mode: OffsetMode,
    primary_end: i64,
    standby_end: i64,
    /// On the old primary and on the standby.
    topic_ids: (Uuid, Uuid),
}

/// Brings back what was failed over.
pub fn back(
    settings: &FailbackSettings,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
) -> Result<Back, FailoverError> {
    let config = &settings.config;
    let timeout = Duration::from_millis(config.request_timeout_ms);
    let mut primary = Admin::new(&config.source, &config.client_id, timeout);
    let mut standby = Admin::new(&config.target, &config.client_id, timeout);
    let at = |side: Side| move |error| MirrorError::Cluster { side, error };
    let primary_id = primary.observe().map_err(at(Side::Source))?.cluster_id.clone();
    let standby_id = standby.observe().map_err(at(Side::Target))?.cluster_id.clone();
    let forward = LinkState::read(&config.target, &config.link, &config.client_id, timeout)?;
    let places = places(settings, &forward, &mut primary, &mut standby)?;
    let mut outcome = Back {
        tails: tails(&places, &mut primary)?,
        partitions: places.len(),
        offsets: places.values().map(|place| place.standby_end - place.failover.target_offset).sum(),
        ..Back::default()
    };
    if settings.dry_run || (!outcome.tails.is_empty() && !settings.keep_tail) {
        return Ok(outcome);
    }
    let reverse = Mirror {
        link: settings.link.clone(),
        source: config.target.clone(),
        target: config.source.clone(),
        topics: exactly(places.keys().map(|(topic, _)| topic.as_str())),
        exclude: Vec::new(),
        groups: Vec::new(),
        // They are for what comes from the old primary.
        transforms: Vec::new(),
        // However the forward link is divided, this process brings everything back.
        instances: None,
        // All comes back, or somebody has to look at it.
        dead_letter: None,
        // What clients translate is the way there.
        client_topics: config.client_topics.silent(),
        until_caught_up: !settings.follow,
        // What is back is the old primary's clients' again, so this link is done with it.
        hand_over: !settings.follow,
        ..config.clone()
    };
    prepare(&reverse, &standby_id, &places)?;
    let summary = mirror::run(&reverse, stop, observe)?;
    let is_complete =
        summary.is_clean() && !settings.follow && !stop.load(std::sync::atomic::Ordering::Relaxed);
    outcome.summary = Some(summary);
    if !is_complete {
        return Ok(outcome);
    }
    let returned = LinkState::read(&reverse.target, &reverse.link, &reverse.client_id, timeout)?;
    if !config.groups.is_empty() {
        let groups = Mirror {
            groups: config.groups.clone(),
            groups_exclude: config.groups_exclude.clone(),
            ..reverse
        };
        let mut sync = GroupSync::new(Arc::new(groups));
        let mut translate = |asked: Asked| Some(translate_back(&asked, &places, &forward, &returned));
        let round = sync.last_round(&mut translate).map_err(at(Side::Source))?;
        outcome.groups = Some(round);
    }
    finish(config, &primary_id, &places, &returned)?;
    outcome.is_done = true;
    Ok(outcome)
}

fn exactly<'a>(topics: impl Iterator<Item = &'a str>) -> Vec<regex::Regex> {
    let mut patterns: Vec<String> = topics.map(|topic| format!("^(?:{})$", regex::escape(topic))).collect();
    patterns.dedup();
    patterns.iter().filter_map(|pattern| regex::Regex::new(pattern).ok()).collect()
}

fn places(
    settings: &FailbackSettings,
    forward: &LinkState,
    primary: &mut Admin,
    standby: &mut Admin,
) -> Result<BTreeMap<(String, i32), Place>, FailoverError> {
    let config = &settings.config;
    let failovers: BTreeMap<(String, i32), Failover> = forward
        .ledger
        .failovers()
        .iter()
        .filter(|((topic, _), _)| is_selected(config, topic))
        .map(|(place, failover)| (place.clone(), failover.clone()))
        .collect();
    if failovers.is_empty() {
        return Err(FailoverError::Refused(format!(
            "link {} has failed none of the matching topics over, so there is nothing to bring back; check --link and --topics",
            config.link
        )));
    }
    let names: Vec<(String, i32)> = failovers.keys().cloned().collect();
    let (primary_ends, standby_ends) = (primary.end_offsets(&names), standby.end_offsets(&names));
    let mut places = BTreeMap::new();
    for (name, failover) in failovers {
        let ends = primary_ends.get(&name).zip(standby_ends.get(&name));
        let (&primary_end, &standby_end) = ends.ok_or_else(|| {
            FailoverError::Refused(format!(
                "{}-{} does not exist on both clusters, or has no leader now",
                name.0, name.1
            ))
        })?;
        let mode = forward.ledger.mode(&name.0, name.1).unwrap_or_default();
        let topic_ids = (primary.observed().topic_id(&name.0), standby.observed().topic_id(&name.0));
        places.insert(name, Place { failover, mode, primary_end, standby_end, topic_ids });
    }
    Ok(places)
}

/// What the old primary has and the link had not mirrored.
fn tails(places: &BTreeMap<(String, i32), Place>, primary: &mut Admin) -> Result<Vec<Tail>, FailoverError> {
    let mut tails = Vec::new();
    for ((topic, partition), place) in places {
        let range = place.failover.source_offset..place.primary_end;
        if range.is_empty() {
            continue;
        }
        let mut tail = Tail {
            topic: topic.clone(),
            partition: *partition,
            from_offset: range.start,
            to_offset: range.end,
            batches: Vec::new(),
        };
        let mut reader = Reader::new(topic, *partition, range);
        while !reader.is_done() && tail.batches.len() < TAIL_BATCHES_MAX {
            let Some(held) = reader.next(primary).map_err(FailoverError::Refused)? else { continue };
            let header = &held.header;
            let batch =
                (header.base_offset, header.last_offset(), header.record_count, header.max_timestamp_ms);
            tail.batches.push(batch);
        }
        reader.close(primary);
        tails.push(tail);
    }
    Ok(tails)
}

/// Writes into the reverse link's state where each partition begins, unless it has begun already.
fn prepare(
    reverse: &Mirror,
    standby_id: &str,
    places: &BTreeMap<(String, i32), Place>,
) -> Result<(), FailoverError> {
    let mut held = HeldLink::take(reverse, standby_id)?;
    for ((topic, partition), place) in places {
        let begins_at = (place.failover.target_offset, place.primary_end);
        let ledger = held.ledger(topic, *partition);
        if ledger.mirrored_to(topic, *partition).is_some_and(|offset| offset >= begins_at.0) {
            // A failback that was interrupted goes on.
            ledger.take_back(topic, *partition);
            continue;
        }
        let mode = match begins_at.0 == begins_at.1 {
            true => place.mode,
            false => OffsetMode::Append,
        };
        let topic_ids = (place.topic_ids.1, place.topic_ids.0);
        ledger.go_on_behind_others(topic, *partition, topic_ids, mode, begins_at);
    }
    Ok(held.release()?)
}

/// Everything is back: the forward link goes on behind it.
fn finish(
    config: &Mirror,
    primary_id: &str,
    places: &BTreeMap<(String, i32), Place>,
    returned: &LinkState,
) -> Result<(), FailoverError> {
    let mut held = HeldLink::take(config, primary_id)?;
    for ((topic, partition), place) in places {
        let Some(standby_end) = returned.ledger.mirrored_to(topic, *partition) else { continue };
        let Ok(primary_end) = returned.ledger.target_of(topic, *partition, standby_end) else { continue };
        let mode = if primary_end == standby_end { place.mode } else { OffsetMode::Append };
        let ends = (primary_end, standby_end);
        held.ledger(topic, *partition).go_on_behind_others(topic, *partition, place.topic_ids, mode, ends);
    }
    Ok(held.release()?)
}

/// A group's position on the standby in the old primary's offsets: what was mirrored before the failover is in the forward
/// link's map, what came after in the reverse link's.
fn translate_back(
    asked: &Asked,
    places: &BTreeMap<(String, i32), Place>,
    forward: &LinkState,
    returned: &LinkState,
) -> Answers {
    let one = |(topic, partition, offset): &(String, i32, i64)| {
        let place = places.get(&(topic.clone(), *partition));
        match place.is_some_and(|place| *offset < place.failover.target_offset) {
            true => forward.ledger.source_of(topic, *partition, *offset),
            false => returned.ledger.target_of(topic, *partition, *offset),
        }
    };
    asked.iter().map(one).collect()
}

const TAIL_ADVICE: &str = "Either keep the divergent tails where they are, with what comes back behind them (--tail keep; offsets \
                           differ from there on), or delete those topics on the old primary and mirror them anew";

/// The outcome for people.
pub fn show_back(outcome: &Back, settings: &FailbackSettings) -> String {
    let mut text = String::new();
    for tail in &outcome.tails {
        let Tail { topic, partition, from_offset, to_offset, batches } = tail;
        text += &format!(
            "divergent tail: {topic}-{partition} offsets {from_offset} to {} were written to the old primary and never mirrored\n",
            to_offset - 1
        );
        for (first, last, records, timestamp_ms) in batches {
            text +=
                &format!("    offsets {first} to {last}: {records} records, the newest of {timestamp_ms}\n");
        }
    }
    let what =
        format!("{} partitions, {} offsets written on the standby", outcome.partitions, outcome.offsets);
    if outcome.is_done {
        text +=
            &format!("{what}: all back on the old primary; mirror link {} may go on\n", settings.config.link);
    } else if settings.dry_run {
        text += &format!("{what}: would be brought back\n");
        if !outcome.tails.is_empty() && !settings.keep_tail {
            text += &format!("but the divergent tails are in the way. {TAIL_ADVICE}\n");
        }
    } else if outcome.summary.is_none() {
        text += &format!("nothing was brought back. {TAIL_ADVICE}\n");
    } else {
        text += &format!("{what}: brought back so far; run failback again, without --follow, to finish\n");
    }
    if let Some(round) = &outcome.groups {
        text += &format!("{} group offsets brought back, {} skipped\n", round.synced, round.skipped.len());
        for (group, topic, partition, reason) in &round.skipped {
            text += &format!("    {group} {topic}-{partition}: {reason}\n");
        }
    }
    text
}
