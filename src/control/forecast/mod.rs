//! What `twinlog mirror` would do and why, decided from what both clusters and the link's memory say, by the same functions that
//! the mirror goes by. Nothing is asked or changed here.

pub mod exactness;
pub mod features;
mod partitions;
pub mod racks;
pub mod rights;
mod show;

pub use show::show;

use super::config_sync;
use super::configs::{self, TopicConfigs};
use super::deleted;
use super::finding::{About, Finding, Weight};
use super::groups::{Reason, State};
use super::ledger::{Failover, Ledger, Peers};
use super::metadata::{Observed, Topic};
use super::offset_map::Unmapped;
use super::offsets;
use super::planner::{self, Action, Plan};
use super::scram::ScramUser;
use super::topics;
use crate::config::Mirror;
use crate::error;
use crate::shard::OffsetMode;
use crate::wire::versions::Versions;
use exactness::{Guarded, Sent, Way};
use racks::Racks;
use rights::Rights;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Empty records that a target takes in a second, to let a partition's offsets begin where the source's do. Measured: 15 million
/// of one partition in 2.2 to 3.0 s, start and end of the mirror included (Kafka 4.3.1, one broker, two shared cores).
pub const SEEDS_PER_SECOND: i64 = 5_000_000;

/// What one cluster says of itself and of this user.
#[derive(Clone, Debug, Default)]
pub struct ClusterFacts {
    pub observed: Observed,
    /// Of the brokers that could be reached.
    pub versions: BTreeMap<i32, Versions>,
    /// Brokers that could not, and why.
    pub unreachable: BTreeMap<i32, String>,
    /// Of topics; on the target also those that topics to be created would have.
    pub configs: BTreeMap<String, TopicConfigs>,
    pub rights: Rights,
    /// Of the source, if that matters.
    pub racks: Racks,
}

/// What the leaders of a partition say; None for what could not be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the source's log begins, where its decided data ends, and its size on the leader's disk.
    pub source_start: Option<i64>,
    pub source_end: Option<i64>,
    pub source_bytes: Option<u64>,
    /// Where the source is read from when the partition was never mirrored (`--from`).
    pub begin: Option<i64>,
    pub guarded: Option<Guarded>,
    pub target_end: Option<i64>,
}

/// A consumer group's position on the source, and what would become of it.
#[derive(Clone, Debug)]
pub struct Position {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    pub state: State,
}

/// All that a forecast is made from.
pub struct Facts<'a> {
    pub source: ClusterFacts,
    pub target: ClusterFacts,
    pub places: BTreeMap<(String, i32), Place>,
    pub ledger: &'a Ledger,
    pub peers: &'a Peers,
    /// Why gaps cannot be filled on the target, if so.
    pub cannot_fill: Option<String>,
    /// The target's `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: Option<i64>,
    /// Topics that the target would refuse to create or to grow, with its words, for other reasons than rights.
    pub refused: BTreeMap<String, String>,
    pub positions: Vec<Position>,
    /// What could not be asked.
    pub trouble: Vec<Finding>,
}

/// What a mirror would do.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    pub link: String,
    pub source: Cluster,
    pub target: Cluster,
    pub producer_id_expiration_ms: Option<i64>,
    /// Those that would be mirrored, by name.
    pub topics: Vec<TopicForecast>,
    pub groups: Vec<GroupForecast>,
    /// Users whose passwords are to be set on the target. None: nobody asked, or a cluster does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scram_users: Option<Vec<ScramUser>>,
    /// Everything worth knowing; those about topics include the topics that are left out.
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    pub id: String,
    pub brokers: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopicForecast {
    pub topic: String,
    /// What it is called there.
    pub name_on_target: String,
    pub on_target: OnTarget,
    pub offsets: OffsetMode,
    /// Why, where it was for Twinlog to choose.
    pub offsets_because: Option<String>,
    /// Offsets between the positions and the ends of the source's partitions, and about how many bytes these are.
    pub left_offsets: i64,
    pub left_bytes: Option<u64>,
    /// Empty records to be written first, and how long that takes about.
    pub seeds: i64,
    pub seeds_seconds: f64,
    /// Of the offsets that are left: records too old for the target to remember the mirror by. None: all, as it does not tell.
    pub unguarded_offsets: Option<i64>,
    /// How those are sent.
    pub unguarded_way: Option<String>,
    pub partitions: Vec<PartitionForecast>,
}

