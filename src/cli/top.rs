//! `twinlog top`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TopArgs {
    /// Where the mirror listens (its --listen): HOST:PORT, a port of this machine, or a URL
    #[arg(long, value_name = "HOST:PORT")]
    pub at: String,

    /// File with the token that the mirror was given with --control-token-file, to pause and resume partitions
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Partitions that are stopped or stuck stand on top, then those that are most behind.

Keys: q quit, s sort by another column, ↑ ↓ select a partition, p pause or resume it (with --token-file).
Where the output is no terminal it is printed once, as plain text: twinlog top --at 9464 | less";
