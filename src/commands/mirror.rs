//! `twinlog mirror`, `twinlog plan` and `twinlog apply`: one link, or those of MirrorMaker's configuration side by side.

use super::news::News;
use super::of_mirror;
use crate::cli::{ApplyArgs, AskedLink, MirrorArgs, PlanArgs};
use crate::{Failure, SOME_STOPPED};
use std::process::ExitCode;
use twinlog::config::mirrormaker::Outcome;
use twinlog::config::{LogFormat, Mirror};
use twinlog::control::forecast;
use twinlog::edge::mirror::{MirrorError, Summary};
use twinlog::edge::progress::Progress;
use twinlog::edge::signals::{INTERRUPTED, Stop};
use twinlog::edge::{self, apply, links, logging, plan};
use twinlog::stats::Report;

/// Of several links the worst one's exit code counts: what comes later here is worse.
const WORSE: [u8; 6] = [0, INTERRUPTED, SOME_STOPPED, 4, 2, 1];

pub fn mirror(args: MirrorArgs) -> Result<ExitCode, Failure> {
    let again = args.clone();
    let (mut configs, format) = start(args)?;
    let news = News::default();
    let stop = news.clone().listen(again).map_err(Failure::new)?;
    loop {
        let exit_code = match configs.as_slice() {
            [config] => one(config, &stop, format)?,
            several => side_by_side(several, &stop, format),
        };
        if !stop.begins_again() {
            return Ok(ExitCode::from(exit_code));
        }
        // Of two readings in a row the first turn may have taken both.
        configs = news.take().unwrap_or(configs);
    }
}

pub fn plan(args: PlanArgs) -> Result<ExitCode, Failure> {
    let (is_json, scram_users) = (args.json, args.scram_users);
    let (configs, _) = start(args.mirror)?;
    each(&configs, |config| {
        let forecast = plan::run(config, scram_users).map_err(of_mirror)?;
        match is_json {
            true => println!("{}", serde_json::to_string(&forecast).map_err(Failure::new)?),
            false => print!("{}", forecast::show(&forecast)),
        }
        Ok(if forecast.is_clean() { 0 } else { SOME_STOPPED })
    })
}

pub fn apply(args: ApplyArgs) -> Result<ExitCode, Failure> {
    let is_json = args.json;
    let (configs, _) = start(args.mirror)?;
    each(&configs, |config| {
        let applied = apply::run(config).map_err(of_mirror)?;
        match is_json {
            true => println!("{}", serde_json::to_string(&applied).map_err(Failure::new)?),
            false => print!("{}", applied.text()),
        }
        Ok(if applied.failed.is_empty() { 0 } else { SOME_STOPPED })
    })
}

/// One link after the other. Of several, one that fails does not keep the others from their turn.
fn each(
    configs: &[Mirror],
    mut turn: impl FnMut(&Mirror) -> Result<u8, Failure>,
) -> Result<ExitCode, Failure> {
    let mut exit_code = 0;
    for config in configs {
        let of_link = match turn(config) {
            Err(failure) if configs.len() > 1 => {
                eprintln!("error: link {}: {}", config.link, failure.message);
                failure.exit_code
            }
            of_link => of_link?,
        };
        exit_code = worse(exit_code, of_link);
    }
    Ok(ExitCode::from(exit_code))
}

/// The links that were asked for, and the log, which tells what became of MirrorMaker's keys.
fn start(args: MirrorArgs) -> Result<(Vec<Mirror>, LogFormat), Failure> {
    let links = args.links()?;
    let format = links.first().and_then(|link| link.draft.log_format).unwrap_or_default();
    logging::start(format);
    let several = links.len() > 1;
    let mut configs = Vec::with_capacity(links.len());
    for AskedLink { draft, lines } in links {
        let link = draft.link.clone().filter(|_| several);
        let _span = link.map(|link| tracing::info_span!("", link).entered());
        for line in lines {
            match line.outcome {
                Outcome::Becomes(_) | Outcome::Means(_) => tracing::debug!("{line}"),
                _ if line.is_warning() => tracing::warn!("{line}"),
                Outcome::Unused(_) | Outcome::Differs(_) => tracing::info!("{line}"),
            }
        }
        configs.push(draft.build()?);
    }
    Ok((configs, format))
}

fn one(config: &Mirror, stop: &Stop, format: LogFormat) -> Result<u8, Failure> {
    let mut progress = Progress::new(format);
    let mut observe = |report: &Report| progress.show(report);
    let result = match &config.instances {
        Some(instances) => edge::instances::run(config, instances, stop.flag(), &mut observe),
        None => edge::mirror::run(config, stop.flag(), &mut observe),
    };
    progress.finish();
    let summary = result.map_err(of_mirror)?;
    summary.show(format);
    Ok(exit_code(&summary, stop))
}

fn side_by_side(configs: &[Mirror], stop: &Stop, format: LogFormat) -> u8 {
    let mut worst = 0;
    let mut ended = |config: &Mirror, result: Result<Summary, MirrorError>| {
        let exit_code = match result {
            Ok(summary) => {
                summary.show_of(&config.link, format);
                exit_code(&summary, stop)
            }
            Err(error) => {
                eprintln!("error: link {}: {error}", config.link);
                error.exit_code()
            }
        };
        worst = worse(worst, exit_code);
    };
    links::run(configs, stop.flag(), format, &mut ended);
    worst
}

fn exit_code(summary: &Summary, stop: &Stop) -> u8 {
    match summary.is_clean() {
        _ if stop.was_interrupt() => INTERRUPTED,
        true => 0,
        false => SOME_STOPPED,
    }
}

pub(super) fn worse(one: u8, other: u8) -> u8 {
    let rank = |code: u8| WORSE.iter().position(|each| *each == code);
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_links_the_worst_counts() {
        for (codes, expected) in [
            ([0, 0, 0], 0),
            ([0, SOME_STOPPED, 0], SOME_STOPPED),
            ([INTERRUPTED, INTERRUPTED, 1], 1),
            ([4, SOME_STOPPED, INTERRUPTED], 4),
            ([2, 1, 4], 1),
        ] {
            assert_eq!(codes.into_iter().fold(0, worse), expected, "{codes:?}");
        }
    }
}
