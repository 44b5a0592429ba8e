//! `twinlog schemas`: what it prints and exits with.

use crate::Failure;
use crate::cli::SchemasArgs;
use std::process::ExitCode;
use twinlog::config::LogFormat;
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::edge::{logging, schemas};

pub fn schemas(args: SchemasArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let settings = args.settings()?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let outcome = schemas::run(&settings, stop.flag()).map_err(Failure::new)?;
    print!("{}", schemas::show(&outcome, settings.dry_run));
    Ok(match outcome.problems.is_empty() {
        _ if stop.was_interrupt() => ExitCode::from(INTERRUPTED),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
