//! `twinlog shape`: looks at the headers of batches, live or of a backlog, and keeps what they look like.
//!
//! A thread for each broker reads the partitions that it leads; when one has a new leader, all of them begin anew from where they
//! are. Payloads are dropped in the kernel, unseen (see [`Tap`](super::verify::Tap)).

mod files;
mod watcher;

pub use files::{read_file, write_file};

use super::admin::Admin;
use super::clock;
use super::progress::Progress;
use super::security::Access;
use crate::config::{Address, Cluster};
use crate::control::topics;
use crate::load::shape::{BATCHES_MAX, Captured, Clock, Ended, Head, LANES_MAX, Topic};
use crate::stats::units;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use watcher::{Found, Lane, Watcher};

/// What to capture.
#[derive(Clone, Debug)]
pub struct Settings {
    pub cluster: Cluster,
    pub topics: Vec<Regex>,
    pub exclude: Vec<Regex>,
    pub span: Span,
    /// No more than batches of so many bytes.
    pub bytes_max: u64,
    pub client_id: String,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// What comes in the next so many µs.
    Next { us: u64 },
    /// What is dated in the last so many ms.
    Last { ms: u64 },
}

/// How often in a row leaders are looked up anew without anything having been read.
const ROUNDS_MAX: u32 = 40;
const ROUND_PAUSE: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_millis(50);

/// What the threads share.
struct Shared<'a> {
    access: Arc<Access>,
    client_id: &'a str,
    timeout: Duration,
    begin_us: u64,
    /// When to end, by the steady clock.
    until_us: u64,
    /// Of a backlog: from when on, ms since 1970.
    since_ms: Option<i64>,
    bytes_max: u64,
    bytes: AtomicU64,
    batches: AtomicU64,
    /// Everybody is to go home.
    over: AtomicBool,
}

impl Shared<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Takes note of a batch. False: there are enough.
    fn count(&self, bytes: u64) -> bool {
        let batches = self.batches.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        batches < BATCHES_MAX as u64 && before < self.bytes_max
    }
}

/// Captures until the time is over, everything is read, or `stop` is set.
pub fn capture(settings: &Settings, stop: &AtomicBool, progress: &Progress) -> Result<Captured, String> {
    let mut admin = Admin::new(&settings.cluster, &settings.client_id, settings.timeout);
    let topics = find_topics(settings, &mut admin)?;
    let places: Vec<(String, i32)> = topics
        .iter()
        .flat_map(|topic| (0..topic.partitions as i32).map(|partition| (topic.name.clone(), partition)))
        .collect();
    let now = clock::now();
    let since_ms = match settings.span {
        Span::Next { .. } => None,
        Span::Last { ms } => Some(now.wall_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)).max(0)),
    };
    let mut lanes = find_lanes(&mut admin, &places, since_ms, stop)?;
    let now = clock::now();
    let shared = Shared {
        access: Access::new(&settings.cluster.security),
        client_id: &settings.client_id,
        timeout: settings.timeout,
        begin_us: now.mono_us,
        until_us: match settings.span {
            Span::Next { us } => now.mono_us.saturating_add(us),
            Span::Last { .. } => u64::MAX,
        },
        since_ms,
        bytes_max: settings.bytes_max,
        bytes: AtomicU64::new(0),
        batches: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    let mut found = Found::default();
    let mut fruitless = 0;
    while !lanes.is_empty() && !shared.is_over() {
        let before = shared.batches.load(Ordering::Relaxed);
        let round = read_round(&shared, &mut admin, lanes, stop, progress)?;
        found.merge(round.found);
        lanes = round.moved;
        fruitless = if shared.batches.load(Ordering::Relaxed) > before { 0 } else { fruitless + 1 };
        if let Some(trouble) = round.trouble.filter(|_| !lanes.is_empty()) {
            if fruitless > ROUNDS_MAX {
                return Err(trouble);
            }
            tracing::warn!("{trouble}; looking for the leaders again");
            thread::sleep(ROUND_PAUSE);
            // What cannot be asked now is asked for in the next round.
            let _ = admin.observe();
        }
    }
    let (begin_ms, us) = match settings.span {
        Span::Next { us } => (now.wall_ms, us.min(clock::now().mono_us - shared.begin_us)),
        Span::Last { .. } => found.trim(since_ms.unwrap_or(0)),
    };
    let ended = match () {
        () if shared.batches.load(Ordering::Relaxed) > BATCHES_MAX as u64 => Ended::BatchesMax,
        () if shared.bytes.load(Ordering::Relaxed) > settings.bytes_max => Ended::BytesMax,
        () if stop.load(Ordering::Relaxed) => Ended::Interrupted,
        () => Ended::AsAsked,
    };
    let head = Head {
        twinlog_shape: 1,
        version: env!("CARGO_PKG_VERSION").into(),
        begin_ms,
        us: us.max(1),
        clock: if since_ms.is_some() { Clock::Timestamps } else { Clock::Arrival },
        ended,
        topics,
        left_out: found.left_out,
    };
    Ok(Captured::new(head, found.batches))
}

