//! Looks at both clusters, and does what follows from it: topics that are created or grown, lanes that are taken up.

use super::{RETRY_MS, Session, patiently_of_both};
use crate::config::Share;
use crate::control::configs::unfit;
use crate::control::planner::{self, Action, LanePlan};
use crate::control::topics;
use crate::edge::admin::AdminError;
use crate::edge::mirror::MirrorError;
use crate::edge::{clock, plan};
use crate::shard::{Command, Side};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A topic that was created and is still not listed after this time is one that this user may not see.
const INVISIBLE_MS: u64 = 15_000;
pub(in crate::edge) const INVISIBLE: &str =
    "it exists on the target but this user may not see it: grant DESCRIBE on it (READ and WRITE imply it)";
/// Where metadata take long to read, that is done for one part in so many of the time.
const OBSERVE_PART: u64 = 20;

impl Session<'_> {
    /// The first look decides whether there is anything to do at all. A broker may just be restarting.
    pub(super) fn observe_first(&mut self, stop: &AtomicBool) -> Result<(), MirrorError> {
        self.observe_at_us = clock::now().after_ms(self.config.metadata_refresh_ms);
        patiently_of_both(stop, || {
            self.keep_ledger();
            self.try_observe(true)
        })?;
        if self.lanes.is_empty() && self.expected == 0 && !self.summary.problems.is_empty() {
            let problems: Vec<String> =
                self.summary.problems.iter().map(|(topic, problem)| format!("{topic}: {problem}")).collect();
            return Err(MirrorError::NothingLeft(problems.join("; ")));
        }
        Ok(())
    }

    /// Reads both clusters' metadata, does what the plan says, and passes changes on to the shards. Trouble with a cluster
    /// that was reached before is waited for.
    pub(super) fn observe(&mut self) -> Result<(), MirrorError> {
        let began = clock::now();
        let due_us = began.after_ms(self.config.metadata_refresh_ms);
        self.observe_at_us = due_us;
        let observed = self.try_observe(false);
        let now = clock::now();
        let Err((side, error)) = observed else {
            if self.observe_at_us == due_us {
                let took_us = now.mono_us - began.mono_us;
                self.observe_at_us = due_us.max(now.mono_us + took_us * OBSERVE_PART);
            }
            return Ok(());
        };
        if !error.is_passing() {
            return Err(MirrorError::Cluster { side, error });
        }
        tracing::warn!(%error, ?side, "cannot look at the cluster, trying again");
        self.note("cluster", format!("{side:?} cannot be looked at: {error}"));
        self.observe_at_us = now.after_ms(RETRY_MS * 5);
        Ok(())
    }

    fn try_observe(&mut self, is_first: bool) -> Result<(), (Side, AdminError)> {
        let from_source = |error| (Side::Source, error);
        let from_target = |error| (Side::Target, error);
        self.source.observe().map_err(from_source)?;
        self.target.observe().map_err(from_target)?;
        let selected: Vec<String> = topics::select(self.config, self.source.observed())
            .iter()
            .map(|topic| topic.name.to_string())
            .collect();
        let unknown: Vec<&str> = selected
            .iter()
            .map(String::as_str)
            .filter(|topic| !self.source_configs.contains_key(*topic))
            .collect();
        if !unknown.is_empty() {
            self.source_configs.extend(self.source.topic_configs(unknown).map_err(from_source)?);
        }
        self.look_upstream().map_err(from_source)?;
        let mut plan = self.plan();
        if !self.config.leads() {
            // The first part sees to topics and tells of their problems. What is to be done, it will have in a moment.
            if !plan.actions.is_empty() {
                self.observe_at_us = clock::now().after_ms(RETRY_MS * 5);
            }
            plan.actions.clear();
            plan.problems.clear();
        }
        let mut acted = false;
        for action in &plan.actions {
            acted |= self.may_act(action) && self.act(action, is_first).map_err(from_target)?;
        }
        let mut plan = if acted {
            // Until every broker knows of the new partitions.
            self.observe_at_us = clock::now().after_ms(RETRY_MS);
            self.target.observe().map_err(from_target)?;
            self.plan()
        } else {
            plan
        };
        // A broker that has just started lists nothing for a while.
        let seen = &self.target.observed().topics;
        self.summary
            .problems
            .retain(|(topic, problem)| problem != INVISIBLE || !seen.contains_key(topic.as_str()));
        for problem in &plan.problems {
            let known = self.summary.problems.iter().any(|(topic, _)| *topic == problem.topic);
            if !known {
                tracing::error!(topic = problem.topic, "{}", problem.message);
                self.summary.problems.push((problem.topic.clone(), problem.message.clone()));
            }
        }
        self.topics = plan.lanes.iter().map(|lane| Arc::clone(&lane.topic)).collect();
        if is_first && self.config.leads() {
            self.warn_of_unfit(&plan.lanes).map_err(from_target)?;
            plan.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            if selected.is_empty() {
                tracing::warn!("{}; waiting for one", topics::no_match(self.config, self.source.observed()));
            }
        }
        let of_limits = self.partitions_of_limits(&plan.lanes);
        plan.lanes.retain(|lane| self.config.has_share_in(&lane.topic, lane.partition));
        self.tell_brokers();
        self.stop_circles();
        self.take_up(&plan.lanes);
        self.share_limits(&of_limits);
        if self.config.share.is_some_and(Share::leads) {
            self.topics_in_step().iter().for_each(|topic| self.ledger.adopt(topic));
        }
        let is_left_out = |topic: &str| self.summary.problems.iter().any(|(left_out, _)| left_out == topic);
        let topics = selected.iter().filter(|topic| !is_left_out(topic));
        let topics = topics.filter_map(|topic| self.source.observed().topics.get(topic));
        let partitions = topics.flat_map(|topic| (0..).zip(&topic.partitions).map(|(n, _)| (&topic.name, n)));
        self.expected = partitions.filter(|(topic, n)| self.config.has_share_in(topic, *n)).count();
        self.see_to_deleted_topics();
        Ok(())
    }

    /// Topics that are mirrored, and so kept in step. The first part of a link need not have a partition of each.
    pub(super) fn topics_in_step(&self) -> BTreeSet<String> {
        let mut topics: BTreeSet<String> = self.lanes.values().map(|lane| lane.topic.to_string()).collect();
        if self.config.share.is_some() {
            let is_left_out =
                |topic: &str| self.summary.problems.iter().any(|(left_out, _)| left_out == topic);
            let others = self.topics.iter().filter(|topic| !is_left_out(topic));
            topics.extend(others.map(ToString::to_string));
        }
        topics
    }

    /// Says which of the target's topics would change what is mirrored into them, or refuse it.
    fn warn_of_unfit(&mut self, lanes: &[LanePlan]) -> Result<(), AdminError> {
        let topics: BTreeSet<&str> = lanes.iter().map(|lane| &*lane.topic).collect();
        let configs = self.target.topic_configs(topics)?;
        for (topic, target) in &configs {
            let Some(source) = self.source_configs.get(topic) else { continue };
            unfit(topic, source, target, self.config.oversize).iter().for_each(plan::log);
        }
        Ok(())
    }

    fn plan(&self) -> planner::Plan {
        let (created, ledger) = (&self.created, &self.ledger);
        let is_ours = |topic: &str| created.contains_key(topic) || ledger.knows(topic);
        planner::plan(
            self.config,
            self.source.observed(),
            self.target.observed(),
            &self.source_configs,
            &is_ours,
        )
    }

    /// Returns whether anything changed. A topic that the target refuses to create is a problem of that topic alone.
    fn act(&mut self, action: &Action, is_first: bool) -> Result<bool, AdminError> {
        let (name, done) = match action {
            Action::CreateTopic { name, partitions, replication_factor, configs, notes } => {
                let now_us = clock::now().mono_us;
                match self.created.get(name) {
                    None => {
                        let there = &*self.config.target.names.on_cluster(name);
                        tracing::info!(topic = there, partitions, replication_factor, configs = ?configs, "creating on the target");
                        notes.iter().for_each(|note| tracing::warn!(topic = name, "{note}"));
                        self.created.insert(name.clone(), now_us);
                    }
                    Some(first_us) if now_us - first_us > INVISIBLE_MS * 1_000 => {
                        self.give_up_invisible(name);
                        return Ok(false);
                    }
                    Some(_) => {}
                }
                (name, self.target.create_topic(name, *partitions, *replication_factor, configs))
            }
            Action::AddPartitions { name, count } => {
                tracing::info!(topic = name, partitions = count, "growing on the target");
                (name, self.target.add_partitions(name, *count, false))
            }
        };
        match done {
            Ok(()) => Ok(true),
            Err(AdminError::Refused { what, code }) if !crate::error::is_retriable(code) => {
                let message = format!("{what}: {}: {}", crate::error::name(code), crate::error::advice(code));
                if !self.summary.problems.iter().any(|(topic, _)| topic == name) {
                    tracing::error!(topic = name, "{message}");
                    self.summary.problems.push((name.clone(), message));
                }
                Ok(false)
            }
            Err(error) if is_first || !error.is_passing() => Err(error),
            Err(error) => {
                tracing::warn!(topic = name, %error, "trying again");
                Ok(false)
            }
        }
    }

    /// The target says that the topic exists, and does not list it.
    fn give_up_invisible(&mut self, name: &str) {
        if !self.summary.problems.iter().any(|(topic, _)| topic == name) {
            tracing::error!(topic = name, "{INVISIBLE}");
            self.summary.problems.push((name.to_owned(), INVISIBLE.to_owned()));
        }
    }

    pub(super) fn tell_brokers(&self) {
        for (side, admin) in [(Side::Source, &self.source), (Side::Target, &self.target)] {
            let brokers =
                admin.observed().brokers.iter().map(|(id, address)| (*id, address.clone())).collect();
            self.tell_all(&Command::Brokers { side, brokers });
        }
    }
}
