//! Asks both clusters what `twinlog mirror` would meet, and changes nothing there. What follows from the answers is
//! [`forecast`]'s to say.

mod ask;

use super::admin::{Admin, AdminError};
use super::groups::{Answers, Asked, GroupSync};
use super::mirror::{self, MirrorError};
use super::{acls, clock, ledger_io, quotas, scram};
use crate::config::{Isolation, Mirror, SyncAcls};
use crate::control::acls::{changes, planned, wanted};
use crate::control::configs::TopicConfigs;
use crate::control::finding::{About, Finding, Weight};
use crate::control::forecast::exactness::{self, Guarded, Sent, Since, Way};
use crate::control::forecast::racks::{self, Racks};
use crate::control::forecast::rights::{self, Operations};
use crate::control::forecast::{ClusterFacts, Facts, Forecast, Place, Position, features, forecast};
use crate::control::ledger::{self, Effect, Ledger, Peers, state_topic};
use crate::control::planner::{self, Action};
use crate::control::quotas as limits;
use crate::control::scram::{self as passwords, ScramUser};
use crate::control::topics;
use crate::error;
use crate::shard::{OffsetMode, Side};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// CreateTopics and CreatePartitions answer with these when a right is missing.
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// What a mirror with this configuration would do if it were started now; and, if asked, whose passwords the target lacks.
///
/// # Errors
/// A cluster cannot be reached, or the mirror would end at once for what it was told, with the same words.
pub fn run(config: &Mirror, scram_users: bool) -> Result<Forecast, MirrorError> {
    let mut look = Look::at(config)?;
    let ledger = look.ledger()?;
    let peers = look.peers();
    let expiration_ms = look.expiration_ms();
    let cannot_fill = look.target.cannot_fill();
    let cannot_fill = look.note(About::Target, cannot_fill).flatten();
    let mut source = look.cluster(Side::Source);
    let mut target = look.cluster(Side::Target);
    (source.configs, target.configs) = (look.configs(Side::Source), look.configs(Side::Target));
    let is_ours = |topic: &str| ledger.knows(topic);
    let plan = planner::plan(config, &source.observed, &target.observed, &source.configs, &is_ours);
    let refused = look.would_act(&plan.actions, &mut target);
    // The target first: what it has cannot be beyond the source's end.
    let places = look.places(&source, &target, expiration_ms);
    let positions = look.positions(&ledger, &mut source, &mut target);
    let mut synced: Vec<Finding> = look.acls().into_iter().collect();
    synced.extend(look.quotas().unwrap_or_default());
    let scram_users = if scram_users { look.scram_users() } else { None };
    let facts = Facts {
        source,
        target,
        places,
        ledger: &ledger,
        peers: &peers,
        cannot_fill,
        producer_id_expiration_ms: expiration_ms,
        refused,
        positions,
        trouble: look.trouble,
    };
    let mut forecast = forecast(config, &facts);
    forecast.findings.extend(synced);
    forecast.scram_users = scram_users;
    Ok(forecast)
}

pub(super) struct Look<'a> {
    config: &'a Mirror,
    pub(super) source: Admin,
    pub(super) target: Admin,
    /// What could not be asked.
    trouble: Vec<Finding>,
}

impl<'a> Look<'a> {
    pub(super) fn at(config: &'a Mirror) -> Result<Self, MirrorError> {
        let mut look = Self::begin(config);
        let on = |side| move |error| MirrorError::Cluster { side, error };
        let source_id = look.source.observe().map_err(on(Side::Source))?.cluster_id.clone();
        let target_id = look.target.observe().map_err(on(Side::Target))?.cluster_id.clone();
        if source_id == target_id && !source_id.is_empty() {
            return Err(MirrorError::SameCluster { cluster_id: source_id });
        }
        if let Some(kafka) = look.target.too_old().map_err(on(Side::Target))? {
            return Err(MirrorError::TargetTooOld { kafka });
        }
        mirror::check_division(config, &look.target)?;
        if topics::select(config, look.source.observed()).is_empty() && config.until_caught_up {
            return Err(MirrorError::NoTopics(topics::no_match(config, look.source.observed())));
        }
        Ok(look)
    }

