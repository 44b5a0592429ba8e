//! The commands that look at a link, or tidy up after it: each reads the link's state, does its work, and says what came of it.

mod capacity;
mod config;
mod control;
mod mirror;
mod news;
mod schemas;
mod shape;
mod take_over;

pub use capacity::capacity;
pub use config::config;
pub use control::{control, top};
pub use mirror::{apply, mirror, plan};
pub use schemas::schemas;
pub use shape::shape;
pub use take_over::take_over;

use crate::cli::{
    FailbackArgs, FailoverArgs, GroupsArgs, GroupsCommand, GroupsLink, LedgerArgs, LoadArgs, LoadPlan,
    OffsetsArgs, OffsetsCommand, TranslateArgs, VerifyArgs,
};
use crate::{Failure, SOME_STOPPED};
use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use twinlog::config::{ConfigError, Draft, LogFormat, Mirror};
use twinlog::control::topics::is_selected;
use twinlog::edge::failover::{self, FailoverError, Kind};
use twinlog::edge::groups::{self, GroupSync};
use twinlog::edge::load::{self, Outcome, PerfWatch, Show, Watch};
use twinlog::edge::logging;
use twinlog::edge::mirror::MirrorError;
use twinlog::edge::offsets::LinkState;
use twinlog::edge::progress::Progress;
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::edge::verify;

const TIMEOUT: Duration = Duration::from_secs(10);

pub fn groups(args: GroupsArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    match args.command {
        GroupsCommand::Status(link) => groups_status(link),
        GroupsCommand::Sync(link) => groups_sync(link),
    }
}

fn groups_status(link: GroupsLink) -> Result<ExitCode, Failure> {
    let is_json = link.json;
    let (mut sync, state) = open_groups(link)?;
    check_group_names(&mut sync)?;
    let statuses = sync.status(&mut |asked| Some(state.translate(&asked))).map_err(Failure::new)?;
    if is_json {
        for status in &statuses {
            println!("{}", serde_json::to_string(status).map_err(Failure::new)?);
        }
    } else {
        print!("{}", groups::show(&statuses));
    }
    Ok(ExitCode::SUCCESS)
}

