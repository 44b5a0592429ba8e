//! `twinlog failover` and `twinlog failback`.

use super::link::{GroupArgs, LinkArgs};
use clap::{Args, ValueEnum};
use twinlog::config::{ConfigError, Mirror, text};
use twinlog::edge::failover::{FailbackSettings, Kind};

#[derive(Debug, Args)]
#[command(after_help = FAILOVER_AFTER_HELP)]
pub struct FailoverArgs {
    #[command(flatten)]
    link: LinkArgs,

    #[command(flatten)]
    groups: GroupArgs,

    /// Do not wait for the source, which may be gone; reports which offsets are not on the target
    #[arg(long, conflicts_with_all = ["drill", "dry_run"])]
    forced: bool,

    /// Do everything but the handing over, and report how long it took
    #[arg(long, conflicts_with = "dry_run")]
    drill: bool,

    /// Only say what would be handed over, and what is missing now
    #[arg(long)]
    dry_run: bool,

    /// Print the outcome as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = FAILBACK_AFTER_HELP)]
pub struct FailbackArgs {
    #[command(flatten)]
    link: LinkArgs,

    #[command(flatten)]
    groups: GroupArgs,

    /// Name of the link that brings back [default: <LINK>-back]
    #[arg(long, value_name = "LINK", value_parser = text::link)]
    back_link: Option<String>,

    /// What to do about records of the old primary that were never mirrored: refuse, or keep them and append behind
    #[arg(long, value_enum, default_value_t = TailPolicy::Refuse)]
    tail: TailPolicy,

    /// Only say what would be brought back, and what stands in the way
    #[arg(long)]
    dry_run: bool,

    /// Keep mirroring back until stopped; run it again without this to finish
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,

    /// Print the outcome as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TailPolicy {
    Refuse,
    Keep,
}

impl FailoverArgs {
    pub fn kind(&self) -> Kind {
        match (self.forced, self.drill, self.dry_run) {
            (true, ..) => Kind::Forced,
            (_, true, _) => Kind::Drill,
            (_, _, true) => Kind::DryRun,
            _ => Kind::Controlled,
        }
    }

    pub fn config(self) -> Result<Mirror, ConfigError> {
        config(self.link, self.groups)
    }
}

impl FailbackArgs {
    pub fn settings(self) -> Result<FailbackSettings, ConfigError> {
        let config = config(self.link, self.groups)?;
        Ok(FailbackSettings {
            link: self.back_link.unwrap_or_else(|| format!("{}-back", config.link)),
            config,
            keep_tail: self.tail == TailPolicy::Keep,
            dry_run: self.dry_run,
            follow: self.follow,
        })
    }
}

/// Without --topics, all that the link mirrors is meant.
fn config(link: LinkArgs, groups: GroupArgs) -> Result<Mirror, ConfigError> {
    let mut draft = groups.draft().or(link.draft()?);
    draft.topics = draft.topics.or_else(|| text::patterns(".*").ok());
    draft.build()
}

const FAILOVER_AFTER_HELP: &str = "\
The link's lock is taken, so a mirror that runs ends by itself (exit code 4). What is missing on the target is mirrored, the groups'
offsets (--groups) one last time, and each partition is marked: from then on this link leaves it alone, and the target's clients may
write. Stop the producers on the source first; what they write afterwards is reported as not mirrored.

Examples:
  twinlog failover --config twinlog.toml --dry-run
  twinlog failover --config twinlog.toml               # waits until all is mirrored: RPO 0
  twinlog failover --config twinlog.toml --forced      # the source is gone
  twinlog failover --config twinlog.toml --drill       # how long would it take?

Exit codes: 0 every partition handed over, 1 failed or source offsets are not on the target, 3 some partitions left out.";

const FAILBACK_AFTER_HELP: &str = "\
Give the link as it was failed over: --source is the old primary, --target the standby that took over. Only what was written on the
standby since then is mirrored back. Stop the producers on the standby first, or use --follow until they are stopped.

Examples:
  twinlog failback --config twinlog.toml --dry-run
  twinlog failback --config twinlog.toml
  twinlog failback --config twinlog.toml --tail keep

Exit codes: 0 all is back, 1 not, or divergent tails are in the way, 3 some partitions stopped.";
