//! The `twinlog` command: what was typed, handed to the library, and the exit code that came of it.

mod cli;

use clap::Parser;
use cli::{BrokerArgs, Cli, Command, MirrorArgs, SimArgs};
use std::process::ExitCode;
use twinlog::config::{ConfigError, Mirror};
use twinlog::edge::signals::Stop;
use twinlog::edge::{broker_task, logging, sim_cmd};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Mirror(args) => mirror(args),
        Command::Broker(args) => broker(args),
        Command::Sim(args) => sim(&args),
        Command::Bench(_) => ExitCode::FAILURE,
    }
}

fn sim(args: &SimArgs) -> ExitCode {
    let passed = sim_cmd::run(&sim_cmd::Seeds { seeds: args.seeds(), trace: args.trace() });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn broker(args: BrokerArgs) -> ExitCode {
    logging::start(twinlog::config::LogFormat::default());
    let served = args.settings().map_err(|error| (error, 2)).and_then(|settings| {
        let stop = Stop::on_signals().map_err(|error| (error.to_string(), 1))?;
        broker_task::run(settings, stop.flag()).map_err(|error| (error.to_string(), 1))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => {
            eprintln!("error: {error}");
            ExitCode::from(code)
        }
    }
}

fn configured(args: MirrorArgs) -> Result<Mirror, ConfigError> {
    let draft = args.draft()?;
    logging::start(draft.log_format.unwrap_or_default());
    draft.build()
}
