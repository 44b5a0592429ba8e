//! The commands that look at a link, or tidy up after it: each reads the link's state, does its work, and says what came of it.

use crate::Failure;
use crate::cli::{
    GroupsArgs, GroupsCommand, GroupsLink, OffsetsArgs, OffsetsCommand, TranslateArgs, VerifyArgs,
};
use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use twinlog::config::{Cluster, ConfigError, LogFormat, Mirror};
use twinlog::edge::groups::{self, GroupSync};
use twinlog::edge::logging;
use twinlog::edge::offsets::LinkState;
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
    let round = sync.round(&mut |asked| Some(state.translate(&asked))).map_err(Failure::new)?;
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
    let different = statuses.into_iter().filter(|status| status.target_offset != status.translated_offset);
    Ok(different
        .map(|status| {
            let groups::Status { group, topic, partition, state, .. } = status;
            format!("group {group}, {topic}-{partition}: {state}")
        })
        .collect())
}

pub fn offsets(args: OffsetsArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text);
    let OffsetsCommand::Translate(args) = args.command;
    translate(args)
}

fn translate(args: TranslateArgs) -> Result<ExitCode, Failure> {
    let (one, file, reverse, is_json) = (args.offset(), args.file(), args.reverse, args.json);
    let draft = args.draft()?;
    let target = draft.target.ok_or_else(|| {
        ConfigError(
            "no target given; add --target HOST:PORT, or set target.bootstrap in the config file".into(),
        )
    })?;
    let link = draft.link.unwrap_or_else(|| "mirror".into());
    let state = LinkState::read(&Cluster { bootstrap: target }, &link, "twinlog-offsets", TIMEOUT)
        .map_err(Failure::new)?;
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
