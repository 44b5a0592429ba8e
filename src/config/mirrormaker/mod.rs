//! Configurations of Kafka's MirrorMaker, versions 2 and 1, read as Twinlog's. Every key becomes a setting, or a line that says
//! why it does not; a key that MirrorMaker does not have is an error.

mod client_topics;
mod clients;
mod connections;
mod explain;
mod flow;
mod keys;
mod layers;
mod mm1;
mod naming;
mod providers;
mod scopes;
mod settings;
#[cfg(test)]
mod tests;

pub use explain::{explain, names};
pub use mm1::MirrorMaker1;
pub use settings::{Line, Outcome};

use super::placeholder::Elsewhere;
use super::properties::Value;
use super::{ConfigError, Draft, Properties};
use scopes::Scopes;
use settings::Settings;

/// A file of settings.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is called in errors.
    pub name: String,
    /// Its absolute path.
    pub path: String,
    pub content: String,
}

/// What one flow comes to: a link of its own.
#[derive(Clone, Debug)]
pub struct Flow {
    pub link: String,
    /// "east->west of FILE".
    pub title: String,
    pub draft: Draft,
    /// MirrorMaker 1's consumer group, whose offsets say where it stands.
    pub group: Option<String>,
    /// What became of each key, in the order of the file.
    pub lines: Vec<Line>,
    /// The link's settings as `twinlog.toml` has them.
    pub toml: String,
}

impl Flow {
    fn of(link: String, title: String, settings: Settings) -> Self {
        let toml = settings.toml();
        let Settings { draft, mut lines, .. } = settings;
        lines.sort_by_key(|line| line_number(&line.origin));
        Self { link, title, draft, group: None, lines, toml }
    }

    /// The file that `config import` writes.
    pub fn file(&self) -> String {
        let mut text = format!(
            "# From the flow {}. What would it do? twinlog plan --config {}.toml\n\n{}",
            self.title, self.link, self.toml
        );
        text += "# What became of each key:\n";
        for line in &self.lines {
            text += &format!("# {line}\n");
        }
        text
    }
}

/// The enabled flows of a `connect-mirror-maker.properties`; of those, if `into` names clusters, the ones into these.
pub fn flows(file: &File, into: &[String], elsewhere: &dyn Elsewhere) -> Result<Vec<Flow>, ConfigError> {
    let in_file = |problem: String| ConfigError(format!("{}: {problem}", file.name));
    let properties = Properties::from_file(&file.name, &file.content)?;
    let scopes = Scopes::read(&properties).map_err(|error| match error.0.starts_with(&file.name) {
        true => error,
        false => in_file(error.0),
    })?;
    for name in into {
        scopes.must_be_there(name).map_err(|problem| ConfigError(format!("--clusters: {problem}")))?;
    }
    let mut flows = Vec::new();
    for from in &scopes.clusters {
        for to in scopes.clusters.iter().filter(|to| *to != from) {
            if (into.is_empty() || into.contains(to)) && flow::is_enabled(&scopes, from, to)? {
                let runs_into_source = into.is_empty() || into.contains(from);
                flows.push(flow::read(&scopes, (from, to), runs_into_source, file, elsewhere)?);
            }
        }
    }
    match (flows.is_empty(), into) {
        (false, _) => Ok(flows),
        (true, []) => {
            Err(in_file("no flow is enabled; set A->B.enabled = true for two of its clusters".into()))
        }
        (true, into) => Err(ConfigError(format!(
            "--clusters: no flow into {} is enabled in {}",
            into.join(" or "),
            file.name
        ))),
    }
}

fn wrong(value: &Value, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError(format!("{}: {problem}", value.origin))
}

/// The line of "file:12: key"; what stands in no line comes last.
fn line_number(origin: &str) -> usize {
    let place = origin.split_once(": ").and_then(|(place, _)| place.rsplit_once(':'));
    place.and_then(|(_, line)| line.parse().ok()).unwrap_or(usize::MAX)
}
