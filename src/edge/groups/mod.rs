//! Consumer groups: their committed offsets go to the target, where the same group can go on.
//!
//! A thread of its own, beside control and shards: it looks at both clusters' groups every `groups-interval-ms`, and asks
//! control for the offsets' counterparts. The target's coordinator decides whether a group may be written to: a commit
//! without a member is taken only while the group has none (Kafka's `GroupMetadataManager`), so no consumer on the target is
//! ever overruled.

mod checkpoints;
mod client;
mod status;

pub use checkpoints::CheckpointTask;
pub(super) use checkpoints::Checkpoints;
pub use status::{Status, show};

use super::admin::AdminError;
use super::clock;
use crate::config::{Cluster, Mirror};
use crate::control::groups::{Committed, Positions, Reason, decide, is_wanted, named, no_match};
use crate::control::offset_map::Unmapped;
use client::GroupClient;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// A group whose positions could not all go to the target is left alone for this long.
const AGAIN_MS: u64 = 3_000;
/// How long a last round is tried again: a cluster that never had a group creates its offsets topic first.
const LAST_PATIENCE_MS: u64 = 15_000;
/// The longest nap before the thread looks whether it is to end.
const NAP_MS: u64 = 50;

/// A position, where it is, and what it is on the target.
type Translated = ((String, i32), Committed, Result<i64, Unmapped>);

/// Whether a group has members, as far as the cluster tells, and what it has committed.
pub(in crate::edge) fn group_positions(
    cluster: &Cluster,
    client_id: &str,
    timeout: Duration,
    group: &str,
) -> Result<(bool, Positions), AdminError> {
    let name = group.to_owned();
    let mut client = GroupClient::new(cluster, client_id, timeout).naming(vec![name.clone()]);
    let has_members = client.list()?.get(group).copied().unwrap_or(false);
    Ok((has_members, client.fetch(&[name])?.remove(group).unwrap_or_default()))
}

/// Positions to translate: topic, partition, offset on the source.
pub type Asked = Vec<(String, i32, i64)>;
pub type Answers = Vec<Result<i64, Unmapped>>;

/// A question to whoever holds the ledger.
pub struct Question {
    pub offsets: Asked,
    pub answer: Sender<Answers>,
}

/// What a look at the groups came to.
#[derive(Debug, Default)]
pub struct Round {
    /// Positions committed on the target.
    pub synced: usize,
    /// Positions that are not there, and why: group, topic, partition.
    pub skipped: Vec<(String, String, i32, Reason)>,
}

/// Both clusters' groups.
pub struct GroupSync {
    config: Arc<Mirror>,
    source: GroupClient,
    target: GroupClient,
    /// What was dealt with: nothing more is to be done until the source's position moves.
    done: BTreeMap<String, Positions>,
    /// Groups to be left alone until then (steady clock, µs).
    again_us: BTreeMap<String, u64>,
}

impl GroupSync {
    pub fn new(config: Arc<Mirror>) -> Self {
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let client = |cluster| GroupClient::new(cluster, &config.client_id, timeout);
        let (source, target) = (client(&config.source).naming(named(&config)), client(&config.target));
        Self { config, source, target, done: BTreeMap::new(), again_us: BTreeMap::new() }
    }

    /// Says so if the configuration's patterns match no group of the source, and what there is.
    pub fn no_match(&mut self) -> Result<Option<String>, AdminError> {
        let groups: Vec<String> = self.source.list()?.into_keys().collect();
        Ok(no_match(&self.config, &groups))
    }

    /// As [`Self::round`], for the last time: what the target refuses for the moment only is tried again for a while.
    pub fn last_round(
        &mut self,
        translate: &mut dyn FnMut(Asked) -> Option<Answers>,
    ) -> Result<Round, AdminError> {
        let until_us = clock::now().after_ms(LAST_PATIENCE_MS);
        let mut synced = 0;
        loop {
            self.again_us.clear();
            let round = self.round(translate);
            let may_go_well = match &round {
                Ok(round) => round.skipped.iter().any(|(.., reason)| reason.is_passing_refusal()),
                Err(error) => error.is_passing(),
            };
            synced += round.as_ref().map_or(0, |round| round.synced);
            if !may_go_well || clock::now().mono_us >= until_us {
                return round.map(|round| Round { synced, ..round });
            }
            std::thread::sleep(Duration::from_millis(NAP_MS));
        }
    }