/// What becomes of the topic on the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum OnTarget {
    Exists { partitions: i32 },
    Grows { from: i32, to: i32 },
    Created { partitions: i32, replication_factor: i16, configs: BTreeMap<String, String> },
}

#[derive(Clone, Debug, Serialize)]
pub struct PartitionForecast {
    pub partition: i32,
    pub offsets: OffsetMode,
    /// The link has mirrored some of it, so its way of offsets is fixed.
    pub is_begun: bool,
    /// The first source offset that is not on the target, and where the source's decided data ends; None: not told.
    pub from_offset: Option<i64>,
    pub source_end: Option<i64>,
    pub seeds: i64,
    pub unguarded_offsets: Option<i64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct GroupForecast {
    pub group: String,
    /// Positions that are on the target already or would go there, some when the records before them have.
    pub positions: usize,
    pub skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub topic: String,
    pub partition: i32,
    pub why: String,
}

impl Forecast {
    pub fn count(&self, weight: Weight) -> usize {
        self.findings.iter().filter(|finding| finding.weight == weight).count()
    }

    /// Whether everything that was asked for would be mirrored, for all that is known.
    pub fn is_clean(&self) -> bool {
        self.count(Weight::Stops) == 0
    }
}

/// Why a partition is not mirrored that was failed over: since then it belongs to the target's clients.
pub fn handed_over(partition: i32, failover: &Failover) -> String {
    format!(
        "it was failed over to the target (partition {partition} at source offset {}), where clients write since; bring it back \
         with twinlog failback",
        failover.source_offset
    )
}

/// What follows from the facts.
pub fn forecast(config: &Mirror, facts: &Facts<'_>) -> Forecast {
    let is_ours = |topic: &str| facts.ledger.knows(topic);
    let (source, target) = (&facts.source, &facts.target);
    let plan = planner::plan(config, &source.observed, &target.observed, &source.configs, &is_ours);
    let mut work = Work { config, facts, topics: Vec::new(), findings: Vec::new() };
    work.selection(&plan);
    for topic in topics::select(config, &source.observed) {
        if plan.problems.iter().all(|problem| problem.topic != *topic.name) {
            work.topic(topic, &plan);
        }
    }
    let sent = work.topics.iter().map(|(topic, unguarded)| Sent {
        topic: &topic.topic,
        way: Way::of(config, topic.offsets),
        unguarded: *unguarded,
    });
    let sent: Vec<Sent<'_>> = sent.collect();
    let about_exactness = exactness::findings(config, &sent, facts.producer_id_expiration_ms);
    let transacts = sent.iter().any(|sent| sent.way == Way::InTransactions);
    let topics: Vec<TopicForecast> = work.topics.into_iter().map(|(topic, _)| topic).collect();
    let groups = groups(&topics, &facts.positions);
    let mut findings = work.findings;
    findings.extend(features::missing(config, &source.versions, &target.versions));
    let orphans = deleted::orphans(config, facts.ledger, &source.observed, &target.observed);
    findings.extend(deleted::planned(config, &orphans));
    findings.extend(racks::findings(config, &source.racks));
    findings.extend(rights::missing(config, &source.rights, &target.rights, transacts));
    findings.extend(about_exactness);
    findings.extend(facts.trouble.iter().cloned());
    let cluster =
        |observed: &Observed| Cluster { id: observed.cluster_id.clone(), brokers: observed.brokers.len() };
    Forecast {
        link: config.link.clone(),
        source: cluster(&source.observed),
        target: cluster(&target.observed),
        producer_id_expiration_ms: facts.producer_id_expiration_ms,
        topics,
        groups,
        scram_users: None,
        findings,
    }
}

struct Work<'a> {
    config: &'a Mirror,
    facts: &'a Facts<'a>,
    topics: Vec<(TopicForecast, exactness::Unguarded)>,
    findings: Vec<Finding>,
}

