//! The `twinlog` command: what was typed, handed to the library, and the exit code that came of it.

mod cli;

use clap::Parser;
use cli::{Cli, Command, MirrorArgs};
use std::process::ExitCode;
use twinlog::config::{ConfigError, Mirror};
use twinlog::edge::logging;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Mirror(args) => mirror(args),
        Command::Bench(_) | Command::Broker(_) | Command::Sim(_) => ExitCode::FAILURE,
    }
}

fn mirror(args: MirrorArgs) -> ExitCode {
    match configured(args) {
        Ok(mirror) => {
            tracing::info!(link = mirror.link, "configured");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn configured(args: MirrorArgs) -> Result<Mirror, ConfigError> {
    let draft = args.draft()?;
    logging::start(draft.log_format.unwrap_or_default());
    draft.build()
}
