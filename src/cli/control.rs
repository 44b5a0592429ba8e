//! `twinlog control`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use twinlog::config::text;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ControlArgs {
    #[command(subcommand)]
    command: ControlCommand,
}

#[derive(Debug, Subcommand)]
enum ControlCommand {
    /// Read partitions no more until they are resumed. What was read already is still mirrored
    Pause(WhichArgs),
    /// Read paused partitions on from where they stand
    Resume(WhichArgs),
    /// Change the most that is read from the source in a second
    Throttle(ThrottleArgs),
}

/// Which mirror.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Where the mirror listens (its --listen): HOST:PORT, a port of this machine, or a URL
    #[arg(long, value_name = "HOST:PORT")]
    pub at: String,

    /// File with the token that the mirror was given with --control-token-file
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
}

#[derive(Debug, Args)]
struct WhichArgs {
    #[command(flatten)]
    place: PlaceArgs,

    /// Topics: regular expressions that match the whole name. Topics that are not there yet count, too
    #[arg(long, value_name = "REGEX[,…]", value_parser = checked_patterns)]
    topics: String,

    /// Only these partitions of them
    #[arg(long, value_name = "N[,…]", value_delimiter = ',')]
    partitions: Option<Vec<i32>>,
}

#[derive(Debug, Args)]
struct ThrottleArgs {
    #[command(flatten)]
    place: PlaceArgs,

    /// The new limit, as 50MB/s, or none
    #[arg(long, value_name = "RATE", value_parser = limit)]
    max_rate: Limit,
}

#[derive(Clone, Copy, Debug)]
struct Limit(Option<u64>);

impl ControlArgs {
    /// Where to ask for what.
    pub fn request(self) -> (PlaceArgs, &'static str, Value) {
        let which = |WhichArgs { place, topics, partitions }, path| {
            (place, path, json!({"topics": topics, "partitions": partitions}))
        };
        match self.command {
            ControlCommand::Pause(args) => which(args, "/pause"),
            ControlCommand::Resume(args) => which(args, "/resume"),
            ControlCommand::Throttle(ThrottleArgs { place, max_rate: Limit(rate) }) => {
                (place, "/throttle", json!({"max_rate_bytes": rate}))
            }
        }
    }
}

fn checked_patterns(typed: &str) -> Result<String, String> {
    text::patterns(typed).map(|_| typed.to_owned())
}

fn limit(typed: &str) -> Result<Limit, String> {
    match typed {
        "none" => Ok(Limit(None)),
        rate => text::byte_rate(rate)
            .map(|rate| Limit(Some(rate)))
            .map_err(|problem| format!("{problem}; or none")),
    }
}

const AFTER_HELP: &str = "\
Examples:
  openssl rand -hex 32 > token                                       # once, and readable for nobody else: chmod 600 token
  twinlog mirror … --listen 9464 --control-token-file token

  twinlog control pause    --at 127.0.0.1:9464 --token-file token --topics 'clicks\\..*'
  twinlog control resume   --at 127.0.0.1:9464 --token-file token --topics 'clicks\\.eu' --partitions 0,1
  twinlog control throttle --at 127.0.0.1:9464 --token-file token --max-rate 50MB/s

Of several patterns that match a partition the last one counts; `resume --topics '.*'` resumes all. New topics and partitions that
match a paused pattern are paused. All of it lasts until the mirror ends: the next one begins with its flags --pause and --max-rate.

Exit codes: 0 done, 1 the mirror is not there or refuses, 2 wrong usage.";
