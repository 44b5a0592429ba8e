//! `twinlog shape`: what it prints and exits with.

use crate::Failure;
use crate::cli::{CaptureArgs, DiffArgs, ShapeArgs, ShapeCommand, ShowArgs};
use std::path::Path;
use std::process::ExitCode;
use twinlog::config::{ConfigError, LogFormat};
use twinlog::edge::logging;
use twinlog::edge::progress::Progress;
use twinlog::edge::shape::{self, read_file, write_file};
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::load::shape::{Comparison, Summary};
use twinlog::stats::units;

pub fn shape(args: ShapeArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    match args.command {
        ShapeCommand::Capture(args) => capture(*args),
        ShapeCommand::Show(args) => show(&args),
        ShapeCommand::Diff(args) => diff(&args),
    }
}

fn capture(args: CaptureArgs) -> Result<ExitCode, Failure> {
    let (settings, out) = args.settings()?;
    // Better now than after ten minutes.
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&out);
    file.map_err(|error| Failure::new(format!("cannot write {}: {error}", out.display())))?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let progress = Progress::new(LogFormat::Text);
    let captured = shape::capture(&settings, stop.flag(), &progress);
    progress.finish();
    let is_nothing = captured.as_ref().map_or(true, |captured| captured.batches.is_empty());
    if is_nothing && std::fs::metadata(&out).is_ok_and(|file| file.len() == 0) {
        // It was made above, for nothing; if it cannot be removed, an empty file is no harm.
        let _ = std::fs::remove_file(&out);
    }
    let captured = captured.map_err(Failure::new)?;
    if captured.batches.is_empty() {
        let message =
            "there was not a single batch; look for longer (--duration), or at what is there (--last)"
                .to_owned();
        return Err(Failure { exit_code: if stop.was_interrupt() { INTERRUPTED } else { 1 }, message });
    }
    let bytes = write_file(&out, &captured).map_err(Failure::new)?;
    println!("{}", Summary::of(&captured));
    println!("written     {}, {}", out.display(), units::bytes(bytes));
    Ok(if stop.was_interrupt() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn show(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let summary = summary(&args.file)?;
    if args.json {
        println!("{}", serde_json::to_string(&summary).map_err(Failure::new)?);
    } else {
        println!("{summary}");
    }
    Ok(ExitCode::SUCCESS)
}

fn diff(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let (first, second) = (summary(&args.first)?, summary(&args.second)?);
    let comparison = Comparison::of(&first, &second, args.speed, args.tolerance);
    if args.json {
        println!("{}", serde_json::to_string(&comparison).map_err(Failure::new)?);
    } else {
        println!("{comparison}");
    }
    Ok(if comparison.is_alike() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(path: &Path) -> Result<Summary, Failure> {
    Ok(Summary::of(&read_file(path).map_err(ConfigError)?))
}
