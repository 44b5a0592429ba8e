//! One flow of `connect-mirror-maker.properties`, `A->B`, as a link.

use super::super::placeholder::{self, Elsewhere};
use super::super::properties::Value;
use super::super::{ClusterName, ConfigError, StartFrom, text};
use super::connections;
use super::layers::Layers;
use super::naming::{self, Naming};
use super::scopes::Scopes;
use super::settings::{NOT_SET, Outcome, Settings, Toml};
use super::{File, Flow, keys, wrong};

/// Patterns, and where they stand.
pub type Patterns = (Vec<String>, String);

/// Milliseconds, and where they stand.
pub type Interval = Option<(u64, String)>;

/// Reads one flow's keys, and collects what they come to.
pub struct Reader<'a> {
    pub from: String,
    pub to: String,
    pub settings: Settings,
    pub layers: Layers,
    /// The files, by absolute paths, that the source's and the target's settings stand in.
    pub paths: [&'a str; 2],
    pub elsewhere: &'a dyn Elsewhere,
}

/// Whether `A->B.enabled`, or else `enabled`, is true.
pub fn is_enabled(scopes: &Scopes, from: &str, to: &str) -> Result<bool, ConfigError> {
    let flow = scopes.flow.get(&(from.to_owned(), to.to_owned()));
    let own = flow.and_then(|flow| flow.get("enabled"));
    own.or_else(|| scopes.global.get("enabled")).map_or(Ok(false), flag)
}

/// `runs_into_source`: MirrorMaker would write to the source, too.
pub fn read(
    scopes: &Scopes,
    (from, to): (&str, &str),
    runs_into_source: bool,
    file: &File,
    elsewhere: &dyn Elsewhere,
) -> Result<Flow, ConfigError> {
    let mut reader = Reader {
        from: from.to_owned(),
        to: to.to_owned(),
        settings: Settings::default(),
        layers: Layers::of(scopes, from, to),
        paths: [&file.path; 2],
        elsewhere,
    };
    let link = reader.link()?;
    for (side, name) in [(ClusterName::Source, from), (ClusterName::Target, to)] {
        if !connections::read(&mut reader, side)? {
            return Err(ConfigError(format!("{}: {name}.bootstrap.servers is not set", file.name)));
        }
    }
    let naming = naming::read(&mut reader)?;
    reader.topics(&naming)?;
    let goes_back = naming.is_identity() && is_enabled(scopes, to, from)?;
    if goes_back {
        reader.both_directions(scopes)?;
    }
    let has_checkpoints = reader.groups(goes_back)?;
    if reader.heartbeats(scopes, runs_into_source)? || has_checkpoints {
        reader.aliases(&naming)?;
    }
    reader.topic_settings()?;
    connections::tune(&mut reader, StartFrom::Earliest)?;
    let Reader { mut settings, layers, .. } = reader;
    settings.draft.flow = Some([naming.source, naming.target]);
    layers.tell_rest(&mut settings)?;
    Ok(Flow::of(link, format!("{from}->{to} of {}", file.name), settings))
}