fn find_topics(settings: &Settings, admin: &mut Admin) -> Result<Vec<Topic>, String> {
    let observed = admin.observe().map_err(|error| error.to_string())?;
    let selected = topics::select_by(&settings.topics, &settings.exclude, observed);
    let selected = selected.into_iter().filter(|topic| !topic.partitions.is_empty());
    let found: Vec<Topic> = selected
        .map(|topic| Topic { name: topic.name.to_string(), partitions: topic.partitions.len() as u32 })
        .collect();
    let lanes: u64 = found.iter().map(|topic| u64::from(topic.partitions)).sum();
    if found.is_empty() {
        let names: Vec<&str> = observed
            .topics
            .keys()
            .map(String::as_str)
            .filter(|name| !name.starts_with("__"))
            .take(10)
            .collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(format!("no topic matches --topics; those that this user may see: {names}"));
    }
    if lanes > LANES_MAX as u64 {
        return Err(format!("the topics have {lanes} partitions, more than {LANES_MAX}; name fewer of them"));
    }
    Ok(found)
}

/// Where each partition is read from and up to.
fn find_lanes(
    admin: &mut Admin,
    places: &[(String, i32)],
    since_ms: Option<i64>,
    stop: &AtomicBool,
) -> Result<Vec<Lane>, String> {
    let mut ends = BTreeMap::new();
    for _ in 0..ROUNDS_MAX {
        ends = admin.end_offsets_of(places, crate::config::Isolation::ReadUncommitted);
        if ends.len() == places.len() || stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(ROUND_PAUSE);
        admin.observe().map_err(|error| error.to_string())?;
    }
    let begins = match since_ms {
        None => ends.clone(),
        Some(since_ms) => admin.offsets_since(places, since_ms),
    };
    let mut lanes = Vec::new();
    for (number, place) in (0..).zip(places) {
        let (topic, partition) = place;
        let (Some(&end), Some(&begin)) = (ends.get(place), begins.get(place)) else {
            return Err(format!("no leader answers for {topic}-{partition}; check that all brokers are up"));
        };
        // None of its records is so young.
        let has_some = since_ms.is_none() || (begin >= 0 && begin < end);
        if has_some {
            lanes.push(Lane {
                number,
                topic: topic.clone(),
                partition: *partition,
                position: begin,
                end: since_ms.map(|_| end),
            });
        }
    }
    Ok(lanes)
}

#[derive(Default)]
struct Round {
    found: Found,
    /// Lanes that somebody else leads now, or that could not be read.
    moved: Vec<Lane>,
    trouble: Option<String>,
}

/// Everybody reads until everything is read, or something has to be looked up anew.
fn read_round(
    shared: &Shared<'_>,
    admin: &mut Admin,
    lanes: Vec<Lane>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Round, String> {
    let mut round = Round::default();
    let mut by_leader: BTreeMap<Address, Vec<Lane>> = BTreeMap::new();
    let observed = admin.observed();
    for lane in lanes {
        let state =
            observed.topics.get(&lane.topic).and_then(|topic| topic.partitions.get(lane.partition as usize));
        match state.and_then(|state| observed.brokers.get(&state.leader)) {
            Some(leader) => by_leader.entry(leader.clone()).or_default().push(lane),
            None => {
                round.trouble = Some(format!("{}-{} has no leader", lane.topic, lane.partition));
                round.moved.push(lane);
            }
        }
    }
    let again = AtomicBool::new(!round.moved.is_empty());
    let ended: Vec<Result<watcher::End, String>> = thread::scope(|scope| {
        let threads: Vec<_> = by_leader
            .into_iter()
            .map(|(leader, lanes)| {
                let again = &again;
                thread::Builder::new()
                    .name("watcher".into())
                    .spawn_scoped(scope, move || Watcher::new(shared, again).run(&leader, lanes))
            })
            .collect();
        let mut last_us = 0;
        while threads.iter().flatten().any(|thread| !thread.is_finished()) {
            let now_us = clock::now().mono_us;
            if stop.load(Ordering::Relaxed) || now_us >= shared.until_us {
                shared.over.store(true, Ordering::Relaxed);
            }
            if now_us > last_us + 1_000_000 {
                last_us = now_us;
                progress.update(|| said(shared, now_us));
            }
            thread::sleep(TICK);
        }
        let join = |thread: std::io::Result<thread::ScopedJoinHandle<'_, watcher::End>>| {
            thread.map_err(|error| error.to_string())?.join().map_err(|_| "a watcher panicked".to_owned())
        };
        threads.into_iter().map(join).collect()
    });
    for end in ended {
        let end = end?;
        round.found.merge(end.found);
        round.moved.extend(end.lanes);
        match end.trouble {
            None => {}
            Some((trouble, true)) => round.trouble = Some(trouble),
            Some((trouble, false)) => return Err(trouble),
        }
    }
    if stop.load(Ordering::Relaxed) {
        shared.over.store(true, Ordering::Relaxed);
    }
    Ok(round)
}

fn said(shared: &Shared<'_>, now_us: u64) -> String {
    let seconds = (now_us - shared.begin_us) as f64 / 1e6;
    let bytes = shared.bytes.load(Ordering::Relaxed);
    let mut text = format!(
        "{seconds:.0} s: {} batches of {}, {}",
        units::count(shared.batches.load(Ordering::Relaxed)),
        units::bytes(bytes),
        units::byte_rate(bytes as f64 / seconds.max(0.1))
    );
    if shared.until_us != u64::MAX {
        text += &format!("; {:.0} s to go", shared.until_us.saturating_sub(now_us) as f64 / 1e6);
    }
    text
}

#[cfg(test)]
mod tests;
