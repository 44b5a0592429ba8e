//! Which link a command is about: what all commands on links share.

use super::{Addresses, Patterns, Renames, some_of};
use clap::Args;
use std::path::{Path, PathBuf};
use twinlog::config::{ClusterName, ConfigError, Draft, LogFormat, text};

#[derive(Clone, Debug, Args)]
pub struct LinkArgs {
    /// Cluster to read from: some of its brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "What to mirror")]
    source: Option<Addresses>,

    /// Cluster to write to: some of its brokers
    #[arg(long, value_name = "HOST:PORT[,…]", value_parser = text::addresses, help_heading = "What to mirror")]
    target: Option<Addresses>,

    /// File with Kafka's client settings for the source (security.protocol, ssl.*, sasl.*, bootstrap.servers), as Kafka's own
    /// tools take with --command-config
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    source_config: Option<PathBuf>,

    /// The same for the target
    #[arg(long, value_name = "FILE", help_heading = "Security")]
    target_config: Option<PathBuf>,

    /// Topics to mirror: regular expressions that match the whole name; may be given again
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    topics: Vec<Patterns>,

    /// Topics not to mirror, though --topics matches them [internal topics, __.*, count only when named exactly]
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "What to mirror")]
    exclude: Vec<Patterns>,

    /// What stands before topics' names on the target: with `east.`, orders is east.orders there [default: nothing]
    #[arg(long, value_name = "TEXT", value_parser = text::prefix, help_heading = "What to mirror")]
    prefix: Option<String>,

    /// Topics that have a name of their own on the target, without the prefix; may be given again
    #[arg(long, value_name = "FROM=TO[,…]", value_parser = text::renames, help_heading = "What to mirror")]
    rename: Vec<Renames>,

    /// Name of this mirror's link. Its progress is kept under this name on the target (topic __twinlog.<LINK>);
    /// an instance started with the same name takes over [default: mirror]
    #[arg(long, value_name = "LINK", value_parser = text::link, help_heading = "How")]
    link: Option<String>,

    /// File with any of these settings; flags override it
    #[arg(long, value_name = "FILE", help_heading = "How")]
    config: Option<PathBuf>,

    /// Log lines and the final summary: text or json [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = text::log_format, help_heading = "How")]
    log_format: Option<LogFormat>,

    /// Name towards the brokers, for their logs and quotas [default: twinlog-<LINK>]
    #[arg(long, value_name = "NAME", value_parser = text::client_id, help_heading = "Seldom needed")]
    client_id: Option<String>,

    /// A request unanswered for this long counts as a lost connection, ms [default: 20000]
    #[arg(long, value_name = "MS", value_parser = text::milliseconds, help_heading = "Seldom needed")]
    request_timeout_ms: Option<u64>,
}

impl LinkArgs {
    /// A flag that names a cluster, or a file that does.
    pub fn names_cluster(&self) -> Option<&'static str> {
        let given = [
            (self.source.is_some(), "--source"),
            (self.target.is_some(), "--target"),
            (self.source_config.is_some(), "--source-config"),
            (self.target_config.is_some(), "--target-config"),
            (self.config.is_some(), "--config"),
        ];
        given.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
    }

    /// The files that these flags name: the config file first.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.config, &self.source_config, &self.target_config].into_iter().flatten()
    }

    /// The flags over the clusters' files over the config file. Reads the files.
    pub fn draft(self) -> Result<Draft, ConfigError> {
        let file = config_file(self.config.as_ref())?;
        let source = cluster(self.source_config.as_ref(), ClusterName::Source)?;
        let target = cluster(self.target_config.as_ref(), ClusterName::Target)?;
        let flags = Draft {
            source: self.source,
            target: self.target,
            topics: some_of(self.topics),
            exclude: some_of(self.exclude),
            prefix: self.prefix,
            rename: some_of(self.rename),
            link: self.link,
            log_format: self.log_format,
            client_id: self.client_id,
            request_timeout_ms: self.request_timeout_ms,
            ..Draft::default()
        };
        Ok(flags.or(source).or(target).or(file))
    }
}

pub(super) fn config_file(path: Option<&PathBuf>) -> Result<Draft, ConfigError> {
    match path {
        Some(path) => Draft::from_toml(&path.display().to_string(), &content(path)?),
        None => Ok(Draft::default()),
    }
}

pub(super) fn cluster(path: Option<&PathBuf>, side: ClusterName) -> Result<Draft, ConfigError> {
    match path {
        Some(path) => Draft::from_properties(&path.display().to_string(), &content(path)?, side),
        None => Ok(Draft::default()),
    }
}

pub(super) fn content(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read the config file {}: {error}", path.display())))
}

/// Which consumer groups a command is about.
#[derive(Clone, Debug, Args)]
pub struct GroupArgs {
    /// Consumer groups whose committed offsets are mirrored: regular expressions that match the whole name [default: none]
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "Consumer groups")]
    groups: Vec<Patterns>,

    /// Groups whose offsets are not mirrored, though --groups matches them
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns, help_heading = "Consumer groups")]
    groups_exclude: Vec<Patterns>,

    /// Set a group's offset on the target back when it is set back on the source
    #[arg(long, help_heading = "Consumer groups")]
    groups_rewind: bool,
}

impl GroupArgs {
    pub fn draft(self) -> Draft {
        Draft {
            groups: some_of(self.groups),
            groups_exclude: some_of(self.groups_exclude),
            groups_rewind: self.groups_rewind.then_some(true),
            ..Draft::default()
        }
    }
}
