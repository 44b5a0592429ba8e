//! `twinlog apply`.

use super::MirrorArgs;
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub mirror: MirrorArgs,

    /// Print what was done as one JSON object
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
What `twinlog plan` shows of topics, partitions and, with the flags for them, settings (--sync-topic-configs),
access rules (--sync-acls) and quotas (--sync-quotas) is done on the target. No record is mirrored and nothing
is deleted; the link's state is not touched, so `twinlog mirror` with the same flags begins as it would have.
Done again, it changes nothing. Users with passwords are for `twinlog plan --scram-users`.

Examples:
  twinlog plan  --config twinlog.toml       # look first
  twinlog apply --config twinlog.toml

Exit codes: 0 all of it stands on the target, 3 something was refused or left out, 1 a cluster cannot be asked,
2 wrong usage or configuration.";
