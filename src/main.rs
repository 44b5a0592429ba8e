//! The `twinlog` command: what was typed, handed to the library, and the exit code that came of it.

mod cli;
mod commands;

use clap::Parser;
use cli::{BenchArgs, BenchPlan, BrokerArgs, Cli, Command, SimArgs};
use std::fmt;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use twinlog::config::{ConfigError, LogFormat, Mirror};
use twinlog::edge::mirror::TellTimings;
use twinlog::edge::progress::Progress;
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::edge::{self, bench, broker_task, logging, sim_cmd};

/// Exit code of a mirror that did its work but for some lanes or topics.
const SOME_STOPPED: u8 = 3;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Mirror(args) => commands::mirror(args),
        Command::Plan(args) => commands::plan(args),
        Command::Apply(args) => commands::apply(args),
        Command::Config(args) => commands::config(args),
        Command::Control(args) => commands::control(args),
        Command::Top(args) => commands::top(&args),
        Command::Groups(args) => commands::groups(args),
        Command::Offsets(args) => commands::offsets(args),
        Command::Verify(args) => commands::verify(args),
        Command::Failover(args) => commands::failover(args),
        Command::Failback(args) => commands::failback(args),
        Command::TakeOver(args) => commands::take_over(args),
        Command::Schemas(args) => commands::schemas(args),
        Command::Ledger(args) => commands::ledger(args),
        Command::Broker(args) => broker(args),
        Command::Sim(args) => Ok(sim(&args)),
        Command::Completions(args) => {
            args.write(&mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(args) => {
            args.write(&mut std::io::stdout()).map(|()| ExitCode::SUCCESS).map_err(Failure::new)
        }
        Command::Bench(args) => run_bench(args),
        Command::Load(args) => commands::load(*args),
        Command::Shape(args) => commands::shape(args),
        Command::Capacity(args) => commands::capacity(*args),
    };
    ended.unwrap_or_else(|failure| {
        eprintln!("error: {}", failure.message);
        ExitCode::from(failure.exit_code)
    })
}

/// Why the command ends without having done what it should.
struct Failure {
    exit_code: u8,
    message: String,
}

impl Failure {
    fn new(cause: impl fmt::Display) -> Self {
        Self { exit_code: 1, message: cause.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit_code: 2, message: error.0 }
    }
}

fn run_bench(args: BenchArgs) -> Result<ExitCode, Failure> {
    let BenchPlan { settings, json, report, svg_dir } = args.plan();
    if let Some(problem) = bench::problem(&settings) {
        return Err(ConfigError(problem.into()).into());
    }
    logging::start(LogFormat::Text);
    let hlog = settings.hlog.as_deref();
    let files = bench::Files::reserve(json.as_deref(), report.as_deref(), svg_dir.as_deref(), hlog)
        .map_err(Failure::new)?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let progress = Progress::new(LogFormat::Text);
    let mirror = |config: &Mirror, stop: &AtomicBool, tell: TellTimings| {
        let mirrored = edge::mirror::run_timed(config, stop, &mut |_| {}, Some(&tell));
        mirrored.map(drop).map_err(|error| error.to_string())
    };
    let outcome = bench::run(&settings, &mirror, stop.flag(), &progress);
    progress.finish();
    let outcome = match outcome {
        Err(_) if stop.was_asked() => return Ok(ExitCode::from(INTERRUPTED)),
        outcome => outcome.map_err(Failure::new)?,
    };
    println!("{}", outcome.report);
    files.write(&settings, &outcome).map_err(Failure::new)?;
    Ok(match outcome.report.is_perfect() {
        true => ExitCode::SUCCESS,
        false if stop.was_asked() => ExitCode::from(INTERRUPTED),
        false => ExitCode::FAILURE,
    })
}

fn broker(args: BrokerArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let settings = args.settings().map_err(ConfigError)?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    broker_task::run(settings, stop.flag()).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}

fn sim(args: &SimArgs) -> ExitCode {
    let passed = sim_cmd::run(&sim_cmd::Seeds { seeds: args.seeds(), trace: args.trace() });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
