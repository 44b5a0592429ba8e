//! Failover: the target's clients take over. Failback ([`mod@back`]): what they wrote goes to the old primary, which takes
//! over again.
//!
//! A partition that was failed over is marked in the link's state topic; a mirror of the link leaves it alone from then on.

mod back;

pub use back::{Back, FailbackSettings, Tail, back, show_back};

use super::admin::Admin;
use super::held_link::HeldLink;
use super::mirror::{self, MirrorError};
use super::offsets::{LinkState, OffsetsError};
use super::{clock, instances, usage};
use crate::config::Mirror;
use crate::control::ledger::Failover;
use crate::control::topics::is_selected;
use crate::stats::Report;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long a forced failover waits for a source that may be gone.
const SOURCE_PATIENCE_MS: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Waits until everything is mirrored.
    Controlled,
    /// Does not wait for the source.
    Forced,
    /// Does all of a controlled failover but the handing over.
    Drill,
    /// Says what a controlled failover would do.
    DryRun,
}

/// What came of a failover, or would.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub partitions: Vec<HandedOver>,
    /// Partitions and topics that are not handed over, and why.
    pub left_out: Vec<String>,
    /// From the start to the end, lock and last look included.
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// The source could be asked how much it has.
    pub source_is_known: bool,
}

/// One partition.
#[derive(Debug, Serialize)]
pub struct HandedOver {
    pub topic: String,
    pub partition: i32,
    /// Everything below is on the target.
    pub source_offset: i64,
    /// The target's clients write from here on.
    pub target_offset: i64,
    /// Source offsets from `source_offset` on that are not on the target; None when the source cannot be asked.
    pub not_mirrored: Option<i64>,
}

