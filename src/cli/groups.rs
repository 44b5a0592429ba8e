//! `twinlog groups`.

use super::link::{GroupArgs, LinkArgs};
use clap::{Args, Subcommand};
use twinlog::config::{ConfigError, Draft, text};

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct GroupsArgs {
    #[command(subcommand)]
    pub command: GroupsCommand,
}

#[derive(Debug, Subcommand)]
pub enum GroupsCommand {
    /// Where each group stands on both clusters, and why an offset is not mirrored
    Status(GroupsLink),
    /// Mirror the groups' offsets once, now
    ///
    /// Does what a running mirror does all the time with --groups. For the last step of a migration, when the consumers on the
    /// source have stopped.
    Sync(GroupsLink),
}

#[derive(Debug, Args)]
pub struct GroupsLink {
    #[command(flatten)]
    link: LinkArgs,

    #[command(flatten)]
    groups: GroupArgs,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl GroupsLink {
    /// The flags over the config file. Without --groups all groups are meant.
    pub fn draft(self) -> Result<Draft, ConfigError> {
        let all = || text::patterns(".*").ok();
        let mut draft = self.groups.draft().or(self.link.draft()?);
        draft.groups = draft.groups.or_else(all);
        draft.topics = draft.topics.or_else(all);
        Ok(draft)
    }
}

const AFTER_HELP: &str = "\
Examples:
  twinlog groups status --source east:9092 --target west:9092 --groups 'billing.*'
  twinlog groups sync --config twinlog.toml

The link (--link) is the one whose mirror wrote the topics: it knows which offset became which.";