    fn begin(config: &'a Mirror) -> Self {
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let admin = |cluster| Admin::new(cluster, &config.client_id, timeout);
        Self { config, source: admin(&config.source), target: admin(&config.target), trouble: Vec::new() }
    }

    /// What can be told without an answer is told all the same.
    fn note<T>(&mut self, about: About, answer: Result<T, AdminError>) -> Option<T> {
        answer
            .map_err(|error| self.trouble.push(Finding::new(Weight::Warning, about, error.to_string())))
            .ok()
    }

    /// The link's memory; of a link that never wrote, an empty one.
    pub(super) fn ledger(&mut self) -> Result<Ledger, MirrorError> {
        let config = self.config;
        let settings = ledger::Settings {
            source_cluster: self.source.observed().cluster_id.clone(),
            target_cluster: self.target.observed().cluster_id.clone(),
            names: config.target.names.clone(),
            parts: None,
            instance: String::new(),
            zombie_bound_ms: config.zombie_bound_ms,
            producer_id_expiration_ms: None,
            shards: 0,
        };
        let read = match ledger_io::read_ledger(&mut self.target, &config.link, settings.clone()) {
            // What it takes is said where rights are.
            Err(AdminError::Refused { code: TOPIC_AUTHORIZATION_FAILED, .. }) => None,
            read => read.map_err(|error| MirrorError::Cluster { side: Side::Target, error })?,
        };
        let mut ledger = read.unwrap_or_else(|| Ledger::new(settings));
        while let Some(effect) = ledger.poll_effect() {
            if let Effect::Ended(end) = effect
                && let Some(error) = MirrorError::of_ledger(&config.link, end)
            {
                return Err(error);
            }
        }
        Ok(ledger)
    }

    fn peers(&mut self) -> Peers {
        let mut peers = Peers::default();
        let read = ledger_io::read_peers(&mut self.source, &mut peers);
        self.note(About::Source, read);
        peers
    }

    fn expiration_ms(&mut self) -> Option<i64> {
        let answer = self.target.producer_id_expiration_ms();
        self.note(About::Target, answer).flatten()
    }

