//! What MirrorMaker 2 writes for its client library: checkpoints (`MirrorCheckpointConfig`) and heartbeats
//! (`MirrorHeartbeatConfig`).

use super::super::properties::Value;
use super::super::{ConfigError, text};
use super::flow::{Patterns, Reader, flag, is_enabled};
use super::layers::Layers;
use super::naming::Naming;
use super::scopes::Scopes;
use super::settings::{NOT_SET, Toml};
use super::wrong;

impl Reader<'_> {
    /// Whether the groups' positions are written as checkpoints.
    pub fn checkpoints(&mut self, groups: &Patterns, exclude: &Patterns) -> Result<bool, ConfigError> {
        let switch = self.take("emit.checkpoints.enabled")?;
        let interval = self.seconds("emit.checkpoints.interval.seconds")?;
        let factor = self.take("checkpoints.topic.replication.factor")?;
        let is_on = switch.as_ref().map_or(Ok(true), flag)?;
        if let Some(switch) = &switch {
            let why = if is_on { "it is the default" } else { "no checkpoints are written" };
            self.settings.unused(&switch.origin, why);
        }
        if !is_on || groups.0.is_empty() {
            let set = interval.map(|(_, origin)| origin).into_iter().chain(factor.map(|value| value.origin));
            set.for_each(|origin| self.settings.unused(&origin, "no checkpoints are written"));
            return Ok(false);
        }
        self.settings.set("mirror", "checkpoints", &Toml::List(groups.0.clone()), &groups.1)?;
        if exclude.0.is_empty() {
            self.settings.unused(&exclude.1, "it is empty");
        } else {
            self.settings.set("mirror", "checkpoints-exclude", &Toml::List(exclude.0.clone()), &exclude.1)?;
        }
        if let Some((ms, origin)) = interval {
            self.settings.set("mirror", "checkpoints-interval-ms", &Toml::Number(ms), &origin)?;
        }
        self.factor("checkpoints-replication-factor", factor)?;
        Ok(true)
    }

    /// Whether there are any heartbeats. `runs_into_source`: MirrorMaker would run what is to be written to the source.
    pub fn heartbeats(&mut self, scopes: &Scopes, runs_into_source: bool) -> Result<bool, ConfigError> {
        let switch = self.take("emit.heartbeats.enabled")?;
        let interval = self.seconds("emit.heartbeats.interval.seconds")?;
        let factor = self.take("heartbeats.topic.replication.factor")?;
        let name = self.take("default.replication.policy.heartbeats.topic.name")?;
        let relay = self.flag("heartbeats.replication.enabled")?.unwrap_or(true);
        let target = switch.as_ref().map_or(Ok(true), flag)?;
        let source = runs_into_source && self.emits_back(scopes)?;
        let which = [(target, "target"), (source, "source"), (relay, "relay")];
        let which: Vec<String> =
            which.into_iter().filter(|(is_on, _)| *is_on).map(|(_, which)| which.to_owned()).collect();
        let origin =
            switch.map_or_else(|| format!("emit.heartbeats.enabled {NOT_SET}"), |value| value.origin);
        if which.is_empty() {
            let set = [interval.map(|(_, origin)| origin), factor.map(|value| value.origin)];
            let set = set.into_iter().chain([name.map(|value| value.origin), Some(origin)]).flatten();
            set.for_each(|origin| self.settings.unused(&origin, "there are no heartbeats"));
            return Ok(false);
        }
        self.settings.set("mirror", "heartbeats", &Toml::List(which), &origin)?;
        if let Some((ms, origin)) = interval {
            self.settings.set("mirror", "heartbeats-interval-ms", &Toml::Number(ms), &origin)?;
        }
        self.factor("heartbeats-replication-factor", factor)?;
        if let Some(value) = name {
            let name =
                text::topic_name(value.text.expose().trim()).map_err(|problem| wrong(&value, problem))?;
            self.settings.set("mirror", "heartbeats-topic", &Toml::Text(name), &value.origin)?;
        }
        Ok(true)
    }

    /// What clients call the clusters and the topics.
    pub fn aliases(&mut self, naming: &Naming) -> Result<(), ConfigError> {
        let origin = format!("replication policy of {}->{}", self.from, self.to);
        let Naming { source, target, separator, internal_separator, .. } = naming;
        let texts = [("source-alias", source), ("target-alias", target)];
        for (key, text) in
            texts.into_iter().chain((separator != ".").then_some(("alias-separator", separator)))
        {
            self.settings.set_quietly("mirror", key, &Toml::Text(text.clone()), &origin)?;
        }
        if internal_separator != separator {
            let topic = format!("{source}{internal_separator}checkpoints{internal_separator}internal");
            self.settings.set_quietly("mirror", "checkpoints-topic", &Toml::Text(topic), &origin)?;
        }
        Ok(())
    }

    /// MirrorMaker sends heartbeats the way back, too, unless it is told not to, even where nothing is mirrored that way; where
    /// something is, another link sends them.
    fn emits_back(&self, scopes: &Scopes) -> Result<bool, ConfigError> {
        if is_enabled(scopes, &self.to, &self.from)? {
            return Ok(false);
        }
        let switch = Layers::of(scopes, &self.to, &self.from).take("emit.heartbeats.enabled");
        switch.map_or(Ok(true), |value| flag(&self.filled(value)?))
    }

    fn factor(&mut self, key: &str, value: Option<Value>) -> Result<(), ConfigError> {
        let Some(value) = value else { return Ok(()) };
        if value.text.expose().trim() == "-1" {
            let how =
                "the topic gets three replicas, or as many as there are brokers, not the cluster's default";
            self.settings.differs(&value.origin, how);
            return Ok(());
        }
        let factor =
            text::replication_factor(value.text.expose().trim()).map_err(|problem| wrong(&value, problem))?;
        let factor = Toml::Number(factor.unsigned_abs().into());
        self.settings.set("mirror", key, &factor, &value.origin)
    }
}
