//! `twinlog take-over`: what it prints and exits with.

use super::mirror::worse;
use crate::cli::TakeOverArgs;
use crate::{Failure, SOME_STOPPED};
use std::process::ExitCode;
use twinlog::config::LogFormat;
use twinlog::edge::logging;
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::edge::take_over::{self, Settings, TakeOverError};

pub fn take_over(args: TakeOverArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let is_json = args.json;
    let all = args.settings()?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let mut exit_code = 0;
    for settings in &all {
        match one(settings, is_json, &stop) {
            Ok(code) => exit_code = worse(exit_code, code),
            Err(failure) if all.len() > 1 => {
                eprintln!("error: link {}: {}", settings.config.link, failure.message);
                exit_code = worse(exit_code, failure.exit_code);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(ExitCode::from(exit_code))
}

fn one(settings: &Settings, is_json: bool, stop: &Stop) -> Result<u8, Failure> {
    let outcome = take_over::run(settings, stop.flag()).map_err(|error| {
        let exit_code = if let TakeOverError::Mirror(error) = &error { error.exit_code() } else { 1 };
        Failure { exit_code, message: error.to_string() }
    })?;
    if is_json {
        let mut json = serde_json::to_value(&outcome).map_err(Failure::new)?;
        json["link"] = settings.config.link.as_str().into();
        println!("{json}");
    } else {
        print!("{}", take_over::show(&outcome, settings));
    }
    Ok(match () {
        () if stop.was_interrupt() => INTERRUPTED,
        () if !outcome.left_out.is_empty() => SOME_STOPPED,
        () => 0,
    })
}