impl Work<'_> {
    /// Which topics are mirrored and which are not.
    fn selection(&mut self, plan: &Plan) {
        let source = &self.facts.source.observed;
        if topics::select(self.config, source).is_empty() {
            let text = format!("{}; the mirror would wait for one", topics::no_match(self.config, source));
            self.findings.push(Finding::new(Weight::Stops, About::Link, text));
        }
        for (topic, why) in topics::left_out(self.config, source) {
            self.findings.push(Finding::of_topic(Weight::Note, topic, format!("not mirrored: {why}")));
        }
        for problem in &plan.problems {
            self.left_out(&problem.topic, &problem.message);
        }
        for warning in &plan.warnings {
            self.findings.push(Finding::new(Weight::Warning, About::Link, warning.clone()));
        }
        for (side, cluster) in [(About::Source, &self.facts.source), (About::Target, &self.facts.target)] {
            for (broker, cause) in &cluster.unreachable {
                let text = format!("broker {broker} cannot be asked: {cause}");
                self.findings.push(Finding::new(Weight::Warning, side.clone(), text));
            }
        }
    }

    fn left_out(&mut self, topic: &str, why: &str) {
        self.findings.push(Finding::of_topic(Weight::Stops, topic, format!("left out: {why}")));
    }

    fn topic(&mut self, topic: &Topic, plan: &Plan) {
        let name = &*topic.name;
        if topic.error != 0 || topic.partitions.is_empty() {
            let text = "not mirrored yet: it is being created or deleted on the source";
            self.findings.push(Finding::of_topic(Weight::Note, name, text));
            return;
        }
        let Some(on_target) = self.on_target(name, plan) else { return };
        let Some((choice, mode)) = self.offsets(topic) else { return };
        if let (Some(source), Some(target)) =
            (self.facts.source.configs.get(name), self.facts.target.configs.get(name))
        {
            self.findings.extend(configs::unfit(name, source, target, self.config.oversize));
            let twin = self.facts.target.observed.topics.get(name).filter(|_| self.config.sync_topic_configs);
            let planned =
                twin.and_then(|twin| config_sync::planned(name, source, target, twin.replication_factor()));
            self.findings.extend(planned);
        }
        if let Some(transform) = self.config.transform(name) {
            let text =
                format!("the records of topic {name} are changed on their way: {}", transform.describe());
            self.findings.push(Finding::of_topic(Weight::Note, name, text));
        }
        let (partitions, stopped) = partitions::forecast(self.config, self.facts, topic, &choice);
        self.findings.extend(stopped);
        if partitions.is_empty() {
            return;
        }
        let sum = |of: &dyn Fn(&partitions::Outlook) -> i64| partitions.iter().map(of).sum::<i64>();
        let (left_offsets, seeds) = (sum(&|each| each.left), sum(&|each| each.forecast.seeds));
        let unguarded = partitions.iter().map(|each| each.unguarded).collect::<Option<Vec<_>>>();
        let unguarded = unguarded.map(|all| all.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1)));
        let forecast = TopicForecast {
            topic: name.to_owned(),
            name_on_target: self.config.target.names.on_cluster(name).into_owned(),
            on_target,
            offsets: mode,
            offsets_because: choice.why.filter(|_| !self.facts.ledger.knows(name)),
            left_offsets,
            left_bytes: partitions.iter().map(|each| each.left_bytes).sum(),
            seeds,
            seeds_seconds: seeds as f64 / SEEDS_PER_SECOND as f64,
            unguarded_offsets: unguarded.map(|(now, _)| now),
            unguarded_way: unguarded
                .is_none_or(|(now, _)| now > 0)
                .then(|| Way::of(self.config, mode).words(self.config)),
            partitions: partitions.into_iter().map(|each| each.forecast).collect(),
        };
        self.topics.push((forecast, unguarded));
    }

    /// None: the topic is left out, which has been said, or its time has not come.
    fn on_target(&mut self, name: &str, plan: &Plan) -> Option<OnTarget> {
        let target = &self.facts.target;
        let count = |topic: &Topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let exists = target.observed.topics.get(name).filter(|twin| twin.error == 0).map(count);
        let action = plan.actions.iter().find_map(|action| match action {
            Action::CreateTopic { name: of, partitions, replication_factor, configs, notes }
                if of == name =>
            {
                let (partitions, replication_factor) = (*partitions, *replication_factor);
                Some((
                    OnTarget::Created { partitions, replication_factor, configs: configs.clone() },
                    &notes[..],
                ))
            }
            Action::AddPartitions { name: of, count } if of == name => {
                Some((OnTarget::Grows { from: exists.unwrap_or(0), to: *count }, &[][..]))
            }
            _ => None,
        });
        let refused = self.facts.refused.get(name);
        match (action, exists) {
            (Some((OnTarget::Created { .. }, _)), _) if target.rights.uncreatable.contains(name) => None,
            (Some((OnTarget::Created { .. }, _)), _) if refused.is_some() => {
                self.left_out(name, refused.map_or("", String::as_str));
                None
            }
            (Some((OnTarget::Grows { from, .. }, _)), _)
                if refused.is_some() || target.rights.ungrowable.contains(name) =>
            {
                if let Some(why) = refused {
                    let text = format!("its new partitions are left out: {why}");
                    self.findings.push(Finding::of_topic(Weight::Stops, name, text));
                }
                Some(OnTarget::Exists { partitions: from })
            }
            (Some((on_target, notes)), _) => {
                let notes = notes.iter().map(|note| Finding::of_topic(Weight::Note, name, note.clone()));
                self.findings.extend(notes);
                Some(on_target)
            }
            (None, Some(partitions)) => Some(OnTarget::Exists { partitions }),
            (None, None) => {
                let code = target.observed.topics.get(name).map_or(0, |twin| twin.error);
                let text = format!("not mirrored yet: the target answers {}", error::name(code));
                self.findings.push(Finding::of_topic(Weight::Warning, name, text));
                None
            }
        }
    }

    /// How the topic's offsets are to be, and those of its partitions that are begun already. None: it is left out, which has
    /// been said.
    fn offsets(&mut self, topic: &Topic) -> Option<(offsets::Choice, OffsetMode)> {
        let name = &*topic.name;
        let Facts { places, ledger, peers, cannot_fill, .. } = self.facts;
        let range = (name.to_owned(), i32::MIN)..=(name.to_owned(), i32::MAX);
        let start = places.range(range).filter_map(|(_, place)| place.begin).max().unwrap_or(0);
        let choice = offsets::choose(self.config, name, cannot_fill.as_deref(), start);
        let mut partitions = 0..i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let known = partitions.find_map(|partition| ledger.mode(name, partition));
        let mode = choice.stands(known);
        let ids = (&self.facts.source.observed.cluster_id, &self.facts.target.observed.cluster_id);
        if let Err(problem) = peers.upstream(&self.config.source.names.on_cluster(name), mode, ids.0, ids.1) {
            self.left_out(name, &problem);
            return None;
        }
        Some((choice, mode))
    }
}

