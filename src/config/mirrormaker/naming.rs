//! What topics are called on the target, and which ones MirrorMaker never mirrors.

use super::super::ConfigError;
use super::flow::Reader;
use super::keys::{DEFAULT_POLICY, IDENTITY_POLICIES};
use super::settings::Outcome;
use super::wrong;

pub struct Naming {
    /// Before each topic's name on the target.
    pub prefix: Option<String>,
    /// Topics that are left out whatever the configuration says.
    pub never: Vec<String>,
    /// The clusters' aliases.
    pub source: String,
    pub target: String,
    /// What stands behind an alias, and in the names of MirrorMaker's own topics.
    pub separator: String,
    pub internal_separator: String,
}

impl Naming {
    pub fn is_identity(&self) -> bool {
        self.prefix.is_none()
    }
}

/// Reads the replication policy.
pub fn read(reader: &mut Reader<'_>) -> Result<Naming, ConfigError> {
    let source = reader.text("source.cluster.alias")?.unwrap_or_else(|| reader.from.clone());
    let target = reader.text("target.cluster.alias")?.unwrap_or_else(|| reader.to.clone());
    let separator = reader.text("replication.policy.separator")?.unwrap_or_else(|| ".".into());
    let has_own_internal =
        reader.flag("replication.policy.internal.topic.separator.enabled")?.unwrap_or(true);
    let is_identity = is_identity(reader)?;
    let mut never = vec![r".*[\-\.]internal".to_owned(), "__.*".to_owned(), r"\..*".to_owned()];
    let quoted = regex::escape(&separator);
    if has_own_internal && separator != "." {
        never.push(format!(".*{quoted}internal"));
    }
    never.push(format!("(?:.*{quoted})?heartbeats"));
    let prefix = (!is_identity).then(|| format!("{source}{separator}"));
    if !is_identity {
        // As MirrorMaker has it: at whatever place the target's alias stands among those before the topic's own name.
        never.push(format!("(?:.*{quoted})?{}{quoted}.+", regex::escape(&target)));
    }
    let internal_separator = if has_own_internal { separator.clone() } else { ".".into() };
    Ok(Naming { prefix, never, source, target, separator, internal_separator })
}

fn is_identity(reader: &mut Reader<'_>) -> Result<bool, ConfigError> {
    let Some(class) = reader.take("replication.policy.class")? else { return Ok(false) };
    let name = class.text.expose().trim();
    let is_identity = IDENTITY_POLICIES.contains(&name);
    if !is_identity && name != DEFAULT_POLICY {
        return Err(wrong(
            &class,
            format!(
                "a Java class cannot name Twinlog's topics; there are {DEFAULT_POLICY} (the source's alias stands before each \
                 name) and {} (names stay)",
                IDENTITY_POLICIES[0]
            ),
        ));
    }
    let what = if is_identity { "topics keep their names" } else { "the source's alias makes mirror.prefix" };
    reader.settings.tell(&class.origin, Outcome::Means(what.into()));
    Ok(is_identity)
}
