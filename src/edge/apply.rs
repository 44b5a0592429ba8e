//! Makes of the target what `twinlog plan` says the mirror would make of it before the first record: topics, partitions, and what
//! is kept in step. Nothing is mirrored, and the link's state is not touched.

use super::admin::AdminError;
use super::mirror::MirrorError;
use super::plan::Look;
use super::{acls, quotas};
use crate::config::{Mirror, SyncAcls};
use crate::control::planner::{self, Action, Plan};
use crate::control::quotas as limits;
use crate::control::{config_sync, topics};
use crate::error;
use crate::shard::Side;
use crate::stats::units;
use serde::Serialize;
use std::collections::BTreeMap;

/// What came of it, a line for each change.
#[derive(Debug, Default, Serialize)]
pub struct Applied {
    pub link: String,
    pub done: Vec<String>,
    /// What the target refused, or what was left out, and why.
    pub failed: Vec<String>,
}

impl Applied {
    /// For people.
    pub fn text(&self) -> String {
        let Self { link, done, failed } = self;
        let done_lines = done.iter().map(|line| format!("{line}\n"));
        let lines: String = done_lines.chain(failed.iter().map(|line| format!("NOT {line}\n"))).collect();
        format!(
            "{lines}link {link}: {} done, {} not\n",
            units::count(done.len() as u64),
            units::count(failed.len() as u64)
        )
    }
}

/// What the plan says is done, as far as the target lets us. Done again, it changes nothing.
///
/// # Errors
/// A cluster cannot be reached, or the mirror would end at once for what it was told, with the same words. What was done before
/// stays.
pub fn run(config: &Mirror) -> Result<Applied, MirrorError> {
    let mut apply = Apply {
        config,
        look: Look::at(config)?,
        applied: Applied { link: config.link.clone(), ..Applied::default() },
    };
    apply.topics()?;
    if config.sync_topic_configs {
        apply.settings()?;
    }
    if config.sync_acls != SyncAcls::None {
        apply.rules()?;
    }
    if config.sync_quotas {
        apply.quotas()?;
    }
    Ok(apply.applied)
}

struct Apply<'a> {
    config: &'a Mirror,
    look: Look<'a>,
    applied: Applied,
}

fn at(side: Side) -> impl Fn(AdminError) -> MirrorError {
    move |error| MirrorError::Cluster { side, error }
}

impl Apply<'_> {
    fn plan(&mut self) -> Result<Plan, MirrorError> {
        let ledger = self.look.ledger()?;
        let selected = self.look.topics(Side::Source);
        let configs = self.look.source.topic_configs(selected.iter().map(String::as_str));
        let configs = configs.map_err(at(Side::Source))?;
        let (source, target) = (self.look.source.observed(), self.look.target.observed());
        Ok(planner::plan(self.config, source, target, &configs, &|topic| ledger.knows(topic)))
    }

    fn topics(&mut self) -> Result<(), MirrorError> {
        let plan = self.plan()?;
        let left_out =
            plan.problems.iter().map(|problem| format!("topic {}: {}", problem.topic, problem.message));
        self.applied.failed.extend(left_out);
        for action in &plan.actions {
            let target = &mut self.look.target;
            let (name, done, outcome) = match action {
                Action::CreateTopic { name, partitions, replication_factor, configs, notes } => {
                    let settings: String =
                        configs.iter().map(|(key, value)| format!(", {key}={value}")).collect();
                    let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
                    let done = format!(
                        "created with {partitions} partitions, replication factor {replication_factor}{settings}{notes}"
                    );
                    (name, done, target.create_topic(name, *partitions, *replication_factor, configs))
                }
                Action::AddPartitions { name, count } => {
                    (name, format!("grown to {count} partitions"), target.add_partitions(name, *count, false))
                }
            };
            let there = self.config.target.names.on_cluster(name);
            match outcome {
                Ok(()) => self.applied.done.push(format!("topic {there}: {done}")),
                Err(error @ AdminError::Refused { .. }) => {
                    self.applied.failed.push(format!("topic {there}: {error}"));
                }
                Err(error) => return Err(at(Side::Target)(error)),
            }
        }
        Ok(())
    }

    /// Of the topics that were there when it was looked.
    fn settings(&mut self) -> Result<(), MirrorError> {
        if !self.look.source.tells_configs().map_err(at(Side::Source))? {
            return Ok(());
        }
        let selected = self.look.topics(Side::Target);
        let names = || selected.iter().map(String::as_str);
        let source = self.look.source.topic_configs(names()).map_err(at(Side::Source))?;
        let target = self.look.target.topic_configs(names()).map_err(at(Side::Target))?;
        let mut changes = BTreeMap::new();
        for (topic, source) in &source {
            let twin = self.look.target.observed().topics.get(topic);
            let (Some(twin), Some(target)) = (twin, target.get(topic)) else { continue };
            let found = config_sync::changes(None, source, target, twin.replication_factor());
            if !found.is_empty() {
                changes.insert(topic.clone(), found);
            }
        }
        let outcomes = self.look.target.alter_topic_configs(&changes).map_err(at(Side::Target))?;
        for (topic, code, said) in outcomes {
            let set = changes.get(&topic).into_iter().flat_map(|changes| &changes.set);
            let set = set.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
            let there = self.config.target.names.on_cluster(&topic);
            match code {
                0 => self.applied.done.push(format!("topic {there}: {set}")),
                _ => self.applied.failed.push(format!("topic {there}: {set}: {}", refusal(code, &said))),
            }
        }
        Ok(())
    }

    fn rules(&mut self) -> Result<(), MirrorError> {
        let source = acls::list(&mut self.look.source).map_err(at(Side::Source))?;
        let target = acls::list(&mut self.look.target).map_err(at(Side::Target))?;
        let (Some(source), Some(target)) = (source, target) else {
            self.applied.failed.push("access rules: one of the clusters has no authorizer".into());
            return Ok(());
        };
        let selected = topics::select(self.config, self.look.source.observed());
        let selected = selected.iter().map(|topic| topic.name.to_string()).collect();
        let wanted = crate::control::acls::wanted(self.config, &source, &selected);
        let create = crate::control::acls::changes(None, &wanted, &target).create;
        let refused = acls::create(&mut self.look.target, &create).map_err(at(Side::Target))?;
        for rule in &create {
            match refused.iter().find(|(refused, ..)| refused == rule) {
                None => self.applied.done.push(format!("access rule: {rule}")),
                Some((_, code, said)) => {
                    self.applied.failed.push(format!("access rule: {rule}: {}", refusal(*code, said)));
                }
            }
        }
        Ok(())
    }

    fn quotas(&mut self) -> Result<(), MirrorError> {
        let source = quotas::list(&mut self.look.source).map_err(at(Side::Source))?;
        let target = quotas::list(&mut self.look.target).map_err(at(Side::Target))?;
        let changes = limits::changes(None, &limits::wanted(self.config, &source), &target);
        let refused = quotas::alter(&mut self.look.target, &changes, false).map_err(at(Side::Target))?;
        let is_refused = |limit: &limits::Limit| refused.iter().any(|refused| refused.entity == limit.entity);
        let set = changes.set.iter().filter(|(limit, _)| !is_refused(limit));
        self.applied.done.extend(set.map(|(limit, value)| format!("quota: {limit}={value}")));
        self.applied.failed.extend(limits::refusals(&refused));
        Ok(())
    }
}

fn refusal(code: i16, said: &str) -> String {
    format!("{}: {}{said}", error::name(code), error::advice(code))
}
