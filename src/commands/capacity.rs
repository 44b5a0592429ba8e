//! `twinlog capacity`: what it prints and exits with.

use super::write_results;
use crate::Failure;
use crate::cli::CapacityArgs;
use std::process::ExitCode;
use twinlog::config::LogFormat;
use twinlog::edge::progress::Progress;
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::edge::{capacity, logging};

pub fn capacity(args: CapacityArgs) -> Result<ExitCode, Failure> {
    let (settings, json) = args.settings()?;
    logging::start(LogFormat::Text);
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let progress = Progress::new(LogFormat::Text);
    let report = capacity::run(&settings, stop.flag(), &progress);
    progress.finish();
    let report = report.map_err(|message| match stop.was_interrupt() {
        true => Failure { exit_code: INTERRUPTED, message },
        false => Failure::new(message),
    })?;
    println!("{report}");
    if let Some(path) = json {
        write_results(&path, &serde_json::to_string_pretty(&report).map_err(Failure::new)?)?;
    }
    Ok(match () {
        () if stop.was_interrupt() => ExitCode::from(INTERRUPTED),
        () if report.is_good() => ExitCode::SUCCESS,
        () => ExitCode::FAILURE,
    })
}