/// What becomes of the groups' positions, given the partitions that would be mirrored.
fn groups<'a>(topics: &'a [TopicForecast], positions: &[Position]) -> Vec<GroupForecast> {
    let partitions = |topic: &'a TopicForecast| {
        topic.partitions.iter().map(|partition| (topic.topic.as_str(), partition.partition))
    };
    let mirrored: BTreeSet<(&str, i32)> = topics.iter().flat_map(partitions).collect();
    let mut groups: BTreeMap<&str, GroupForecast> = BTreeMap::new();
    for Position { group, topic, partition, state } in positions {
        let forecast = groups.entry(group).or_insert_with(|| GroupForecast {
            group: group.clone(),
            positions: 0,
            skipped: Vec::new(),
        });
        let why = match state {
            _ if !mirrored.contains(&(topic.as_str(), *partition)) => "it is not mirrored".to_owned(),
            // Unknown: nothing of the partition is mirrored yet.
            State::Same
            | State::ToBeMirrored
            | State::Not(Reason::Unmapped(Unmapped::Unknown | Unmapped::NotMirrored { .. })) => {
                forecast.positions += 1;
                continue;
            }
            State::Not(reason) => reason.to_string(),
        };
        forecast.skipped.push(Skipped { topic: topic.clone(), partition: *partition, why });
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests;