    /// One look at all groups. `translate` answers in the order of the questions; None: it is gone.
    pub fn round(
        &mut self,
        translate: &mut dyn FnMut(Asked) -> Option<Answers>,
    ) -> Result<Round, AdminError> {
        let now = clock::now();
        let mut groups: Vec<String> = self.source.list()?.into_keys().collect();
        groups.retain(|group| is_wanted(&self.config, group));
        groups.retain(|group| self.again_us.get(group).is_none_or(|at_us| *at_us <= now.mono_us));
        let mut moved: BTreeMap<String, Positions> = BTreeMap::new();
        for (group, positions) in self.source.fetch(&groups)? {
            let done = self.done.get(&group);
            let is_new = |place: &(String, i32), committed: &_| {
                done.and_then(|done| done.get(place)) != Some(committed)
            };
            let news: Positions =
                positions.into_iter().filter(|(place, committed)| is_new(place, committed)).collect();
            if !news.is_empty() {
                moved.insert(group, news);
            }
        }
        let mut round = Round::default();
        if moved.is_empty() {
            return Ok(round);
        }
        let asked = moved
            .values()
            .flatten()
            .map(|((topic, partition), committed)| (topic.clone(), *partition, committed.offset));
        let Some(answers) = translate(asked.collect()) else { return Ok(round) };
        let mut answers = answers.into_iter();
        let mut translated: BTreeMap<String, Vec<Translated>> = BTreeMap::new();
        for (group, news) in moved {
            // What is unknown is of a topic that is not mirrored.
            let known = news
                .into_iter()
                .zip(answers.by_ref())
                .filter(|(_, answer)| *answer != Err(Unmapped::Unknown));
            let known: Vec<_> =
                known.map(|((place, committed), answer)| (place, committed, answer)).collect();
            if !known.is_empty() {
                translated.insert(group, known);
            }
        }
        let names: Vec<String> = translated.keys().cloned().collect();
        let there = self.target.fetch(&names)?;
        for (group, news) in translated {
            let mut wanted = Positions::new();
            let mut settled = Positions::new();
            let before = round.skipped.len();
            for (place, committed, translated) in news {
                let on_target = there.get(&group).and_then(|positions| positions.get(&place));
                match decide(&committed, translated, on_target, self.config.groups_rewind) {
                    Ok(None) => drop(settled.insert(place, committed)),
                    Ok(Some(to_commit)) => {
                        wanted.insert(place.clone(), to_commit);
                        settled.insert(place, committed);
                    }
                    Err(reason) => round.skipped.push((group.clone(), place.0, place.1, reason)),
                }
            }
            if !wanted.is_empty() {
                let refused = self.target.commit(&group, &wanted)?;
                round.synced += wanted.len() - refused.len();
                for (place, code) in refused {
                    settled.remove(&place);
                    let reason = if is_active(code) { Reason::Active } else { Reason::Refused(code) };
                    round.skipped.push((group.clone(), place.0, place.1, reason));
                }
            }
            self.done.entry(group.clone()).or_default().extend(settled);
            if round.skipped[before..].iter().all(|(.., reason)| reason.is_passing()) {
                self.again_us.remove(&group);
            } else {
                self.again_us.insert(group, now.after_ms(AGAIN_MS));
            }
        }
        Ok(round)
    }
}

/// The group has members, who are the only ones to commit: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, or a
/// group of the new protocol's STALE_MEMBER_EPOCH.
fn is_active(code: i16) -> bool {
    matches!(code, 22 | 25 | 27 | 113)
}

/// The thread that mirrors positions, and its questions.
pub struct GroupTask {
    pub questions: Receiver<Question>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GroupTask {
    /// Starts the thread.
    pub fn start(config: &Mirror) -> std::io::Result<Self> {
        let (ask, questions) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (config, is_over) = (Arc::new(config.clone()), Arc::clone(&stop));
        let thread =
            std::thread::Builder::new().name("groups".into()).spawn(move || run(config, &ask, &is_over))?;
        Ok(Self { questions, stop, thread: Some(thread) })
    }
}

impl Drop for GroupTask {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread may wait for an answer.
        let (_, closed) = mpsc::channel();
        self.questions = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(config: Arc<Mirror>, ask: &Sender<Question>, stop: &AtomicBool) {
    let mut translate = |offsets: Asked| {
        let (answer, answered) = mpsc::channel();
        ask.send(Question { offsets, answer }).ok()?;
        answered.recv().ok()
    };
    let interval_ms = config.groups_interval_ms;
    let mut told: BTreeMap<(String, String, i32), Reason> = BTreeMap::new();
    let mut sync = GroupSync::new(config);
    if let Ok(Some(sentence)) = sync.no_match() {
        tracing::warn!("{sentence}; waiting for one");
    }
    while !stop.load(Ordering::Relaxed) {
        let due_us = clock::now().after_ms(interval_ms);
        match sync.round(&mut translate) {
            Ok(round) => tell(&mut told, round),
            Err(error) => tracing::warn!(%error, "cannot mirror consumer groups' offsets, trying again"),
        }
        while !stop.load(Ordering::Relaxed) && clock::now().mono_us < due_us {
            std::thread::sleep(Duration::from_millis(NAP_MS.min(interval_ms)));
        }
    }
}

/// Says once why a position is not mirrored, unless it will be in a moment.
fn tell(told: &mut BTreeMap<(String, String, i32), Reason>, round: Round) {
    for (group, topic, partition, reason) in round.skipped {
        let place = (group, topic, partition);
        if !reason.is_passing() && told.get(&place) != Some(&reason) {
            let (group, topic, partition) = &place;
            tracing::warn!(group, topic, partition, "the group's offset is not mirrored: {reason}");
            told.insert(place, reason);
        }
    }
}
