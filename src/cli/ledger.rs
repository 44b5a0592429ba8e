//! `twinlog ledger`.

use super::link::LinkArgs;
use clap::Args;
use twinlog::config::{ConfigError, Draft};

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct LedgerArgs {
    #[command(flatten)]
    link: LinkArgs,

    /// Entries recorded at this time or later: milliseconds since 1970
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub since_ms: i64,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl LedgerArgs {
    pub fn draft(self) -> Result<Draft, ConfigError> {
        self.link.draft()
    }
}

const AFTER_HELP: &str = "\
Lists the source offsets that are not on the target and never will be, each with the cause: the source deleted records before they
were mirrored, or lost them. Only --target and --link are needed.

Exit codes: 0 no entries, 1 there are some, or the link's state cannot be read, 2 no topic of the link matches --topics.";