    fn admin(&mut self, side: Side) -> &mut Admin {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    /// Those of the topics to be mirrored that a cluster has.
    pub(super) fn topics(&mut self, side: Side) -> Vec<String> {
        let selected = topics::select(self.config, self.source.observed());
        let selected: Vec<String> = selected.iter().map(|topic| topic.name.to_string()).collect();
        let there = &self.admin(side).observed().topics;
        selected.into_iter().filter(|name| there.get(name).is_some_and(|topic| topic.error == 0)).collect()
    }

    fn configs(&mut self, side: Side) -> BTreeMap<String, TopicConfigs> {
        let topics = self.topics(side);
        let configs = self.admin(side).topic_configs(topics.iter().map(String::as_str));
        self.note(about(side), configs).unwrap_or_default()
    }

    /// What a cluster says of itself and of this user, but for the topics' settings.
    fn cluster(&mut self, side: Side) -> ClusterFacts {
        let mut asked = self.topics(side);
        let own_state = state_topic(&self.config.link);
        let admin = self.admin(side);
        let observed = admin.observed().clone();
        // The source's state topics are those of other links.
        let states = observed.topics.keys().filter(|name| match side {
            Side::Source => name.starts_with(ledger::STATE_TOPIC_PREFIX),
            Side::Target => **name == own_state,
        });
        asked.extend(states.cloned());
        let (versions, unreachable) = ask::versions(admin);
        let topics = ask::topic_operations(admin, &asked);
        let cluster = admin.cluster_operations();
        let (denied, no_link_group) = match side {
            Side::Source => (Ok(BTreeSet::new()), Ok(false)),
            Side::Target => {
                let link = &self.config.link;
                let lock = ledger::transactional_id(link);
                let ids = vec![lock.clone(), ledger::shard_transactional_id(link, 0)];
                let denied = ask::denied_transactional_ids(&mut self.target, ids);
                (denied, ask::is_group_denied(&mut self.target, &lock))
            }
        };
        let rights = rights::Rights {
            cluster: self.note(about(side), cluster).unwrap_or(Operations::UNKNOWN),
            topics: self.note(about(side), topics).unwrap_or_default(),
            no_transactional_ids: self.note(about(side), denied).unwrap_or_default(),
            no_link_group: self.note(about(side), no_link_group).unwrap_or_default(),
            ..rights::Rights::default()
        };
        let racks = self.racks(side);
        ClusterFacts { observed, versions, unreachable, configs: BTreeMap::new(), rights, racks }
    }

    /// Where the source's brokers are, and whether they send readers to each other, for a mirror that cares.
    fn racks(&mut self, side: Side) -> Racks {
        if side == Side::Target || self.config.rack.is_none() {
            return Racks::default();
        }
        let selector = self.source.replica_selector();
        let selector = self.note(About::Source, selector).flatten();
        Racks { racks: self.source.observed().racks.clone(), selector }
    }

    /// Asks the target whether it would do what the plan says. What it refuses for want of a right is noted with the rights, the
    /// rest is returned.
    fn would_act(&mut self, actions: &[Action], target: &mut ClusterFacts) -> BTreeMap<String, String> {
        let mut refused = BTreeMap::new();
        for action in actions {
            let (name, answer) = match action {
                Action::CreateTopic { name, partitions, replication_factor, configs, .. } => {
                    let answer =
                        self.target.would_create_topic(name, *partitions, *replication_factor, configs);
                    (name, answer)
                }
                Action::AddPartitions { name, count } => {
                    (name, self.target.add_partitions(name, *count, true).map(|()| None))
                }
            };
            match answer {
                Ok(Some(configs)) => drop(target.configs.insert(name.clone(), configs)),
                Ok(None) => {}
                Err(AdminError::Refused {
                    code: TOPIC_AUTHORIZATION_FAILED | CLUSTER_AUTHORIZATION_FAILED,
                    ..
                }) => {
                    let lacking = match action {
                        Action::CreateTopic { .. } => &mut target.rights.uncreatable,
                        Action::AddPartitions { .. } => &mut target.rights.ungrowable,
                    };
                    lacking.insert(name.clone());
                }
                Err(AdminError::Refused { code: TOPIC_ALREADY_EXISTS, .. }) => {
                    refused.insert(name.clone(), super::control_task::INVISIBLE.to_owned());
                }
                Err(AdminError::Refused { what, code }) if !error::is_retriable(code) => {
                    let why = format!("{what}: {}: {}", error::name(code), error::advice(code));
                    refused.insert(name.clone(), why);
                }
                Err(error) => {
                    self.note(About::Topic(name.clone()), Err::<(), _>(error));
                }
            }
        }
        refused
    }

    /// What the leaders say of the partitions that may be mirrored. Brokers that cannot be reached are not asked again.
    fn places(
        &mut self,
        source: &ClusterFacts,
        target: &ClusterFacts,
        expiration_ms: Option<i64>,
    ) -> BTreeMap<(String, i32), Place> {
        let reachable = |cluster: &ClusterFacts, wanted: &[(String, i32)]| -> Vec<(String, i32)> {
            let leads = |(topic, partition): &&(String, i32)| {
                let leader = cluster.observed.leader(topic, *partition).leader;
                leader >= 0 && !cluster.unreachable.contains_key(&leader)
            };
            wanted.iter().filter(leads).cloned().collect()
        };
        let selected = topics::select(self.config, &source.observed);
        let wanted: Vec<(String, i32)> = selected
            .iter()
            .flat_map(|topic| {
                (0..).zip(&topic.partitions).map(|(number, _)| (topic.name.to_string(), number))
            })
            .collect();
        let on_target = reachable(target, &wanted);
        let wanted = reachable(source, &wanted);
        let config = self.config;
        let target_ends = self.target.end_offsets_of(&on_target, Isolation::ReadUncommitted);
        let starts = self.source.start_offsets(&wanted);
        let begins = self.source.begin_offsets(&wanted, config.from);
        let guarded = expiration_ms.map(|expiration_ms| guarded(&mut self.source, &wanted, expiration_ms));
        let guarded = guarded.unwrap_or_default();
        let ends = self.source.end_offsets_of(&wanted, config.isolation);
        let bytes = ask::log_bytes(&mut self.source, &wanted);
        let all: BTreeSet<(String, i32)> = on_target.into_iter().chain(wanted).collect();
        let place = |key: (String, i32)| {
            let place = Place {
                source_start: starts.get(&key).copied(),
                source_end: ends.get(&key).copied(),
                source_bytes: bytes.get(&key).copied(),
                begin: begins.get(&key).copied(),
                guarded: guarded.get(&key).copied(),
                target_end: target_ends.get(&key).copied(),
            };
            (key, place)
        };
        all.into_iter().map(place).collect()
    }

    /// What would change of the target's access rules; or why that cannot be said.
    fn acls(&mut self) -> Option<Finding> {
        let config = self.config;
        if config.sync_acls == SyncAcls::None {
            return None;
        }
        let source = acls::list(&mut self.source);
        let source = self.note(About::Source, source)??;
        let target = acls::list(&mut self.target);
        let target = self.note(About::Target, target)??;
        let topics = topics::select(config, self.source.observed());
        let wanted = wanted(config, &source, &topics.iter().map(|topic| topic.name.to_string()).collect());
        planned(&changes(None, &wanted, &target))
    }

    /// What would change of the target's quotas, and what of that it would refuse; or None, and why that cannot be said.
    fn quotas(&mut self) -> Option<Vec<Finding>> {
        let config = self.config;
        if !config.sync_quotas {
            return None;
        }
        let source = quotas::list(&mut self.source);
        let source = self.note(About::Source, source)?;
        let target = quotas::list(&mut self.target);
        let target = self.note(About::Target, target)?;
        let changes = limits::changes(None, &limits::wanted(config, &source), &target);
        let refused = quotas::alter(&mut self.target, &changes, true);
        let refused = self.note(About::Target, refused)?;
        let mut findings: Vec<Finding> = limits::planned(&changes, &target).into_iter().collect();
        let warn = |sentence| Finding::new(Weight::Warning, About::Target, sentence);
        findings.extend(limits::refusals(&refused).into_iter().map(warn));
        Some(findings)
    }

    /// Whose passwords are to be set on the target; or None, and why that cannot be said.
    fn scram_users(&mut self) -> Option<Vec<ScramUser>> {
        let source = scram::list(&mut self.source);
        let source = self.note(About::Source, source)?;
        let target = scram::list(&mut self.target);
        let target = self.note(About::Target, target)?;
        Some(passwords::missing(self.config, &source, &target))
    }

    /// The groups' positions, and what this user may do with the groups.
    fn positions(
        &mut self,
        ledger: &Ledger,
        source: &mut ClusterFacts,
        target: &mut ClusterFacts,
    ) -> Vec<Position> {
        if self.config.groups.is_empty() {
            return Vec::new();
        }
        let mut sync = GroupSync::new(Arc::new(self.config.clone()));
        let mut translate = |asked: Asked| -> Option<Answers> {
            let one = |(topic, partition, offset): &(String, i32, i64)| {
                ledger.target_of(topic, *partition, *offset)
            };
            Some(asked.iter().map(one).collect())
        };
        let statuses = sync.status(&mut translate);
        let statuses = self.note(About::Link, statuses).unwrap_or_default();
        let operations = sync.operations();
        if let Some((here, there)) = self.note(About::Link, operations) {
            source.rights.groups = here;
            target.rights.groups = there;
        }
        let position = |status: super::groups::Status| Position {
            group: status.group,
            topic: status.topic,
            partition: status.partition,
            state: status.state,
        };
        statuses.into_iter().map(position).collect()
    }
}

fn about(side: Side) -> About {
    match side {
        Side::Source => About::Source,
        Side::Target => About::Target,
    }
}

/// Where the records begin that are young enough to be guarded. Partitions that do not answer are left out.
fn guarded(
    source: &mut Admin,
    partitions: &[(String, i32)],
    expiration_ms: i64,
) -> BTreeMap<(String, i32), Guarded> {
    let times_ms = exactness::times_ms(clock::now().wall_ms, expiration_ms);
    let [now, at_best, first] = times_ms.map(|time_ms| source.offsets_since(partitions, time_ms));
    let since = |offset: i64| if offset < 0 { Since::Never } else { Since::Offset(offset) };
    let all = |(place, offset): ((String, i32), i64)| {
        let (at_best, first) = (since(*at_best.get(&place)?), since(*first.get(&place)?));
        Some((place, Guarded { now: since(offset), at_best, first }))
    };
    now.into_iter().filter_map(all).collect()
}

/// A partition of a mirror that begins.
pub struct Begun {
    pub topic: String,
    pub partition: i32,
    pub mode: OffsetMode,
    /// The first source offset that is not on the target, if some of it was mirrored before.
    pub position: Option<i64>,
}

/// Says in the log what `twinlog plan` says of rights, of what brokers lack, and of records too old to be guarded. On a thread of
/// its own: the mirror does not wait for the answers.
pub fn say(config: &Mirror, expiration_ms: Option<i64>, partitions: Vec<Begun>) {
    let config = config.clone();
    let thread = std::thread::Builder::new().name("plan".into());
    let begun = thread.spawn(move || match findings(&config, expiration_ms, &partitions) {
        Ok(findings) => findings.iter().for_each(log),
        Err(error) => tracing::debug!(%error, "cannot look for what may stand in the way"),
    });
    if let Err(error) = begun {
        tracing::debug!(%error, "cannot look for what may stand in the way");
    }
}

fn findings(
    config: &Mirror,
    expiration_ms: Option<i64>,
    partitions: &[Begun],
) -> Result<Vec<Finding>, MirrorError> {
    let mut look = Look::at(config)?;
    let (source, target) = (look.cluster(Side::Source), look.cluster(Side::Target));
    let mut found = features::missing(config, &source.versions, &target.versions);
    // The rest is for those who plan.
    found.retain(|finding| finding.weight > Weight::Note);
    let transacts = partitions.iter().any(|begun| Way::of(config, begun.mode) == Way::InTransactions);
    found.extend(racks::findings(config, &source.racks));
    found.extend(rights::missing(config, &source.rights, &target.rights, transacts));
    for (topic, why) in topics::left_out(config, &source.observed) {
        found.push(Finding::of_topic(Weight::Note, topic, format!("not mirrored: {why}")));
    }
    if let Some(expiration_ms) = expiration_ms {
        found.extend(unguarded(config, &mut look.source, expiration_ms, partitions));
    }
    Ok(found)
}

fn unguarded(config: &Mirror, source: &mut Admin, expiration_ms: i64, partitions: &[Begun]) -> Vec<Finding> {
    let places: Vec<(String, i32)> =
        partitions.iter().map(|begun| (begun.topic.clone(), begun.partition)).collect();
    let begins = source.begin_offsets(&places, config.from);
    let guarded = guarded(source, &places, expiration_ms);
    let ends = source.end_offsets(&places);
    let mut topics: BTreeMap<(&str, Way), (i64, i64)> = BTreeMap::new();
    for (begun, place) in partitions.iter().zip(&places) {
        let from = begun.position.or_else(|| begins.get(place).copied());
        if let (Some(from), Some(guarded), Some(&end)) = (from, guarded.get(place), ends.get(place)) {
            let sum = topics.entry((&begun.topic, Way::of(config, begun.mode))).or_default();
            let (now, at_best) = guarded.unguarded(from, end);
            sum.0 += now;
            sum.1 += at_best;
        }
    }
    let sent = topics.into_iter().map(|((topic, way), sum)| Sent { topic, way, unguarded: Some(sum) });
    exactness::findings(config, &sent.collect::<Vec<_>>(), Some(expiration_ms))
}

/// A finding as a line of the log.
pub fn log(finding: &Finding) {
    let Finding { weight, about, text, command } = finding;
    let command = command.as_deref().map(|command| format!("; {command}")).unwrap_or_default();
    match weight {
        Weight::Note => tracing::info!("{about}: {text}{command}"),
        Weight::Warning => tracing::warn!("{about}: {text}{command}"),
        Weight::Stops => tracing::error!("{about}: {text}{command}"),
    }
}