fn groups_sync(link: GroupsLink) -> Result<ExitCode, Failure> {
    let is_json = link.json;
    let (mut sync, state) = open_groups(link)?;
    check_group_names(&mut sync)?;
    let round = sync.last_round(&mut |asked| Some(state.translate(&asked))).map_err(Failure::new)?;
    for (group, topic, partition, reason) in &round.skipped {
        if is_json {
            let reason = reason.to_string();
            println!(
                "{}",
                serde_json::json!({"group": group, "topic": topic, "partition": partition, "skipped": reason})
            );
        } else {
            println!("skipped: {group} {topic}-{partition}: {reason}");
        }
    }
    if is_json {
        println!("{}", serde_json::json!({"synced": round.synced, "skipped": round.skipped.len()}));
    } else {
        println!("{} offsets mirrored, {} skipped", round.synced, round.skipped.len());
    }
    Ok(if round.skipped.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open_groups(link: GroupsLink) -> Result<(GroupSync, LinkState), Failure> {
    let config: Mirror = link.draft()?.build()?;
    let state =
        LinkState::read(&config.target, &config.link, &config.client_id, TIMEOUT).map_err(Failure::new)?;
    Ok((GroupSync::new(Arc::new(config)), state))
}

/// Patterns that match no group of the source are a mistake.
fn check_group_names(sync: &mut GroupSync) -> Result<(), Failure> {
    match sync.no_match().map_err(Failure::new)? {
        None => Ok(()),
        Some(message) => Err(Failure { exit_code: 2, message }),
    }
}

pub fn verify(args: VerifyArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let is_json = args.json;
    let settings = args.settings()?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let mut outcome = verify::run(&settings, stop.flag()).map_err(Failure::new)?;
    if !settings.config.groups.is_empty() {
        outcome.problems.extend(group_problems(&settings.config)?);
    }
    if is_json {
        println!("{}", serde_json::to_string(&outcome).map_err(Failure::new)?);
    } else {
        print!("{}", verify::show(&outcome));
    }
    Ok(match outcome.is_same() {
        _ if stop.was_interrupt() => ExitCode::from(INTERRUPTED),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Groups that would not go on at the same record.
fn group_problems(config: &Mirror) -> Result<Vec<String>, Failure> {
    let state =
        LinkState::read(&config.target, &config.link, &config.client_id, TIMEOUT).map_err(Failure::new)?;
    let mut sync = GroupSync::new(Arc::new(config.clone()));
    let statuses = sync.status(&mut |asked| Some(state.translate(&asked))).map_err(Failure::new)?;
    let different = statuses.into_iter().filter(|status| {
        // A group may read topics that are none of the link's.
        is_selected(config, &status.topic) && status.target_offset != status.translated_offset
    });
    Ok(different
        .map(|status| {
            let groups::Status { group, topic, partition, state, .. } = status;
            format!("group {group}, {topic}-{partition}: {state}")
        })
        .collect())
}

pub fn failover(args: FailoverArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let (kind, is_json) = (args.kind(), args.json);
    let config = args.config()?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let mut progress = Progress::new(LogFormat::Text);
    let outcome = failover::over(&config, kind, stop.flag(), &mut |report| progress.show(report));
    progress.finish();
    let outcome = outcome.map_err(of_failover)?;
    if is_json {
        println!("{}", serde_json::to_string(&outcome).map_err(Failure::new)?);
    } else {
        print!("{}", failover::show(&outcome, kind));
    }
    Ok(match () {
        () if stop.was_interrupt() => ExitCode::from(INTERRUPTED),
        () if kind == Kind::DryRun => ExitCode::SUCCESS,
        () if !outcome.left_out.is_empty() => ExitCode::from(SOME_STOPPED),
        () if outcome.lost_offsets() != Some(0) => ExitCode::FAILURE,
        () => ExitCode::SUCCESS,
    })
}

pub fn failback(args: FailbackArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let is_json = args.json;
    let settings = args.settings()?;
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let mut progress = Progress::new(LogFormat::Text);
    let outcome = failover::back(&settings, stop.flag(), &mut |report| progress.show(report));
    progress.finish();
    let outcome = outcome.map_err(of_failover)?;
    if is_json {
        println!("{}", serde_json::to_string(&outcome).map_err(Failure::new)?);
    } else {
        if let Some(summary) = &outcome.summary {
            summary.show(LogFormat::Text);
        }
        print!("{}", failover::show_back(&outcome, &settings));
    }
    Ok(match () {
        () if stop.was_interrupt() => ExitCode::from(INTERRUPTED),
        () if outcome.summary.as_ref().is_some_and(|summary| !summary.is_clean()) => {
            ExitCode::from(SOME_STOPPED)
        }
        () if outcome.is_done || settings.follow || (settings.dry_run && outcome.tails.is_empty()) => {
            ExitCode::SUCCESS
        }
        () => ExitCode::FAILURE,
    })
}

fn of_mirror(error: MirrorError) -> Failure {
    Failure { exit_code: error.exit_code(), message: error.to_string() }
}

fn of_failover(error: FailoverError) -> Failure {
    let exit_code = match &error {
        FailoverError::Mirror(error) => error.exit_code(),
        FailoverError::Link(_) | FailoverError::Refused(_) => 1,
    };
    Failure { exit_code, message: error.to_string() }
}

pub fn load(args: LoadArgs) -> Result<ExitCode, Failure> {
    let LoadPlan { settings, json, name, perf, notes } = args.plan()?;
    logging::start(LogFormat::Text);
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    let stop = Stop::on_signals().map_err(Failure::new)?;
    let outcome = match &perf {
        Some(output) => {
            let mut watch = PerfWatch::new(output.warmup_records, output.reporting_ms);
            let outcome = run_load(&settings, &mut watch, &stop)?;
            watch.finish(&outcome, &settings.client_id, output.print_metrics);
            outcome
        }
        None => {
            let progress = Progress::new(LogFormat::Text);
            let outcome = run_load(&settings, &mut Show::new(&progress), &stop);
            progress.finish();
            let outcome = outcome?;
            println!("{}", outcome.report);
            outcome
        }
    };
    let Outcome { report, total, omb } = outcome;
    if perf.is_some()
        && let Some(trouble) = &report.trouble
    {
        eprintln!("error: {trouble}");
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report.json(&name, omb, &total));
        write_results(&path, &text.map_err(Failure::new)?)?;
    }
    Ok(match () {
        () if stop.was_interrupt() => ExitCode::from(INTERRUPTED),
        () if report.is_clean() => ExitCode::SUCCESS,
        () => ExitCode::FAILURE,
    })
}

/// A load that was stopped before it began has nothing to tell.
fn run_load(settings: &load::Settings, watch: &mut dyn Watch, stop: &Stop) -> Result<Outcome, Failure> {
    load::run(settings, watch, stop.flag()).map_err(|message| match stop.was_interrupt() {
        true => Failure { exit_code: INTERRUPTED, message },
        false => Failure::new(message),
    })
}

/// Writes a file of results.
pub fn write_results(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, format!("{text}\n"))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

pub fn ledger(args: LedgerArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let (since_ms, is_json) = (args.since_ms, args.json);
    let draft = args.draft()?;
    let topics = draft.topics.clone();
    let state = link_state(draft)?;
    let is_meant = |topic: &str| {
        topics.as_ref().is_none_or(|topics| topics.iter().any(|pattern| pattern.is_match(topic)))
    };
    let has_some = state.ledger.partitions().any(|(topic, _)| is_meant(topic));
    if topics.is_some() && !has_some && !state.ledger.losses().any(|(topic, ..)| is_meant(topic)) {
        let message =
            "the link has mirrored none of the matching topics; check --topics and --link".to_owned();
        return Err(Failure { exit_code: 2, message });
    }
    let mut count = 0;
    for (topic, partition, from, loss) in state.ledger.losses() {
        if !is_meant(topic) || loss.recorded_at_ms < since_ms {
            continue;
        }
        count += 1;
        if is_json {
            let entry = serde_json::json!({
                "topic": topic, "partition": partition, "from_offset": from, "to_offset": loss.to, "cause": loss.cause,
                "recorded_at_ms": loss.recorded_at_ms,
            });
            println!("{entry}");
        } else {
            println!(
                "{topic}-{partition}: source offsets {from} to {}: {} ({}, recorded at {} ms)",
                loss.to - 1,
                loss.words(),
                loss.cause,
                loss.recorded_at_ms
            );
        }
    }
    if count == 0 && !is_json {
        println!("no entries: every source record that was read is on the target");
    }
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The state of the link that a draft names, which needs no source.
fn link_state(draft: Draft) -> Result<LinkState, Failure> {
    let target = draft.target_cluster()?;
    let link = draft.link.unwrap_or_else(|| "mirror".into());
    LinkState::read(&target, &link, &format!("twinlog-{link}"), TIMEOUT).map_err(Failure::new)
}

pub fn offsets(args: OffsetsArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let OffsetsCommand::Translate(args) = args.command;
    translate(args)
}

fn translate(args: TranslateArgs) -> Result<ExitCode, Failure> {
    let (one, file, reverse, is_json) = (args.offset(), args.file(), args.reverse, args.json);
    let state = link_state(args.draft()?)?;
    let lines: Box<dyn Iterator<Item = std::io::Result<String>>> = match (one, file) {
        (Some((topic, partition, offset)), _) => {
            Box::new(std::iter::once(Ok(format!("{topic} {partition} {offset}"))))
        }
        (None, Some(path)) => {
            let input: Box<dyn Read> = if path.as_os_str() == "-" {
                Box::new(std::io::stdin())
            } else {
                let file = std::fs::File::open(&path);
                Box::new(
                    file.map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?,
                )
            };
            Box::new(BufReader::new(input).lines())
        }
        (None, None) => Box::new(std::iter::empty()),
    };
    let mut all_known = true;
    for line in lines {
        let line = line.map_err(Failure::new)?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = place(&line).and_then(|(topic, partition, offset)| {
            let answer = match reverse {
                true => state.ledger.source_of(&topic, partition, offset),
                false => state.ledger.target_of(&topic, partition, offset),
            };
            answer.map(|translated| (topic, partition, offset, translated)).map_err(|why| why.to_string())
        });
        all_known &= answer.is_ok();
        match (answer, is_json) {
            (Ok((topic, partition, _, translated)), false) => println!("{topic} {partition} {translated}"),
            (Ok((topic, partition, offset, translated)), true) => println!(
                "{}",
                serde_json::json!({"topic": topic, "partition": partition, "offset": offset, "translated": translated})
            ),
            (Err(why), false) => println!("{}: {why}", line.trim()),
            (Err(why), true) => println!("{}", serde_json::json!({"line": line.trim(), "error": why})),
        }
    }
    Ok(if all_known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line with a topic, a partition and an offset.
fn place(line: &str) -> Result<(String, i32, i64), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [topic, partition, offset] = words.as_slice() else {
        return Err("expected a topic, a partition and an offset, separated by blanks".into());
    };
    let number = |text: &str, what: &str| text.parse::<i64>().map_err(|_| format!("`{text}` is not {what}"));
    let partition =
        i32::try_from(number(partition, "a partition")?).map_err(|_| "no such partition".to_owned())?;
    Ok(((*topic).to_owned(), partition, number(offset, "an offset")?))
}