impl Outcome {
    /// Offsets that the target does not have; None where that is not known.
    pub fn lost_offsets(&self) -> Option<i64> {
        self.partitions.iter().map(|partition| partition.not_mirrored).sum()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FailoverError {
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Link(#[from] OffsetsError),
    #[error("{0}")]
    Refused(String),
}

/// Hands the link's topics over to the target's clients.
pub fn over(
    config: &Mirror,
    kind: Kind,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
) -> Result<Outcome, FailoverError> {
    let begin = clock::now();
    let cpu_before = usage::process_cpu_us();
    let (positions, left_out) = match kind {
        Kind::DryRun => mirrored(config)?,
        Kind::Forced => (force(config)?, Vec::new()),
        Kind::Controlled | Kind::Drill => {
            let config =
                Mirror { until_caught_up: true, hand_over: kind == Kind::Controlled, ..config.clone() };
            let state = LinkState::read(&config.target, &config.link, &config.client_id, timeout_of(&config));
            let parts = state.ok().and_then(|state| state.ledger.parts());
            let summary = match parts {
                Some(parts) => instances::run_all(&config, parts, stop, observe)?,
                None => mirror::run(&config, stop, observe)?,
            };
            let stopped =
                summary.stopped.iter().map(|(topic, partition, stop)| format!("{topic}-{partition}: {stop}"));
            let problems = summary.problems.iter().map(|(topic, problem)| format!("{topic}: {problem}"));
            let stopped: Vec<String> = stopped.chain(problems).collect();
            let (positions, left_out) = mirrored(&config)?;
            (positions, stopped.into_iter().chain(left_out).collect())
        }
    };
    if positions.is_empty() && left_out.is_empty() {
        return Err(FailoverError::Refused(format!(
            "link {} has mirrored none of the matching topics, so there is nothing to hand over; check --link and --topics",
            config.link
        )));
    }
    let places: Vec<(String, i32)> = positions.keys().cloned().collect();
    let ends = source_ends(config, &places);
    let partitions = positions.into_iter().map(|((topic, partition), (source_offset, target_offset))| {
        let end = ends.as_ref().and_then(|ends| ends.get(&(topic.clone(), partition)));
        let not_mirrored = end.map(|end| (end - source_offset).max(0));
        HandedOver { topic, partition, source_offset, target_offset, not_mirrored }
    });
    Ok(Outcome {
        partitions: partitions.collect(),
        left_out,
        seconds: (clock::now().mono_us - begin.mono_us) as f64 / 1e6,
        cpu_seconds: (usage::process_cpu_us() - cpu_before) as f64 / 1e6,
        source_is_known: ends.is_some(),
    })
}

fn timeout_of(config: &Mirror) -> Duration {
    Duration::from_millis(config.request_timeout_ms)
}

type Positions = BTreeMap<(String, i32), (i64, i64)>;

/// Where the link's partitions stand, offsets on the source and on the target; and which do not stand anywhere, and why.
fn mirrored(config: &Mirror) -> Result<(Positions, Vec<String>), FailoverError> {
    let state = LinkState::read(&config.target, &config.link, &config.client_id, timeout_of(config))?;
    let (mut positions, mut left_out) = (Positions::new(), Vec::new());
    for (topic, partition) in state.ledger.partitions().filter(|(topic, _)| is_selected(config, topic)) {
        let place = (topic.to_owned(), partition);
        if let Some(failover) = state.ledger.failovers().get(&place) {
            positions.insert(place, (failover.source_offset, failover.target_offset));
            continue;
        }
        let source_offset = state.ledger.mirrored_to(topic, partition).unwrap_or(0);
        match state.ledger.target_of(topic, partition, source_offset) {
            Ok(target_offset) => drop(positions.insert(place, (source_offset, target_offset))),
            Err(why) => left_out.push(format!("{topic}-{partition}: {why}")),
        }
    }
    Ok((positions, left_out))
}

/// Takes the lock, waits until nothing of the old owner can arrive any more, and marks the partitions where the target stands.
fn force(config: &Mirror) -> Result<Positions, FailoverError> {
    let state = LinkState::read(&config.target, &config.link, &config.client_id, timeout_of(config))?;
    let source_cluster = state.ledger.source_cluster().unwrap_or_default().to_owned();
    let mut held = HeldLink::take(config, &source_cluster)?;
    let wait_us = held.zombies_until_us.saturating_sub(clock::now().mono_us);
    if wait_us > 0 {
        tracing::info!(
            "waiting {} s, until nothing of the mirror that was locked out can arrive",
            wait_us.div_ceil(1_000_000)
        );
        std::thread::sleep(Duration::from_micros(wait_us));
    }
    let places: Vec<(String, i32)> = held
        .partitions()
        .filter(|(topic, _)| is_selected(config, topic))
        .map(|(topic, partition)| (topic.to_owned(), partition))
        .collect();
    let ends = held.target.end_offsets(&places);
    let at_ms = clock::now().wall_ms;
    let mut positions = Positions::new();
    for (topic, partition) in places {
        let Some(&target_offset) = ends.get(&(topic.clone(), partition)) else { continue };
        let ledger = held.ledger(&topic, partition);
        let Some(source_offset) = ledger.reached(&topic, partition, target_offset) else { continue };
        let failover = Failover { source_offset, target_offset, is_forced: true, at_ms };
        ledger.fail_over(&topic, partition, failover);
        positions.insert((topic, partition), (source_offset, target_offset));
    }
    held.release()?;
    Ok(positions)
}

/// Where the source's partitions end, if it can be asked.
fn source_ends(config: &Mirror, places: &[(String, i32)]) -> Option<BTreeMap<(String, i32), i64>> {
    let timeout = Duration::from_millis(config.request_timeout_ms.min(SOURCE_PATIENCE_MS));
    let mut source = Admin::new(&config.source, &config.client_id, timeout);
    source.observe().ok()?;
    let ends = source.end_offsets(places);
    (ends.len() == places.len()).then_some(ends)
}

/// The outcome for people.
pub fn show(outcome: &Outcome, kind: Kind) -> String {
    let mut text = String::new();
    let would = if kind == Kind::DryRun { "would be handed over" } else { "handed over" };
    for partition in &outcome.partitions {
        let HandedOver { topic, partition, source_offset, target_offset, not_mirrored } = partition;
        let lag = match not_mirrored {
            Some(0) => "all mirrored".to_owned(),
            Some(count) => {
                format!(
                    "source offsets {source_offset} to {} are not on the target",
                    source_offset + count - 1
                )
            }
            None => format!("what the source has from offset {source_offset} on is unknown"),
        };
        if *not_mirrored != Some(0) || kind == Kind::DryRun {
            text += &format!("{topic}-{partition}: {would} at target offset {target_offset}; {lag}\n");
        }
    }
    for left_out in &outcome.left_out {
        text += &format!("left out: {left_out}\n");
    }
    let count = outcome.partitions.len();
    let rpo = match outcome.lost_offsets() {
        Some(0) => "RPO 0: every source record is on the target".to_owned(),
        Some(offsets) => format!("RPO: {offsets} source offsets are not on the target"),
        None => "RPO unknown: the source does not answer".to_owned(),
    };
    text += &match kind {
        Kind::DryRun => format!(
            "{count} partitions would be handed over; a controlled failover mirrors what is missing first. {rpo} now\n"
        ),
        Kind::Drill => format!(
            "drill: {count} partitions were ready to be handed over after {:.2} s (RTO); {rpo}. Nothing was handed over; start \
             the mirror again, this drill has locked it out\n",
            outcome.seconds
        ),
        Kind::Controlled | Kind::Forced => format!(
            "{count} partitions handed over in {:.2} s (RTO); {rpo}. Point the clients to the target; twinlog failback brings \
             them back\n",
            outcome.seconds
        ),
    };
    text
}