impl Reader<'_> {
    /// A key's value with its placeholders filled in.
    pub fn take(&mut self, key: &str) -> Result<Option<Value>, ConfigError> {
        self.layers.take(key).map(|value| self.filled(value)).transpose()
    }

    pub fn filled(&self, mut value: Value) -> Result<Value, ConfigError> {
        let filled = placeholder::fill(value.text.expose(), self.elsewhere);
        value.text = filled.map_err(|problem| wrong(&value, problem))?.into();
        Ok(value)
    }

    /// A word that is part of another setting.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        self.tell_part(key, &value);
        Ok(Some(value.text.expose().trim().to_owned()))
    }

    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        self.tell_part(key, &value);
        flag(&value).map(Some)
    }

    fn tell_part(&mut self, key: &str, value: &Value) {
        let text = keys::find(keys::FLOW, key).map(|key| key.text).unwrap_or_default();
        self.settings.tell(&value.origin, Outcome::Means(text.to_owned()));
    }

    fn link(&mut self) -> Result<String, ConfigError> {
        let origin = format!("{}->{}", self.from, self.to);
        if let Some(value) = self.layers.take("enabled") {
            self.settings
                .tell(&value.origin, Outcome::Becomes(format!("the link {}-{}", self.from, self.to)));
        }
        let link = format!("{}-{}", self.from, self.to);
        self.settings.set_quietly("mirror", "link", &Toml::Text(link.clone()), &origin)?;
        Ok(link)
    }

    fn topics(&mut self, naming: &Naming) -> Result<(), ConfigError> {
        if let Some(prefix) = &naming.prefix {
            let origin = format!("replication policy of {}->{}", self.from, self.to);
            self.settings.set("mirror", "prefix", &Toml::Text(prefix.clone()), &origin)?;
        }
        let topics = self.patterns("topics", None)?;
        self.settings.set("mirror", "topics", &Toml::List(topics.0), &topics.1)?;
        let (mut exclude, origin) = self.patterns("topics.exclude", Some("topics.blacklist"))?;
        exclude.extend(
            naming.never.iter().filter(|never| !exclude.contains(never)).cloned().collect::<Vec<_>>(),
        );
        self.settings.set("mirror", "exclude", &Toml::List(exclude), &origin)
    }

    /// The patterns of a key, of its old name, or of MirrorMaker's default; and where they stand.
    fn patterns(&mut self, key: &str, old: Option<&str>) -> Result<Patterns, ConfigError> {
        let new = self.take(key)?;
        let old = old.map(|old| self.take(old)).transpose()?.flatten();
        if let (Some(_), Some(old)) = (&new, &old) {
            self.settings.unused(&old.origin, &format!("it is the old name of {key}, which is there, too"));
        }
        match new.or(old) {
            Some(value) => {
                Ok((patterns(value.text.expose()).map_err(|problem| wrong(&value, problem))?, value.origin))
            }
            None => {
                let default = keys::find(keys::FLOW, key).and_then(|key| key.default).unwrap_or_default();
                let origin = format!("{key} {NOT_SET}");
                Ok((
                    patterns(default).map_err(|problem| ConfigError(format!("{origin}: {problem}")))?,
                    origin,
                ))
            }
        }
    }

    /// Both clusters mirror each other's topics under the same names. MirrorMaker would send records around for ever.
    fn both_directions(&mut self, scopes: &Scopes) -> Result<(), ConfigError> {
        let mut back = Layers::of(scopes, &self.to, &self.from);
        let topics = match back.take("topics").map(|value| self.filled(value)).transpose()? {
            Some(value) => patterns(value.text.expose()).map_err(|problem| wrong(&value, problem))?,
            None => vec![".*".to_owned()],
        };
        let origin = format!("{}->{}", self.to, self.from);
        self.settings.set_quietly("mirror", "both-directions", &Toml::List(topics), &origin)?;
        let how = "topics keep their names and are mirrored back, so mirror.both-directions is set: records are not sent around, \
                   and offsets are each side's own";
        self.settings.differs(&origin, how);
        Ok(())
    }

    /// Whether the groups' positions are written as checkpoints; whether the groups themselves are mirrored is another matter.
    fn groups(&mut self, goes_back: bool) -> Result<bool, ConfigError> {
        let groups = self.patterns("groups", None)?;
        let exclude = self.patterns("groups.exclude", Some("groups.blacklist"))?;
        let switch = self.take("sync.group.offsets.enabled")?;
        let interval = self.seconds("sync.group.offsets.interval.seconds")?;
        let is_on = switch.as_ref().map_or(Ok(false), flag)?;
        let has_checkpoints = self.checkpoints(&groups, &exclude)?;
        if has_checkpoints && goes_back {
            let how = "groups have no checkpoints in topics that are mirrored both ways";
            self.settings.differs(&groups.1, how);
        }
        if !is_on {
            let why = "sync.group.offsets.enabled is not true, so positions of groups are not mirrored; `twinlog groups sync \
                       --groups REGEX` does it once";
            let patterns = [&groups.1, &exclude.1].into_iter().filter(|_| !has_checkpoints).cloned();
            let set = patterns.chain(interval.map(|(_, origin)| origin));
            set.filter(|origin| !origin.ends_with(NOT_SET))
                .for_each(|origin| self.settings.unused(&origin, why));
            if let Some(switch) = switch {
                self.settings.unused(&switch.origin, "no groups are mirrored");
            }
            return Ok(has_checkpoints);
        }
        if let Some(switch) = switch {
            let what = "mirror.groups: positions are exact on the target, not translated from samples; a group that has \
                        members there is left alone";
            self.settings.tell(&switch.origin, Outcome::Becomes(what.into()));
            if goes_back {
                let how = "positions of groups in topics that are mirrored both ways stay where they are";
                self.settings.differs(&switch.origin, how);
            }
        }
        self.settings.set("mirror", "groups", &Toml::List(groups.0), &groups.1)?;
        if !exclude.0.is_empty() {
            self.settings.set("mirror", "groups-exclude", &Toml::List(exclude.0), &exclude.1)?;
        }
        if let Some((ms, origin)) = interval {
            self.settings.set("mirror", "groups-interval-ms", &Toml::Number(ms), &origin)?;
        }
        Ok(has_checkpoints)
    }

    fn topic_settings(&mut self) -> Result<(), ConfigError> {
        match self.take("replication.factor")? {
            Some(value) if value.text.expose().trim() == "-1" => {
                self.settings.differs(
                    &value.origin,
                    "topics get the source's replication factor, not the target's default",
                );
            }
            Some(value) => {
                let factor = text::replication_factor(value.text.expose())
                    .map_err(|problem| wrong(&value, problem))?;
                let factor = Toml::Number(factor.unsigned_abs().into());
                self.settings.set("mirror", "replication-factor", &factor, &value.origin)?;
            }
            None => {
                let how = "topics get the source's replication factor (MirrorMaker: 2)";
                self.settings.differs("replication.factor (not set)", how);
            }
        }
        let configs = self.topic_configs()?;
        let acls = self.acls()?;
        self.interval(configs, acls)?;
        if let Some((ms, origin)) = self.seconds("refresh.topics.interval.seconds")? {
            self.settings.set("mirror", "metadata-refresh-ms", &Toml::Number(ms), &origin)?;
        }
        Ok(())
    }

    /// Whether settings are kept in step; if so, with the interval that is set.
    fn topic_configs(&mut self) -> Result<Interval, ConfigError> {
        let switch = self.take("sync.topic.configs.enabled")?;
        let interval = self.seconds("sync.topic.configs.interval.seconds")?;
        let mut is_on = switch.as_ref().map_or(Ok(true), flag)?;
        let origin =
            switch.map_or_else(|| format!("sync.topic.configs.enabled {NOT_SET}"), |value| value.origin);
        let exclude = self.patterns("config.properties.exclude", Some("config.properties.blacklist"))?;
        let default = keys::find(keys::FLOW, "config.properties.exclude").and_then(|key| key.default);
        if exclude.0 != patterns(default.unwrap_or_default()).unwrap_or_default() {
            let how = "Twinlog has no such list, so it sets settings when it creates a topic, as far as they fit the target, and \
                       does not keep them in step";
            self.settings.differs(&exclude.1, how);
            is_on = false;
        } else if !exclude.1.ends_with(NOT_SET) {
            self.settings.unused(&exclude.1, "it is the default");
        }
        self.settings.set("mirror", "sync-topic-configs", &Toml::Flag(is_on), &origin)?;
        Ok(self.only_if(is_on, interval, "settings are not kept in step"))
    }

    fn acls(&mut self) -> Result<Interval, ConfigError> {
        let switch = self.take("sync.topic.acls.enabled")?;
        let interval = self.seconds("sync.topic.acls.interval.seconds")?;
        let is_on = switch.as_ref().map_or(Ok(true), flag)?;
        let origin =
            switch.map_or_else(|| format!("sync.topic.acls.enabled {NOT_SET}"), |value| value.origin);
        let which = if is_on { "readers" } else { "none" };
        self.settings.set("mirror", "sync-acls", &Toml::Text(which.into()), &origin)?;
        Ok(self.only_if(is_on, interval, "access rules are not kept in step"))
    }

    fn only_if(&mut self, is_on: bool, interval: Interval, why_not: &str) -> Interval {
        match interval {
            Some((_, origin)) if !is_on => {
                self.settings.unused(&origin, why_not);
                None
            }
            interval => interval,
        }
    }

    /// Twinlog looks at settings and access rules at the same time.
    fn interval(&mut self, configs: Interval, acls: Interval) -> Result<(), ConfigError> {
        if let (Some(_), Some((_, origin))) = (&configs, &acls) {
            self.settings.unused(origin, "access rules are looked at together with settings");
        }
        match configs.or(acls) {
            Some((ms, origin)) => {
                self.settings.set("mirror", "topic-configs-interval-ms", &Toml::Number(ms), &origin)
            }
            None => Ok(()),
        }
    }

    /// A number of seconds, in milliseconds, and where it stands.
    pub fn seconds(&mut self, key: &str) -> Result<Interval, ConfigError> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        let seconds = value.text.expose().trim().parse::<u64>().ok().filter(|seconds| *seconds > 0);
        let problem =
            || wrong(&value, format!("`{}` is not a number of seconds above 0", value.text.expose()));
        let ms = seconds.ok_or_else(problem)?.saturating_mul(1000).min(i32::MAX as u64);
        Ok(Some((ms, value.origin)))
    }
}

/// A list of patterns as `twinlog.toml` has it; an empty one is none.
pub fn patterns(typed: &str) -> Result<Vec<String>, String> {
    if typed.trim().is_empty() {
        return Ok(Vec::new());
    }
    let patterns = text::patterns(typed).map_err(explained)?;
    Ok(patterns.iter().map(|pattern| text::typed(pattern).to_owned()).collect())
}

/// What Java's expressions have, and these do not.
fn explained(problem: String) -> String {
    match problem.contains("look-around") || problem.contains("backreferences") {
        true => format!(
            "{problem}. Java's expressions have that, Twinlog's do not: name what is not meant in the list of what is left out"
        ),
        false => problem,
    }
}

pub fn flag(value: &Value) -> Result<bool, ConfigError> {
    match value.text.expose().trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(wrong(value, format!("expected true or false, found `{other}`"))),
    }
}
